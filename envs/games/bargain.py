"""What a bargain over a pool of items is worth, as functions of arrays: B games, agents 0 and 1, I kinds of items.

Source: Cao et al. 2018, "Emergent Communication through Negotiation" (arXiv 1804.03980); the options are those of
Noukhovitch et al. 2021 (arXiv 2101.10276). Whole numbers throughout: a proposal is what its proposer wants for itself of
each kind, the other gets the rest of the pool.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

REWARDS = ("selfish", "prosocial", "alpha", "zero_sum")
POISSON_MEAN, SHORTEST, LONGEST = 7.0, 4, 10


def draw_pools(
    rng: np.random.Generator, games: int, items: int, most: int, *, first_never_zero: bool = False
) -> Ints:
    """(B, I) quantities, each uniform on 0..most, drawn again where the whole pool is empty.

    first_never_zero: drawn again where the first kind is missing, as the authors' code does by mistake.
    """
    pool_BI = rng.integers(0, most + 1, (games, items))
    while True:
        again_B = (pool_BI[:, 0] == 0) if first_never_zero else ~pool_BI.any(axis=1)
        if not again_B.any():
            return pool_BI
        pool_BI[again_B] = rng.integers(0, most + 1, (int(again_B.sum()), items))


def draw_utilities(rng: np.random.Generator, pool_BI: Ints, most: int) -> Ints:
    """(B, 2, I) what an item of each kind is worth to each agent, uniform on 0..most, drawn again for an agent
    to whom the whole pool is worth nothing.
    """
    games, items = pool_BI.shape
    utilities_B2I = rng.integers(0, most + 1, (games, 2, items))
    while True:
        again_B2 = (utilities_B2I * pool_BI[:, None]).sum(-1) == 0
        if not again_B2.any():
            return utilities_B2I
        utilities_B2I[again_B2] = rng.integers(0, most + 1, (int(again_B2.sum()), items))


def draw_horizons(rng: np.random.Generator, games: int) -> Ints:
    """(B,) turns that a game has at most: Poisson(7), no less than 4 and no more than 10."""
    return np.clip(rng.poisson(POISSON_MEAN, games), SHORTEST, LONGEST)


def split(proposal_BI: Ints, proposer_B: Ints, pool_BI: Ints) -> tuple[Ints, Bools]:
    """((B, 2, I) what each agent gets, (B,) whether the proposal is possible). Nothing for both where it is not."""
    possible_B: Bools = np.all((proposal_BI <= pool_BI) & (proposal_BI >= 0), axis=1)
    first_BI = np.where((proposer_B == 0)[:, None], proposal_BI, pool_BI - proposal_BI)
    shares_B2I = np.stack([first_BI, pool_BI - first_BI], axis=1)
    return np.where(possible_B[:, None, None], shares_B2I, 0), possible_B


def own_worth(shares_B2I: Ints, utilities_B2I: Ints, pool_BI: Ints) -> Floats:
    """(B, 2) share of the pool's worth to itself that each agent got, in [0, 1]."""
    whole_B2 = (utilities_B2I * pool_BI[:, None]).sum(-1)
    worth_B2: Floats = (utilities_B2I * shares_B2I).sum(-1) / whole_B2
    return worth_B2


def joint_worth(shares_B2I: Ints, utilities_B2I: Ints, pool_BI: Ints) -> Floats:
    """(B,) what both got together over the most that could be had, in [0, 1]; 1 exactly where every item went to an agent
    who values it most ("joint optimality").
    """
    best_B = (utilities_B2I.max(axis=1) * pool_BI).sum(-1)
    worth_B: Floats = (utilities_B2I * shares_B2I).sum((-1, -2)) / best_B
    return worth_B


def rewards(kind: str, own_B2: Floats, joint_B: Floats, alpha: float = 0.5) -> Floats:
    """(B, 2) rewards of a deal.

    selfish    what the agent got for itself, in [0, 1]
    prosocial  joint worth, the same to both, in [0, 1]
    alpha      (1 - alpha) selfish + alpha prosocial
    zero_sum   own less the other's, in [-1, 1]
    """
    if kind == "selfish":
        return own_B2
    if kind == "zero_sum":
        return own_B2 - own_B2[:, ::-1]
    both_B2 = np.repeat(joint_B[:, None], 2, axis=1)
    return both_B2 if kind == "prosocial" else (1 - alpha) * own_B2 + alpha * both_B2
