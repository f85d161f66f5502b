"""Sentiment: go on with a film review in a positive mood; one turn.

| | |
|---|---|
| agents | one: the language model |
| action | a text, the continuation (48 tokens in the published set-up) |
| observation | a text, the beginning of a review: its first half, of that the last ``prompt_tokens`` tokens |
| reward | of ``reward``, which must be given: there is no sentiment without a judge |
| episode end | after the one continuation |
| splits | "train", "test" of the data set; "validation" is a hashed 20 % of train if there is none; "all" |

Prompt: the first ``prompt_share`` of the review's whitespace-separated words, rounded down, at least one.
Where that exceeds the budget, whole words go from its left (the continuation follows the last word) or,
with ``truncation_side="right"``, from its right. The published set-up takes half and 64 tokens, cut on the
left. Reference: what the review itself says after the prompt, leading space included.

Judges
    a classifier        ``rllib_ext.llm.rewards.RewardModel`` on a classifier's folder, or any ``Reward``
    a word list         ``LexiconSentiment()`` (``lexicon.py``): small, for machines without a classifier

Arguments
    split               one of the above
    reward              a ``Reward``; required
    data                hub name, JSONL or parquet file, folder of them, or a sequence of mappings, with the
                        columns text and label (0 negative, 1 positive; also "neg", "pos", true, false, "0",
                        "1")
    prompt_share        part of the review's words that the prompt may take, above 0 and below 1
    prompt_tokens       the budget of a prompt, 1 or more
    truncation_side     "left" or "right"
    count_tokens        text -> number of tokens; None: ``rough_tokens`` (words and punctuation, no tokenizer)
    max_rows            read only until this many tasks of the split are there; None: all. The hub's rows are
                        sorted by label, so its first thousands are all negative
    max_bad_rows        share of unusable rows above which ``BadData`` is raised, 0 to 1
    revision            commit of the hub data set
    quarantine          file to which the unusable rows' indices and reasons are written; None: none
    render_mode         None or "ansi"

``info`` of a task: label, the review's own. ``report`` says what became of each row read. A review of one
word is quarantined, since nothing would be left to continue it with.

Source: the mock-sentiment task of RL4LMs (Ramamurthy et al. 2022, arXiv 2210.01241) as used by Elastic
Reset (Noukhovitch et al. 2023). Left out: exact token cuts (an environment knows no tokenizer, words stay
whole), the removal of "<br />" from the reviews.

Version 0: as above.
"""

from __future__ import annotations

import numbers
import os
import re
from functools import partial
from typing import Any

from envs.errors import BadEnv
from envs.text.base import TextEnv
from envs.text.lexicon import LexiconSentiment
from envs.text.rewards import Reward
from envs.text.row_sources import Source
from envs.text.row_values import Column, Unusable
from envs.text.rows import Recipe, read_rows
from envs.text.task import Task
from envs.text.truncation import CountTokens, cut_words, rough_tokens

__all__ = ["LexiconSentiment", "Sentiment", "as_label", "split_review"]

HUB_NAME = "stanfordnlp/imdb"
_LABELS = {"0": 0, "neg": 0, "negative": 0, "false": 0, "1": 1, "pos": 1, "positive": 1, "true": 1}
_WORD = re.compile(r"\S+")


class Sentiment(TextEnv):
    """Half a review to a happy end; the module is the documentation page."""

    def __init__(
        self,
        split: str = "train",
        *,
        reward: Reward | None = None,
        data: Source = HUB_NAME,
        prompt_share: float = 0.5,
        prompt_tokens: int = 64,
        truncation_side: str = "left",
        count_tokens: CountTokens | None = None,
        max_rows: int | None = None,
        max_bad_rows: float = 0.01,
        revision: str | None = None,
        quarantine: str | os.PathLike[str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        judge = _checked(reward, prompt_share, prompt_tokens, truncation_side)
        limits: dict[str, Any] = {"share": prompt_share, "budget": prompt_tokens, "side": truncation_side}
        cut = partial(split_review, count=count_tokens or rough_tokens, **limits)
        tasks, self.report = read_rows(
            data,
            Recipe(COLUMNS, ("text",), partial(_task, split=split, cut=cut)),
            split=split,
            held_out=0.2,
            max_rows=max_rows,
            max_bad_rows=max_bad_rows,
            revision=revision,
            quarantine=quarantine,
        )
        super().__init__(tasks, judge, render_mode=render_mode)


def _checked(reward: Reward | None, prompt_share: float, prompt_tokens: int, truncation_side: str) -> Reward:
    if reward is None:
        raise BadEnv(
            "Sentiment has no reward of its own: pass reward=RewardModel(<classifier folder>) from "
            "rllib_ext.llm.rewards, or reward=LexiconSentiment() from envs.text.sentiment."
        )
    if not 0 < prompt_share < 1 or prompt_tokens < 1 or truncation_side not in ("left", "right"):
        raise BadEnv(
            f"prompt_share = {prompt_share} must lie between 0 and 1, prompt_tokens = {prompt_tokens} "
            f"be 1 or more, and truncation_side = {truncation_side!r} be 'left' or 'right'."
        )
    return reward


def as_label(value: object) -> tuple[int, list[str]]:
    """0 or 1; the other spellings of the module's page are repaired, anything else is unusable."""
    if isinstance(value, (str, bool)) and (word := str(value).strip().lower()) in _LABELS:
        return _LABELS[word], ["label written as 0 or 1"]
    if isinstance(value, numbers.Integral) and value in (0, 1):
        return int(value), []
    if isinstance(value, float) and value in (0.0, 1.0):
        return int(value), ["label written as 0 or 1"]
    raise Unusable("is neither 0 nor 1")


COLUMNS = (Column("text"), Column("label", as_label))


def split_review(
    text: str, *, share: float, budget: int, side: str, count: CountTokens
) -> tuple[str, str] | None:
    """(prompt, what follows it) of a review by the rule of the module's page; None for a single word."""
    text = text.strip()
    ends = [match.end() for match in _WORD.finditer(text)]
    if len(ends) < 2:
        return None
    half = text[: ends[max(1, int(len(ends) * share)) - 1]]
    prompt = cut_words(half, lambda part: count(part) <= budget, side)
    end = len(prompt) if side == "right" else len(half)
    return prompt, text[end:]


def _task(index: int, row: dict[str, Any], *, split: str, cut: Any) -> Task:
    parts = cut(row["text"])
    if parts is None:
        raise Unusable("column 'text' is a single word")
    prompt, rest = parts
    return Task(id=f"sentiment/{split}/{index}", prompt=prompt, reference=rest, info={"label": row["label"]})
