"""TLDR: summarise a Reddit post in the words a reader would want; one turn.

| | |
|---|---|
| agents | one: the language model |
| action | a text, the summary; as generated, its leading space included |
| observation | a text, the query below; at most ``max_query_tokens`` tokens by ``count_tokens`` |
| reward | of ``reward``; ``RougeL`` against the human summary where none is given |
| episode end | after the one summary |
| splits | "train", "validation", "test" of the data set; rules for local files: ``row_sources.py``; "all" |

Query (the last line ends in the colon, with no space after it; there is no newline at the end):

    SUBREDDIT: r/<subreddit>
    <blank>
    TITLE: <title>
    <blank>
    POST: <post>
    <blank>
    TL;DR:

Where it is too long, the post alone is shortened: cut at its last newline until the query fits, and where
no newline remains, one character at a time. A post of several paragraphs so loses whole paragraphs, never a
part of one. A row whose query does not fit without any post is quarantined.

Reference: one space and the summary. The summaries of the hub data set start without the space and the
summaries of the comparison sets with it; either way there is exactly one, because the model's first token
carries it.

Arguments
    split               one of the above
    data                hub name, JSONL or parquet file, folder of them, or a sequence of mappings, with the
                        text columns subreddit (with or without "r/"), title, post, summary; others are
                        ignored
    count_tokens        text -> number of tokens; None: ``rough_tokens`` (words and punctuation, no tokenizer)
    max_query_tokens    the budget of a query, 1 or more
    reward              a ``Reward``; None: ``RougeL()``
    max_rows            read only until this many tasks of the split are there; None: all
    max_bad_rows        share of unusable rows above which ``BadData`` is raised, 0 to 1
    revision            commit of the hub data set
    quarantine          file to which the unusable rows' indices and reasons are written; None: none
    render_mode         None or "ansi"

``info`` of a task: subreddit; cut_chars, the number of characters taken from the post. ``report`` says what
became of each row read.

Source: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031), details 1 to 3; "Asynchronous
RLHF" (arXiv 2410.18252), whose policies and prompts these are. Left out: padding (a matter of batches, not
of text), and its exact token count where no tokenizer's counter is passed.

Version 0: as above.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from envs.errors import BadEnv
from envs.text.base import TextEnv
from envs.text.rewards import Reward, RougeL
from envs.text.row_sources import Source
from envs.text.row_values import Unusable, text_columns
from envs.text.rows import Recipe, read_rows
from envs.text.task import Task
from envs.text.truncation import CountTokens, cut_to_budget, rough_tokens

HUB_NAME = "vwxyzjn/summarize_from_feedback_tldr_3_filtered_oai_preprocessing_1706381144"


class TLDR(TextEnv):
    """Reddit posts to summaries; the module is the documentation page."""

    def __init__(
        self,
        split: str = "train",
        *,
        data: Source = HUB_NAME,
        count_tokens: CountTokens | None = None,
        max_query_tokens: int = 512,
        reward: Reward | None = None,
        max_rows: int | None = None,
        max_bad_rows: float = 0.01,
        revision: str | None = None,
        quarantine: str | os.PathLike[str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if max_query_tokens < 1:
            raise BadEnv(f"max_query_tokens is {max_query_tokens}; TLDR needs a budget of 1 token or more.")
        build = partial(
            _task, split=split, count_tokens=count_tokens or rough_tokens, budget=max_query_tokens
        )
        columns = text_columns("subreddit", "title", "post", "summary")
        tasks, self.report = read_rows(
            data,
            Recipe(columns, ("subreddit", "title", "post"), build),
            split=split,
            max_rows=max_rows,
            max_bad_rows=max_bad_rows,
            revision=revision,
            quarantine=quarantine,
        )
        super().__init__(tasks, RougeL() if reward is None else reward, render_mode=render_mode)


def query_text(subreddit: str, title: str, post: str) -> str:
    """The query of the module's page; nothing is cut here."""
    return f"SUBREDDIT: r/{subreddit.removeprefix('r/')}\n\nTITLE: {title}\n\nPOST: {post}\n\nTL;DR:"


def query_within(
    subreddit: str, title: str, post: str, count_tokens: CountTokens, budget: int
) -> tuple[str, int]:
    """(the query of what the budget leaves of ``post``, characters cut); ``Unusable`` where it never fits."""

    def fits(part: str) -> bool:
        return count_tokens(query_text(subreddit, title, part)) <= budget

    kept = cut_to_budget(post, fits)
    if kept is None:
        raise Unusable("the query does not fit max_query_tokens even without its post")
    return query_text(subreddit, title, kept), len(post) - len(kept)


def completion_text(summary: str) -> str:
    """A reference as the model would generate it: exactly one space before its first word."""
    return " " + summary.lstrip()


def _task(index: int, row: dict[str, Any], *, split: str, count_tokens: CountTokens, budget: int) -> Task:
    subreddit, title, post = row["subreddit"].strip(), row["title"], row["post"]
    query, cut_chars = query_within(subreddit, title, post, count_tokens, budget)
    return Task(
        id=f"tldr/{split}/{index}",
        prompt=query,
        reference=completion_text(row["summary"]),
        info={"subreddit": subreddit.removeprefix("r/"), "cut_chars": cut_chars},
    )
