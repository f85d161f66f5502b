"""PivotTranslation: French to English to German by two agents; only the German is rewarded, English drifts.

| | |
|---|---|
| agents | "sender" (French to English) and "receiver" (English to German); AEC, the sender speaks first |
| action | a text: the sender's is English, the receiver's German; any string |
| observation | sender: the French sentence. receiver: "" until the sender has spoken, then exactly its message |
| reward | both get ``reward(german, reference)`` after the receiver's action; by default sentence BLEU / 100 |
| episode end | after the receiver's action, both terminated; never truncated |
| splits | "train", "validation", "test" of the data |

The receiver never sees the French, nor does the sender see the German: the message is the only way between them. Nobody
is rewarded for English, which is what the game is about: the language of the message drifts away from it.

``infos``: "index" of the row at any time; "message", "reference_english" and "reference_german" once the episode has
ended. They are for metrics, no agent may learn from them.

Arguments
    data                "synthetic" (built in), a folder of aligned files, JSONL, parquet or a hub name with the
                        columns fr, en, de (rules: ``corpora.py``)
    split               one of the above
    size                at most so many rows; None: all, synthetic: 4,096 for train, 256 for the others
    seed                of the synthetic data, 0 or more
    reward              (german, reference) -> float; None: sentence BLEU / 100 (needs sacrebleu)
    max_bad_rows        share of unusable rows above which ``BadData`` is raised, 0 to 1
    config, revision    of a hub data set
    quarantine          file to which the unusable rows' indices and reasons are written; None: none
    render_mode         None or "ansi"

``reset(options={"index": i})`` plays row i; without it a row is drawn. ``report`` says what became of each row read.

Source: Lee et al. 2019 (arXiv 1909.04499) for the game; Lu et al. 2020 (arXiv 2003.12694) and Elastic Reset (arXiv
2312.07551) play it with IWSLT for pretraining and Multi30k for the game. Left out: images and with them the retrieval
metric R1 (neither Multi30k's pictures nor a ranker come with the package).

Version 0: as above.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from envs.errors import BadEnv
from envs.pivot.corpora import SYNTHETIC, read_parallel
from envs.pivot.scores import sentence_bleu
from envs.signalling import ItemGame
from envs.text.row_sources import Source
from envs.text.space import FreeText

LANGUAGES = ("fr", "en", "de")


class PivotTranslation(ItemGame[str, str]):
    """The pivot game; the module is the documentation page."""

    metadata = {"name": "pivot_translation_v0", "render_modes": ["ansi"], "is_parallelizable": False}
    sender, receiver, items = "sender", "receiver", "rows"

    def __init__(
        self,
        data: Source = SYNTHETIC,
        split: str = "train",
        *,
        size: int | None = None,
        seed: int = 0,
        reward: Callable[[str, str], float] | None = None,
        max_bad_rows: float = 0.01,
        config: str | None = None,
        revision: str | None = None,
        quarantine: str | os.PathLike[str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self.rows, self.report = read_parallel(
            data,
            LANGUAGES,
            split,
            size=size,
            seed=seed,
            max_bad_rows=max_bad_rows,
            config=config,
            revision=revision,
            quarantine=quarantine,
        )
        self._reward = _bleu if reward is None else reward
        self._spaces = {agent: (FreeText(), FreeText()) for agent in self.possible_agents}

    @property
    def num_items(self) -> int:
        """How many rows can be played."""
        return len(self.rows)

    def observation_space(self, agent: str) -> FreeText:
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> FreeText:
        return self._spaces[agent][1]

    def observe(self, agent: str) -> str:
        """The French sentence for the sender, the message for the receiver."""
        return self._row["fr"] if agent == "sender" else self._message

    def _begin(self, index: int) -> None:
        self._row, self._message, self._german = self.rows[index], "", ""

    def _checked(self, agent: str, action: Any) -> str:
        if not isinstance(action, str):
            raise BadEnv(f"the {agent}'s action is of type {type(action).__name__}; it must be a text.")
        return action

    def _say(self, message: str) -> None:
        self._message = message

    def _answer(self, action: str) -> tuple[float, Mapping[str, Any]]:
        self._german = action
        revealed = {
            "message": self._message,
            "reference_english": self._row["en"],
            "reference_german": self._row["de"],
        }
        return float(self._reward(action, self._row["de"])), revealed

    def render(self) -> str | None:
        """The episode so far as text."""
        if self.render_mode is None:
            return None
        lines = (f"fr  {self._row['fr']}", f"en  {self._message}", f"de  {self._german}")
        return "\n".join(line for line in lines if line[4:])


def _bleu(german: str, reference: str) -> float:
    return sentence_bleu(german, reference) / 100.0
