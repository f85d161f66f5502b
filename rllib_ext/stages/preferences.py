"""What the two stages on comparisons share: rows, and the file that their report is drawn from.

``comparisons.jsonl`` holds one line for each held-out comparison: the score of either side, the lengths of the
responses, and batch, split and confidence as far as the data has them. ``analysis.reward_report`` makes its tables and
pictures of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from envs.text.comparisons import Comparison
from rllib_ext.llm.lengths import check_lengths, lengths_of
from rllib_ext.llm.supervised_rows import Batch, Row, collate_preferences, preference_rows
from rllib_ext.runtime.storage import replace
from rllib_ext.stages.stage import Stage

SCORES, POSITIONS = "comparisons.jsonl", "reward_diagnostics.json"
_LABELS = ("batch", "split", "confidence", "policies", "score_chosen", "score_rejected")


class PreferenceStage(Stage):
    """A stage on comparisons."""

    kind = "comparisons"

    def read(self, longest: float) -> list[Row]:
        """The training rows; the held-out ones are kept for the end."""
        rows, _ = self._tokenised(self.data.train(), "train", longest)
        self.held_rows, self.held_comparisons = self._tokenised(self.data.held_out(), "held out", longest)
        self.lengths = lengths_of(rows, "input_ids", "rejected_ids")
        check_lengths(self.lengths, self.values["expected_lengths"])
        return rows

    def _tokenised(
        self, comparisons: list[Comparison], purpose: str, longest: float
    ) -> tuple[list[Row], list[Comparison]]:
        triples = [(item.prompt, item.chosen, item.rejected) for item in comparisons]
        rows, dropped = preference_rows(triples, self.tokenizer, max_length=longest)
        self.data.accounts.drop_long(purpose, dropped)
        return rows, [comparisons[row["pair"]] for row in rows]

    @property
    def collate(self) -> Any:
        return partial(collate_preferences, width=self.values["pad_to"])

    def write_scores(self, chosen: Sequence[float], rejected: Sequence[float]) -> dict[str, float]:
        """Write ``comparisons.jsonl``; accuracy (ties are wrong) and mean margin of the held-out comparisons."""
        lines = [
            {
                "index": item.index,
                "chosen": float(better),
                "rejected": float(worse),
                "chosen_tokens": len(row["input_ids"]) - row["query_tokens"],
                "rejected_tokens": len(row["rejected_ids"]) - row["query_tokens"],
                **{name: value for name, value in item.info.items() if name in _LABELS},
            }
            for row, item, better, worse in zip(
                self.held_rows, self.held_comparisons, chosen, rejected, strict=True
            )
        ]
        write_lines(self.folder / SCORES, lines)
        margins = [line["chosen"] - line["rejected"] for line in lines]
        return {
            "accuracy": sum(margin > 0 for margin in margins) / len(margins),
            "margin": sum(margins) / len(margins),
            "chosen_mean": sum(line["chosen"] for line in lines) / len(lines),
            "rejected_mean": sum(line["rejected"] for line in lines) / len(lines),
        }


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line, the whole file in one step."""
    replace(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def on_device(batch: Batch, device: Any) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}
