"""Comparisons: two completions of one query and which of them somebody preferred.

Three formats, told apart by the columns of the source:

    hub     info, summaries, choice; batch, split, extra where they are there    openai/summarize_from_feedback
    votes   question, response_j, response_k                                     lvwerra/stack-exchange-paired
    pairs   prompt, chosen, rejected; batch, split, confidence, score_chosen, score_rejected where they are there

``info`` holds subreddit, title and post, or an article (CNN/DM); ``summaries`` two objects with a text and the
policy that wrote it; ``choice`` is 0 or 1; ``extra["confidence"]`` a number from 1 to 9. The query is cut as a post's
or an article's is (N+ detail 2). The summaries of the hub's set start with a space already; either way there is
exactly one (detail 3). Batch, split and confidence are what a reward model's accuracy is reported by (detail 16).

A row whose two completions are the same text says nothing and is quarantined like one that cannot be read.

Source: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031), details 1 to 4 and 16. Left out: more
than two completions, ties.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from envs.errors import BadData
from envs.text.articles import MAX_QUERY_TOKENS, article_query_within
from envs.text.row_sources import Source, source_columns
from envs.text.row_values import Column, Unusable, strict_text
from envs.text.rows import Recipe, RowReport, read_rows
from envs.text.stack_exchange import prompt_text
from envs.text.tldr import completion_text, query_within
from envs.text.truncation import CountTokens, rough_tokens

HUB_COLUMNS, PAIR_COLUMNS = ("info", "summaries", "choice"), ("prompt", "chosen", "rejected")
VOTE_COLUMNS = ("question", "response_j", "response_k")


@dataclass(frozen=True)
class Comparison:
    """One preference. ``index``: the row's place in its source. ``info``: batch, split, confidence, policies and
    scores, as far as the source has them; JSON values.
    """

    index: int
    prompt: str
    chosen: str
    rejected: str
    info: dict[str, Any] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """The comparison in the format ``pairs``."""
        return {"prompt": self.prompt, "chosen": self.chosen, "rejected": self.rejected, **self.info}


def read_comparisons(
    source: Source,
    split: str,
    *,
    count_tokens: CountTokens | None = None,
    max_query_tokens: int = 512,
    max_rows: int | None = None,
    max_bad_share: float = 0.01,
    revision: str | None = None,
    quarantine: str | os.PathLike[str] | None = None,
) -> tuple[list[Comparison], RowReport]:
    """The comparisons of one split, and what became of every row read (arguments: ``rows.read_rows``)."""
    return read_rows(
        source,
        _recipe(source, count_tokens or rough_tokens, max_query_tokens),
        split=split,
        max_rows=max_rows,
        max_bad_rows=max_bad_share,
        revision=revision,
        quarantine=quarantine,
    )


def _recipe(source: Source, count_tokens: CountTokens, budget: int) -> Recipe[Comparison]:
    present = source_columns(source)
    if present is None or set(HUB_COLUMNS) <= set(present):
        columns: tuple[Column, ...]
        columns = (Column("info", _info), Column("summaries", _summaries), Column("choice", _choice))
        columns += (_optional("batch", _label), _optional("split", _label), _optional("extra", _confidence))
        return Recipe(columns, ("info",), partial(_from_hub, count_tokens=count_tokens, budget=budget))
    if set(VOTE_COLUMNS) <= set(present):
        return Recipe(tuple(Column(name, strict_text) for name in VOTE_COLUMNS), ("question",), _from_votes)
    if set(PAIR_COLUMNS) <= set(present):
        columns = tuple(Column(name, strict_text) for name in PAIR_COLUMNS)
        columns += tuple(_optional(name, _label) for name in ("batch", "split"))
        columns += tuple(
            _optional(name, _number) for name in ("confidence", "score_chosen", "score_rejected")
        )
        return Recipe(columns, ("prompt",), _from_pair)
    raise BadData(
        f"{source} has the columns {', '.join(present) or '(none)'}; comparisons need {', '.join(PAIR_COLUMNS)}; "
        f"{', '.join(VOTE_COLUMNS)}; or {', '.join(HUB_COLUMNS)} as openai/summarize_from_feedback has them."
    )


def _optional(name: str, convert: Any) -> Column:
    return Column(name, convert, optional=True)


def _from_pair(index: int, row: dict[str, Any]) -> Comparison:
    info = {name: value for name, value in row.items() if name not in PAIR_COLUMNS and value is not None}
    return _told_apart(Comparison(index, row["prompt"], row["chosen"], row["rejected"], info))


def _from_votes(index: int, row: dict[str, Any]) -> Comparison:
    question, better, worse = (row[name].strip() for name in VOTE_COLUMNS)
    return _told_apart(Comparison(index, prompt_text(question), better, worse))


def _from_hub(index: int, row: dict[str, Any], *, count_tokens: CountTokens, budget: int) -> Comparison:
    info, summaries, choice = row["info"], row["summaries"], row["choice"]
    if "article" in info:
        query = article_query_within(info["article"], count_tokens, MAX_QUERY_TOKENS)
    else:
        query, _ = query_within(info["subreddit"].strip(), info["title"], info["post"], count_tokens, budget)
    (chosen, chosen_by), (rejected, rejected_by) = summaries[choice], summaries[1 - choice]
    known = {
        "batch": row["batch"],
        "split": row["split"],
        "confidence": row["extra"],
        "policies": "--".join(sorted((chosen_by, rejected_by))) if chosen_by and rejected_by else None,
    }
    kept = {name: value for name, value in known.items() if value is not None}
    return _told_apart(Comparison(index, query, completion_text(chosen), completion_text(rejected), kept))


def _told_apart(comparison: Comparison) -> Comparison:
    if comparison.chosen.split() == comparison.rejected.split():
        raise Unusable("chosen and rejected are the same text")
    return comparison


def _info(value: object) -> tuple[dict[str, str], list[str]]:
    if not isinstance(value, Mapping):
        raise Unusable(f"is of type {type(value).__name__}, not an object")
    names = ("article",) if value.get("article") is not None else ("subreddit", "title", "post")
    return _texts(value, names)


def _texts(value: Mapping[str, object], names: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    texts: dict[str, str] = {}
    repairs: list[str] = []
    for name in names:
        try:
            texts[name], made = strict_text(value.get(name))
        except Unusable as unusable:
            raise Unusable(f"field {name!r} {unusable}") from unusable
        repairs += made
    return texts, repairs


def _summaries(value: object) -> tuple[list[tuple[str, str | None]], list[str]]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise Unusable("is not a list of two summaries")
    pairs: list[tuple[str, str | None]] = []
    repairs: list[str] = []
    for item in value:
        if not isinstance(item, Mapping):
            raise Unusable("holds a summary that is no object")
        texts, made = _texts(item, ("text",))
        policy = item.get("policy")
        pairs.append((texts["text"], policy if isinstance(policy, str) else None))
        repairs += made
    return pairs, repairs


def _choice(value: object) -> tuple[int, list[str]]:
    if isinstance(value, int | float) and not isinstance(value, bool) and value in (0, 1):
        return int(value), []
    raise Unusable("is neither 0 nor 1")


def _label(value: object) -> tuple[str | None, list[str]]:
    """A batch's or a split's name; what is no short text names nothing."""
    return (value if isinstance(value, str) and 0 < len(value) <= 200 else None), []


def _number(value: object) -> tuple[float | None, list[str]]:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        return None, []
    return float(value), []


def _confidence(value: object) -> tuple[float | None, list[str]]:
    return _number(value.get("confidence")) if isinstance(value, Mapping) else (None, [])
