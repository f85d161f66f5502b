"""StackExchange: answer a technical question as people who voted on answers would like it; one turn.

| | |
|---|---|
| agents | one: the language model |
| action | a text, the answer |
| observation | a text, the prompt below |
| reward | of ``reward``; ``RougeL`` against the preferred answer where none is given |
| episode end | after the one answer |
| splits | "train", "validation", "test", "all"; see below |

Prompt (``PROMPT``): the question between two fixed pieces. It ends in a space, as the published one does.

    Question: <question>
    <blank>
    Answer:<space>

Reference: the answer with more votes, ``response_j``, without white space around it.

Columns of a row, those of ``lvwerra/stack-exchange-paired``; others are ignored
    qid          the question's number: a whole number, or its digits as text (a repair)
    question     text
    date         when it was asked; text, or absent
    metadata     addresses of question, site and author: a list of texts, or absent
    response_j   text, the answer with more votes
    response_k   text, the answer with fewer; a row whose two answers are the same text is quarantined

The published data set is four data sets in folders: ``data/finetune`` (SFT), ``data/reward`` (reward model), ``data/rl``
(prompts) and ``data/evaluation`` (human answers). Here "train" is ``data/rl`` without the hashed 5 % that are
"validation", and "test" is ``data/evaluation``; so for the hub and for a local copy with these folders. Other local files
are divided by the rules of ``row_sources.py``. A question has several rows, one a pair of answers; all of its rows are in
one split, because the hash is the question's, and ``unique`` keeps the first of them.

Arguments
    split               one of the above
    data                hub name, JSONL or parquet file, folder of them, or a sequence of mappings
    reward              a ``Reward``; None: ``RougeL()``
    unique              one task a question; False: one a row, as the published script takes them
    max_rows            read only until this many tasks of the split are there; None: all (published: 100,000)
    max_bad_rows        share of unusable rows above which ``BadData`` is raised, 0 to 1
    revision            commit of the hub data set
    quarantine          file to which the unusable rows' indices and reasons are written; None: none
    render_mode         None or "ansi"

``info`` of a task: qid; date, site where the row has them. ``report`` says what became of each row read. Prompts that are
too long are the engine's to drop (``max_prompt_tokens``, published: 511), which has the tokenizer.

Source: StackLLaMA (Beeching et al. 2023) as used by Elastic Reset (arXiv 2312.07551). Left out: HTML is not taken out of
the texts (the published rows are markdown already).

Version 0: as above.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from envs.text.base import TextEnv
from envs.text.rewards import Reward, RougeL
from envs.text.row_sources import Source
from envs.text.row_values import Column, Unusable, strict_text, text_columns
from envs.text.rows import Recipe, RowReport, read_rows
from envs.text.task import Task

HUB_NAME = "lvwerra/stack-exchange-paired"
PROMPT = "Question: {question}\n\nAnswer: "
PARTS = {"train": "data/rl", "validation": "data/rl", "test": "data/evaluation"}


class StackExchange(TextEnv):
    """Questions to answers; the module is the documentation page."""

    def __init__(
        self,
        split: str = "train",
        *,
        data: Source = HUB_NAME,
        reward: Reward | None = None,
        unique: bool = True,
        max_rows: int | None = None,
        max_bad_rows: float = 0.01,
        revision: str | None = None,
        quarantine: str | os.PathLike[str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        recipe = Recipe(COLUMNS, ("question",), partial(_task, split=split, seen=set() if unique else None))
        limits = {
            "max_bad_rows": max_bad_rows,
            "max_rows": max_rows,
            "revision": revision,
            "quarantine": quarantine,
        }
        tasks, self.report = _read(data, recipe, split, limits)
        super().__init__(tasks, RougeL() if reward is None else reward, render_mode=render_mode)


def prompt_text(question: str) -> str:
    """The prompt of the module's page."""
    return PROMPT.format(question=question)


def _read(
    data: Source, recipe: Recipe[Task], split: str, limits: dict[str, Any]
) -> tuple[list[Task], RowReport]:
    """The rows of a split, out of the part of a published copy that holds it."""
    part = PARTS.get(split)
    if part is None or not isinstance(data, str | os.PathLike):
        return read_rows(data, recipe, split=split, **limits)
    folder = Path(data).expanduser()
    if (folder / part).is_dir():
        return read_rows(folder / part, recipe, split="all" if split == "test" else split, **limits)
    if folder.exists() or os.fspath(data) != HUB_NAME:
        return read_rows(data, recipe, split=split, **limits)
    whole = {"split": "train", "held_out": 0.0} if split == "test" else {"split": split}
    return read_rows(data, recipe, data_dir=part, **whole, **limits)


def _qid(value: object) -> tuple[int, list[str]]:
    if isinstance(value, int) and not isinstance(value, bool):
        return value, []
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value), ["qid written as a number"]
    raise Unusable("is no whole number")


def _date(value: object) -> tuple[str | None, list[str]]:
    return (value if isinstance(value, str) and 0 < len(value) <= 40 else None), []


def _site(value: object) -> tuple[str | None, list[str]]:
    """The second of the addresses, the site's; None where there is no list of texts."""
    texts = list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else []
    named = len(texts) > 1 and isinstance(texts[1], str) and 0 < len(texts[1]) <= 200
    return (texts[1] if named else None), []


COLUMNS = (
    Column("qid", _qid),
    *text_columns("question"),
    Column("date", _date, optional=True),
    Column("metadata", _site, optional=True),
    Column("response_j", strict_text),
    Column("response_k", strict_text),
)


def refuse_same(response_j: str, response_k: str) -> None:
    """A row whose answers are the same text says nothing about which is better."""
    if response_j.split() == response_k.split():
        raise Unusable("response_j and response_k are the same text")


def _task(index: int, row: dict[str, Any], *, split: str, seen: set[int] | None) -> Task | None:
    refuse_same(row["response_j"], row["response_k"])
    if seen is not None:
        if row["qid"] in seen:
            return None
        seen.add(row["qid"])
    known = {"qid": row["qid"], "date": row["date"], "site": row["metadata"]}
    return Task(
        id=f"stack/{split}/{index}",
        prompt=prompt_text(row["question"].strip()),
        reference=row["response_j"].strip(),
        info={name: value for name, value in known.items() if value is not None},
    )
