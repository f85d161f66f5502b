"""How long responses and rows are in tokens, and whether that is what was published (N+ detail 4).

The maxima of a data set under a tokenizer identify both: another tokenizer, another cut of the queries, a missing EOS
or a doubled space moves them. The published ones, of the Pythia tokenizer with EOS counted:

    tldr_sft            responses 53     query and response 562
    tldr_preferences    responses 169    query and response 638
    cnndm               responses 155    query and response 2,021
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rllib_ext.errors import BadData

PUBLISHED = {"tldr_sft": (53, 562), "tldr_preferences": (169, 638), "cnndm": (155, 2021)}


@dataclass(frozen=True)
class Lengths:
    """Tokens, EOS included: the longest and the median response, the longest row; rows counted."""

    rows: int
    response_max: int
    response_median: float
    total_max: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def lengths_of(rows: Sequence[dict[str, Any]], *columns: str) -> Lengths:
    """Of the responses in ``columns`` of rows that say where the query ends (``query_tokens``)."""
    totals = [len(row[column]) for row in rows for column in columns]
    responses = [len(row[column]) - row["query_tokens"] for row in rows for column in columns]
    if not totals:
        return Lengths(0, 0, 0.0, 0)
    return Lengths(len(rows), max(responses), float(np.median(responses)), max(totals))


def check_lengths(found: Lengths, expected: str | None) -> None:
    """Raise ``BadData`` where the maxima are not exactly the published ones of ``expected`` (None: no check)."""
    if expected is None:
        return
    response, total = PUBLISHED[expected]
    if (found.response_max, found.total_max) != (response, total):
        raise BadData(
            f"the longest response has {found.response_max} tokens and the longest row {found.total_max}; for "
            f"{expected} with the Pythia tokenizer they are {response} and {total}. The data, the tokenizer or the cut "
            "of the queries is another one; mend that, or unset expected_lengths"
        )
