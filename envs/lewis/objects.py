"""Objects of p properties with t types, their canonical language, and the three sets they are divided into.

An object is (v_1, ..., v_p), each v_j in 0 ... t - 1; there are t^p of them. Its canonical message has p symbols of a
vocabulary of p t:

    m_j = v_j + (j - 1) t            so a symbol says which property it is about, and which value

Sets: ``labelled`` objects are given with their message (supervised), ``played`` ones are only played with, the rest is
held out. They are disjoint and make up all objects; which is which depends on (p, t, seed) and the two sizes alone.

Source: Lu et al. 2020 (arXiv 2003.12694), the Lewis game of "Countering Language Drift with Seeded Iterated Learning":
p = t = 5, hence 3,125 objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.errors import BadEnv

Ints = NDArray[np.int64]
MOST_OBJECTS = 1_000_000


@dataclass(frozen=True)
class Sets:
    """Objects (N, p) of the three sets."""

    labelled_NP: Ints
    played_NP: Ints
    held_out_NP: Ints


def all_objects(properties: int, types: int) -> Ints:
    """Every object, (t^p, p), in the order of a counter whose last digit turns fastest."""
    if properties < 1 or types < 2 or types**properties > MOST_OBJECTS:
        raise BadEnv(
            f"properties = {properties} must be 1 or more, types = {types} 2 or more, and there may be at most "
            f"{MOST_OBJECTS:,} objects."
        )
    grid = np.indices((types,) * properties, dtype=np.int64)
    return grid.reshape(properties, -1).T.copy()


def canonical(objects_NP: Ints, types: int) -> Ints:
    """The canonical messages of objects, (N, p)."""
    offsets_P = np.arange(objects_NP.shape[-1], dtype=np.int64) * types
    return objects_NP + offsets_P


def divide(properties: int, types: int, labelled: int, played: int, seed: int) -> Sets:
    """The three sets of a seed; at least one object must be left to be held out."""
    objects_NP = all_objects(properties, types)
    if labelled < 1 or played < 1 or labelled + played >= len(objects_NP) or seed < 0:
        raise BadEnv(
            f"labelled = {labelled} and played = {played} must be 1 or more and leave some of {len(objects_NP)} objects "
            f"held out; seed = {seed} must be 0 or more."
        )
    order_N = np.random.default_rng(np.random.SeedSequence((seed, properties, types))).permutation(
        len(objects_NP)
    )
    shuffled_NP = objects_NP[order_N]
    return Sets(
        shuffled_NP[:labelled], shuffled_NP[labelled : labelled + played], shuffled_NP[labelled + played :]
    )
