"""The nearest of many pairs of points: exact, by blocked products of matrices, in bounded memory.

A pair is (first, second), two points in R^D; two pairs are ||first - first'|| + ||second - second'|| apart, the sum
of two Euclidean distances (Jastrzębski et al. 2018, arXiv 1804.09259, use it for the head and the tail of a triple). No
library of nearest neighbours has this metric: scikit-learn's search in the joined space, where
sqrt(a^2 + b^2) <= a + b <= sqrt(2 (a^2 + b^2)), gives candidates that have to be certified
(`benchmarks/kb_distances.py` measures it beside this). Left out: approximate search, other metrics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PairSet", "nearest_pairs"]

ROWS = 1024  # pairs whose distances are looked at together: a block of them stays in a core's cache
MOST_QUERIES = 256
EXACT_AT_ONCE = 1 << 15
EPSILON = 2.0**-24  # rounding of one float32 operation

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class PairSet:
    """Pairs as rows into two tables of points, so that a point that many pairs share is compared once.

    first_PD, second_QD   the distinct points; first_N, second_N   each pair's rows in them. Points are float32.
    """

    first_PD: Floats
    second_QD: Floats
    first_N: Integers
    second_N: Integers

    def __len__(self) -> int:
        return len(self.first_N)

    def points(self, rows: Integers) -> tuple[Floats, Floats]:
        """The two points of these pairs."""
        return self.first_PD[self.first_N[rows]], self.second_QD[self.second_N[rows]]


def nearest_pairs(
    queries: PairSet, known: PairSet, *, memory_bytes: int = 256 * 2**20
) -> tuple[NDArray[np.float64], Integers]:
    """(distance, row of the nearest pair of ``known``) for every pair of ``queries``; equal distances: the lowest row.

    Squared distances |a|^2 + |b|^2 - 2 a.b come from one product of matrices a block and carry a rounding error of up to
    D eps (|a| + |b|)^2, of which the root is large where points coincide. So the product only finds candidates: every
    pair within the bound on that error of the least sum is measured again as |a - b| in float64. The answer is therefore
    exact, and 0 exactly where both points are equal.

    memory_bytes bounds the tables of distances to the distinct points, 4 (P + Q) bytes a query of a block.
    """
    if not len(known):
        raise ValueError("known has no pairs: there is nothing to be near to")
    distinct, first_row = _distinct(known)
    distances = np.empty(len(queries))
    rows = np.empty(len(queries), np.int64)
    a_query = 4 * (len(known.first_PD) + len(known.second_QD))
    block = int(np.clip(memory_bytes // max(1, a_query), 1, MOST_QUERIES))
    norms = _squares(known.first_PD), _squares(known.second_QD)
    for start in range(0, len(queries), block):
        asked = np.arange(start, min(start + block, len(queries)))
        distances[asked], found = _block(queries.points(asked), distinct, norms)
        rows[asked] = first_row[found]
    return distances, rows


def _distinct(known: PairSet) -> tuple[PairSet, Integers]:
    """The pairs without repetitions, ordered by their first point, and each one's lowest row."""
    keys = known.first_N.astype(np.int64) * len(known.second_QD) + known.second_N
    _, first_row = np.unique(keys, return_index=True)
    kept = PairSet(known.first_PD, known.second_QD, known.first_N[first_row], known.second_N[first_row])
    return kept, first_row.astype(np.int64)


def _block(
    asked: tuple[Floats, Floats], known: PairSet, norms: tuple[Floats, Floats]
) -> tuple[NDArray[np.float64], Integers]:
    """Least distance and its row for the queries of one block."""
    tables = [
        _distances(points, query, norm)
        for points, query, norm in zip((known.first_PD, known.second_QD), asked, norms, strict=True)
    ]
    starts = range(0, len(known), ROWS)
    least = np.empty((len(starts), len(asked[0])), np.float32)
    for number, start in enumerate(starts):
        least[number] = _sums(tables, known, slice(start, start + ROWS)).min(axis=0)
    bound = least.min(axis=0) + sum(
        2 * _error(points.shape[1], query, norm)
        for points, query, norm in zip((known.first_PD, known.second_QD), asked, norms, strict=True)
    )
    rows, queries = [], []
    for number, start in enumerate(starts):
        near = np.flatnonzero(least[number] <= bound)
        if near.size:
            sums = _sums(tables, known, slice(start, start + ROWS), near)
            row, query = np.nonzero(sums <= bound[near])
            rows.append(row + start)
            queries.append(near[query])
    return _exact(asked, known, np.concatenate(rows), np.concatenate(queries))


def _distances(points_PD: Floats, queries_BD: Floats, norms_P: Floats) -> Floats:
    """Euclidean distances (P, B), as good as float32 gets them from one product."""
    found: Floats = points_PD @ queries_BD.T
    found *= -2.0
    found += norms_P[:, None]
    found += _squares(queries_BD)
    np.maximum(found, 0.0, out=found)
    np.sqrt(found, out=found)
    return found


def _sums(tables: list[Floats], known: PairSet, rows: slice, queries: Integers | None = None) -> Floats:
    """Distances of the pairs of ``rows`` to all queries of the block, or to some."""
    if queries is None:
        found: Floats = tables[0].take(known.first_N[rows], axis=0)
        found += tables[1].take(known.second_N[rows], axis=0)
        return found
    some: Floats = tables[0][np.ix_(known.first_N[rows], queries)]
    some += tables[1][np.ix_(known.second_N[rows], queries)]
    return some


def _error(dimensions: int, queries_BD: Floats, norms_P: Floats) -> Floats:
    """Bound (B,) on the error of a distance: the root of D eps (|a| + |b|)^2 at the farthest point."""
    farthest = np.sqrt(norms_P.max(initial=0.0)) + np.sqrt(_squares(queries_BD))
    bound: Floats = (np.sqrt(dimensions * EPSILON + 8 * EPSILON) * farthest).astype(np.float32)
    return bound


def _exact(
    asked: tuple[Floats, Floats], known: PairSet, rows: Integers, queries: Integers
) -> tuple[NDArray[np.float64], Integers]:
    """The candidates measured in float64, and the best of each query; among equals the lowest row."""
    found = np.empty(len(rows))
    for start in range(0, len(rows), EXACT_AT_ONCE):
        part = slice(start, start + EXACT_AT_ONCE)
        first, second = known.points(rows[part])
        found[part] = _length(first, asked[0][queries[part]]) + _length(second, asked[1][queries[part]])
    order = np.lexsort((rows, found, queries))
    _, at = np.unique(queries[order], return_index=True)
    best = order[at]
    return found[best], rows[best]


def _length(one: Floats, other: Floats) -> NDArray[np.float64]:
    difference = one.astype(np.float64) - other
    length: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return length


def _squares(points: Floats) -> Floats:
    squares: Floats = np.einsum("nd,nd->n", points, points)
    return squares
