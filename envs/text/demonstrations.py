"""Demonstrations for supervised finetuning: (query, completion) pairs from rows in one of four formats.

    posts      subreddit, title, post, summary     the TL;DR data set and its like (N+ detail 1)
    articles   article, highlights                 CNN/DM
    answers    question, response_j, response_k    stack-exchange-paired (``stack_exchange``): its preferred answers
    pairs      prompt, completion                  anything else, taken as it stands

The format is read off the columns of the source. Posts and articles become queries by the rules of ``tldr`` and
``articles`` (N+ detail 2), their summaries completions with exactly one leading space (detail 3). Text that is no
valid UTF-8, blank, missing, nested or above a million characters puts its row into quarantine with its index
and the reason; nothing of it is repaired but line ends and NUL.

Source: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031). Left out: chat rows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import Any

from envs.errors import BadData
from envs.text.articles import MAX_QUERY_TOKENS, article_query_within
from envs.text.row_sources import Source, source_columns
from envs.text.row_values import Column, strict_text
from envs.text.rows import Recipe, RowReport, read_rows
from envs.text.stack_exchange import prompt_text, refuse_same
from envs.text.tldr import completion_text, query_within
from envs.text.truncation import CountTokens, rough_tokens

FORMATS: dict[
    str, tuple[tuple[str, ...], tuple[str, ...]]
] = {  # format → its columns, those a split is hashed from
    "posts": (("subreddit", "title", "post", "summary"), ("subreddit", "title", "post")),
    "articles": (("article", "highlights"), ("article",)),
    "answers": (("question", "response_j", "response_k"), ("question",)),
    "pairs": (("prompt", "completion"), ("prompt",)),
}


@dataclass(frozen=True)
class Demonstration:
    """One pair; ``index`` is the row's place in its source, from 0."""

    index: int
    prompt: str
    completion: str


def read_demonstrations(
    source: Source,
    split: str,
    *,
    count_tokens: CountTokens | None = None,
    max_query_tokens: int = 512,
    max_rows: int | None = None,
    max_bad_share: float = 0.01,
    revision: str | None = None,
    quarantine: str | os.PathLike[str] | None = None,
) -> tuple[list[Demonstration], RowReport]:
    """The demonstrations of one split, and what became of every row read (arguments: ``rows.read_rows``).

    max_query_tokens  the budget of a post's query; an article's is that of the evaluation format
    """
    columns, split_on = FORMATS[format_of(source)]
    build = partial(_build, count_tokens=count_tokens or rough_tokens, budget=max_query_tokens)
    recipe = Recipe(tuple(Column(name, strict_text) for name in columns), split_on, build)
    return read_rows(
        source,
        recipe,
        split=split,
        max_rows=max_rows,
        max_bad_rows=max_bad_share,
        revision=revision,
        quarantine=quarantine,
    )


def format_of(source: Source) -> str:
    """Which of the formats a source is in. A name of the hub is taken for the TL;DR data set's."""
    present = source_columns(source)
    if present is None:
        return "posts"
    for name, (columns, _) in FORMATS.items():
        if set(columns) <= set(present):
            return name
    wanted = "; or ".join(", ".join(columns) for columns, _ in FORMATS.values())
    raise BadData(f"{source} has the columns {', '.join(present) or '(none)'}; demonstrations need {wanted}.")


def _build(index: int, row: dict[str, Any], *, count_tokens: CountTokens, budget: int) -> Demonstration:
    if "article" in row:
        query = article_query_within(row["article"], count_tokens, MAX_QUERY_TOKENS)
        return Demonstration(index, query, completion_text(row["highlights"]))
    if "post" in row:
        query, _ = query_within(row["subreddit"].strip(), row["title"], row["post"], count_tokens, budget)
        return Demonstration(index, query, completion_text(row["summary"]))
    if "question" in row:
        refuse_same(row["response_j"], row["response_k"])
        return Demonstration(index, prompt_text(row["question"].strip()), row["response_j"].strip())
    return Demonstration(index, row["prompt"], row["completion"])
