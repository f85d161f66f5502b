r"""GSM8K: grade-school word problems; the answer is checked by a verifier; one turn.

| | |
|---|---|
| agents | one: the language model |
| action | a text, the worked solution; its final number counts (``NumberMatch`` has the grammar) |
| observation | a text, ``template`` with the question in it |
| reward | of ``reward``; ``NumberMatch``: 1 where the final number equals the label, else 0 |
| episode end | after the one solution |
| splits | "train" and "test" of the data set; "validation" is a hashed 5 % of train if there is none; "all" |

Prompt (template's default; it marks the problem and ends with a header for the solution):

    Problem:
    <question>
    <blank>
    Solution:

Reference: the label, the number after the last "####" of the answer column, commas and a currency sign
removed. An answer without such a number is quarantined. The human solution is ``info["solution"]``, one
leading space included, which is the target for a supervised stage.

Arguments
    split               one of the above
    data                hub name, JSONL or parquet file, folder of them, or a sequence of mappings, with the
                        text columns question and answer; others are ignored
    template            text that holds "{question}" exactly once
    reward              a ``Reward``; None: ``NumberMatch()``
    max_rows            read only until this many tasks of the split are there; None: all
    max_bad_rows        share of unusable rows above which ``BadData`` is raised, 0 to 1
    revision            commit of the hub data set
    quarantine          file to which the unusable rows' indices and reasons are written; None: none
    render_mode         None or "ansi"

``report`` says what became of each row read.

Source: Cobbe et al. 2021 (arXiv 2110.14168) for the data and its "####" marker; "Asynchronous RLHF" (arXiv
2410.18252), GSM8K experiment, for prompt and reward. Left out: few-shot prompts, calculator annotations (the
``<<...>>`` of the solutions stay as they are).

Version 0: as above.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Any

from envs.errors import BadEnv
from envs.text.base import TextEnv
from envs.text.rewards import NumberMatch, Reward
from envs.text.row_sources import Source
from envs.text.row_values import Unusable, text_columns
from envs.text.rows import Recipe, read_rows
from envs.text.task import Task

HUB_NAME = "openai/gsm8k"
HUB_CONFIG = "main"
TEMPLATE = "Problem:\n{question}\n\nSolution:"
_LABEL = re.compile(r"####[ \t]*\$?(-?)[ \t]*\$?(\d[\d,]*(?:\.\d+)?|\.\d+)\.?[ \t]*$", re.MULTILINE)


class GSM8K(TextEnv):
    """Word problems with a verified number; the module is the documentation page."""

    def __init__(
        self,
        split: str = "train",
        *,
        data: Source = HUB_NAME,
        template: str = TEMPLATE,
        reward: Reward | None = None,
        max_rows: int | None = None,
        max_bad_rows: float = 0.01,
        revision: str | None = None,
        quarantine: str | os.PathLike[str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if template.count("{question}") != 1:
            raise BadEnv(f"template {template!r} must hold '{{question}}' exactly once.")
        tasks, self.report = read_rows(
            data,
            Recipe(
                text_columns("question", "answer"),
                ("question",),
                partial(_task, split=split, template=template),
            ),
            split=split,
            config=HUB_CONFIG if data == HUB_NAME else None,
            max_rows=max_rows,
            max_bad_rows=max_bad_rows,
            revision=revision,
            quarantine=quarantine,
        )
        super().__init__(tasks, NumberMatch() if reward is None else reward, render_mode=render_mode)


def label_number(answer: str) -> str | None:
    """The number after the last "####" that has one, as digits: ``"#### $1,250"`` gives ``"1250"``; else
    None.
    """
    found = _LABEL.findall(answer)
    return found[-1][0] + found[-1][1].replace(",", "") if found else None


def _task(index: int, row: dict[str, Any], *, split: str, template: str) -> Task:
    label = label_number(row["answer"])
    if label is None:
        raise Unusable("column 'answer' has no number after '####'")
    return Task(
        id=f"gsm8k/{split}/{index}",
        prompt=template.replace("{question}", row["question"].strip()),
        reference=label,
        info={"solution": " " + row["answer"].strip()},
    )
