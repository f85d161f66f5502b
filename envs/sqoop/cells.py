"""Which question and which answer each example of a batch has, before any scene is drawn.

A cell is one question: a pair and a relation. "exact": every cell has as many true as false examples, and the cells as
many examples as each other up to one couple (true, false), so that nothing can be guessed from the question. "alternate"
is the released generator's rule: labels alternate with the example's index (true first), relations are uniform draws,
pairs come equally often; the cells are then skewed like coins thrown, and a classifier of questions gains from it where
examples are few.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.errors import BadEnv
from envs.sqoop.vocabulary import RELATIONS, Ints

BALANCES = ("exact", "alternate")


def assign(
    rng: np.random.Generator, num_pairs: int, num: int, balance: str
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """(pair, relation, label), [N] each, in random order."""
    if balance == "alternate":
        pair = rng.permutation(_spread_evenly(rng, num_pairs, num))
        relation = rng.integers(0, len(RELATIONS), num)
        return pair, relation, np.arange(num) % 2 == 0
    if num % 2:
        raise BadEnv(
            f"n = {num} examples cannot have as many true as false ones of every question (cell_balance='exact'). "
            "Ask for an even number."
        )
    cell = np.repeat(_spread_evenly(rng, num_pairs * len(RELATIONS), num // 2), 2)
    order = rng.permutation(num)
    return cell[order] // len(RELATIONS), cell[order] % len(RELATIONS), order % 2 == 0


def _spread_evenly(rng: np.random.Generator, kinds: int, num: int) -> Ints:
    """``num`` of 0 .. kinds - 1, each equally often, what is over by lot."""
    whole, over = divmod(num, kinds)
    extra = rng.permutation(kinds)[:over] if over else np.empty(0, np.int64)
    kind: Ints = np.concatenate([np.repeat(np.arange(kinds), whole), extra]).astype(np.int64)
    return kind
