"""Gold labels: comparisons labelled anew by a larger reward model, or by the controlled task's own rule.

Both sides are scored (a reward model's raw output at the last token), the pair is swapped where the rejected side
scores higher, and both scores are stored beside it. The share of pairs that needed no swap is the agreement of the gold
reward with whoever labelled first. A proxy reward model is then trained on the new labels and reinforcement learning
on the proxy, while the gold reward alone says how good the result is (over-optimisation becomes visible).

    in     comparisons in one of the formats of ``envs.text.comparisons``, or the built-in ``ControlledTLDR``
    out    <to>         one JSON object a pair: prompt, chosen, rejected, score_chosen, score_rejected, swapped, index
           <to>.json    the counts: read = kept + tied + unscored + quarantined; agreement; what was asked for
           <to>.quarantine.jsonl    rows that could not be read, with index and reason

A tie of the gold reward prefers nothing and is left out. ``flip`` turns each label round with that probability, by the
seed and the row alone, so that a proxy has something to get wrong. Scores of finished chunks wait in
``<to>.partial.jsonl``: a labelling that was killed goes on behind them, and the result is the same file byte for byte.

Source: "Asynchronous RLHF" (arXiv 2410.18252), its controlled protocol after Gao et al. 2022 (arXiv 2210.10760).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envs.text.comparisons import Comparison, read_comparisons
from envs.text.controlled_gold import GoldReward
from envs.text.rewards import Reward
from envs.text.row_sources import SPLITS
from envs.text.rows import RowReport
from envs.text.task import Sample, Task
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.llm.model_folder import check_model_folder
from rllib_ext.llm.rewards import RewardModel
from rllib_ext.llm.safety import encode_plain, open_tokenizer
from rllib_ext.runtime.run_folder import read_jsonl
from rllib_ext.runtime.seeding import SeedTree
from rllib_ext.runtime.storage import replace
from rllib_ext.stages.data import built_in

CONTROLLED = "controlled"
CHUNK = 256  # pairs that are scored together; a labelling stops and goes on at multiples of it


@dataclass(frozen=True)
class Relabelling:
    """One labelling. gold: a reward model's folder or hub id, or "controlled". data, split, rows, max_query_tokens,
    max_bad_share: as of the stages. to: the file to write. flip: probability. batch_size: texts a forward pass.
    """

    gold: str
    data: str
    to: str | os.PathLike[str]
    revision: str | None = None
    split: str = "all"
    rows: int | None = None
    flip: float = 0.0
    seed: int = 0
    batch_size: int = 64
    max_query_tokens: int = 512
    max_bad_share: float = 0.01
    device: str = "cpu"

    def run(self) -> dict[str, Any]:
        """Label everything that is not labelled yet; the summary. A finished labelling is not done again."""
        self._check()
        to = Path(self.to)
        comparisons, counts = self._read(to)
        asked = {
            **asdict(self),
            "to": to.name,
            "rows_digest": _digest(comparisons),
            "gold_digest": self._gold_digest(),
        }
        summary_file = to.with_name(f"{to.name}.json")
        if to.is_file() and summary_file.is_file():
            summary = json.loads(summary_file.read_bytes())
            if summary["asked"] == asked:
                return summary
            raise BadConfig(
                f"{to} holds another labelling; give another file, or remove it and {summary_file.name}"
            )
        scores = self._scores(to.with_name(f"{to.name}.partial.jsonl"), asked, comparisons)
        lines, tallies = self._labelled(comparisons, scores)
        replace(to, "".join(json.dumps(line) + "\n" for line in lines).encode())
        summary = {**counts, **tallies, "to": to.name, "asked": asked}
        replace(summary_file, (json.dumps(summary, indent=1) + "\n").encode())
        to.with_name(f"{to.name}.partial.jsonl").unlink(missing_ok=True)
        quarantine = to.with_name(f"{to.name}.quarantine.jsonl")
        if quarantine.is_file() and not quarantine.stat().st_size:
            quarantine.unlink()
        return summary

    def _check(self) -> None:
        if not 0 <= self.flip <= 1:
            raise BadConfig(f"flip is {self.flip}; it is a probability, 0 to 1")
        if Path(self.to).suffix not in (".jsonl", ".ndjson"):
            raise BadConfig(f"--to is {str(self.to)!r}; labels are written as JSON lines: give a .jsonl file")
        if not Path(self.to).absolute().parent.is_dir():
            raise BadConfig(f"the folder of {str(self.to)!r} does not exist; make it first")
        if self.batch_size < 1 or (self.rows is not None and self.rows < 1):
            raise BadConfig(f"batch_size is {self.batch_size} and rows {self.rows}; both must be 1 or more")

    def _read(self, to: Path) -> tuple[list[Comparison], dict[str, Any]]:
        if self.data == "ControlledTLDR":
            split = self.split if self.split in SPLITS else "train"
            rows = built_in("comparisons", self.data, split, self.seed, self.rows)
            report = RowReport(self.data, total=len(rows), accepted=len(rows))
        else:
            rows, report = read_comparisons(
                self.data,
                self.split,
                count_tokens=self._count_tokens(),
                max_query_tokens=self.max_query_tokens,
                max_rows=self.rows,
                max_bad_share=self.max_bad_share,
                quarantine=to.with_name(f"{to.name}.quarantine.jsonl"),
            )
        read = report.total - report.elsewhere
        return rows, {"read": read, "quarantined": len(report.quarantined)}

    def _count_tokens(self) -> Any:
        """The gold model's own tokens, so that a query is cut to what it can read; rough ones for the rule."""
        if self.gold == CONTROLLED:
            return None
        tokenizer = open_tokenizer(self.gold, self.revision)
        return lambda text: len(encode_plain(tokenizer, [text], add_special_tokens=True)[0])

    def _gold_digest(self) -> str:
        """Which gold reward it is: the sizes and times of a folder's files cannot be trusted, its bytes can."""
        if self.gold == CONTROLLED:
            return CONTROLLED
        digest = hashlib.sha256()
        for path in sorted(check_model_folder(self.gold, self.revision).glob("*.safetensors")):
            with open(path, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    def _reward(self) -> Reward:
        if self.gold == CONTROLLED:
            return GoldReward()
        return RewardModel(
            self.gold, revision=self.revision, device=self.device, batch_size=self.batch_size, name="gold"
        )

    def _scores(
        self, partial: Path, asked: dict[str, Any], comparisons: Sequence[Comparison]
    ) -> list[list[float | None]]:
        """(chosen, rejected) of every comparison; whole chunks of an earlier attempt are not scored again."""
        found = _saved(partial, asked, len(comparisons))
        reward = self._reward()
        try:
            with open(partial, "wb") as stream:
                _put(stream, [{"asked": asked}])
                _put(stream, [{"scores": pair} for pair in found])
                while len(found) < len(comparisons):
                    part = comparisons[len(found) : len(found) + CHUNK]
                    new = _score(reward, part)
                    _put(stream, [{"scores": pair} for pair in new])
                    found += new
        finally:
            reward.close()
        return found

    def _labelled(
        self, comparisons: Sequence[Comparison], scores: Sequence[Sequence[float | None]]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        tallies = {"kept": 0, "tied": 0, "unscored": 0, "swapped": 0, "flipped": 0}
        flips = SeedTree(self.seed).child("flip")
        for item, (first, second) in zip(comparisons, scores, strict=True):
            if first is None or second is None:
                tallies["unscored"] += 1
            elif first == second:
                tallies["tied"] += 1
            else:
                flipped = flips.child(item.index).python().random() < self.flip
                tallies["swapped"] += second > first
                tallies["flipped"] += flipped
                lines.append(_line(item, first, second, flipped))
        tallies["kept"] = len(lines)
        agreement = 1 - tallies["swapped"] / len(lines) if lines else None
        if not lines:
            raise BadData(
                f"no pair of {self.data} is left to train on: {tallies['tied']} tied, {tallies['unscored']} unscored"
            )
        return lines, {**tallies, "agreement": agreement}


def _line(item: Comparison, first: float, second: float, flipped: bool) -> dict[str, Any]:
    """The higher score is chosen, unless the label is turned round; scores stay with their texts."""
    sides = [(item.chosen, first), (item.rejected, second)]
    if (second > first) != flipped:
        sides.reverse()
    kept = {
        name: value
        for name, value in item.info.items()
        if name in ("batch", "split", "confidence", "policies")
    }
    return {
        "prompt": item.prompt,
        "chosen": sides[0][0],
        "rejected": sides[1][0],
        "score_chosen": sides[0][1],
        "score_rejected": sides[1][1],
        "swapped": second > first,
        "flipped": flipped,
        "index": item.index,
        **kept,
    }


def _score(reward: Reward, part: Sequence[Comparison]) -> list[list[float | None]]:
    samples = [
        Sample(Task(f"{item.index}-{side}", item.prompt), text)
        for item in part
        for side, text in (("chosen", item.chosen), ("rejected", item.rejected))
    ]
    scores = reward.score(samples)
    return [scores[place : place + 2] for place in range(0, len(scores), 2)]


def _saved(partial: Path, asked: dict[str, Any], wanted: int) -> list[list[float | None]]:
    """The scores of the whole chunks that an earlier attempt at the very same labelling has written."""
    lines = read_jsonl(partial)
    if not lines or lines[0].get("asked") != asked:
        return []
    found = [line["scores"] for line in lines[1:]]
    return found[: len(found) if len(found) == wanted else len(found) // CHUNK * CHUNK]


def _put(stream: Any, lines: list[dict[str, Any]]) -> None:
    stream.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    stream.flush()


def _digest(comparisons: Sequence[Comparison]) -> str:
    digest = hashlib.sha256()
    for item in comparisons:
        digest.update(json.dumps([item.index, item.prompt, item.chosen, item.rejected]).encode())
    return digest.hexdigest()
