"""Triples by how novel they are: three buckets, by one of three schemes.

    pooled_thirds     thirds of all evaluated triples together, as published: (0, 33 %], (33, 66 %], (66, 100 %]
    positive_thirds   thirds of the true triples alone; a negative goes where the true triple that it was made from goes
    fixed_cuts        at fixed distances, 3.22 and 4.31 by default: those of the paper's mined candidates, and only of use
                      with its vectors (OMCS skip-gram), since a distance has no scale of its own

With pooled thirds the share of true triples falls from bucket to bucket (.719, .630, .151 on the published test set,
because true triples are nearer to training), and F1 with it, whatever the model. So read it beside the positive rate and
AUC, or take positive thirds. Every scheme partitions what it is given. Cuts are distances, never ranks: triples at one
distance share a bucket, so the order in a file, in which true triples come first, cannot decide. Where many distances are
equal the thirds are therefore unequal, and one may be empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rllib_ext.commonsense.triples import Triples, keys_of
from rllib_ext.errors import BadConfig, BadData, unknown_name

PUBLISHED_CUTS = (3.22, 4.31)
NAMES = ("near", "middle", "far")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Buckets:
    """bucket_N: 0 (near), 1 (middle) or 2 (far) of each triple. cuts: the two distances between them."""

    scheme: str
    cuts: tuple[float, float]
    bucket_N: Ints

    @property
    def sizes(self) -> dict[str, int]:
        return {name: int((self.bucket_N == number).sum()) for number, name in enumerate(NAMES)}

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Bucket -> the triples that are in it."""
        return {name: self.bucket_N == number for number, name in enumerate(NAMES)}


def pooled_thirds(distance_N: Floats) -> Buckets:
    """Thirds of all triples together."""
    _check(distance_N)
    return _cut("pooled_thirds", distance_N, _thirds(distance_N))


def positive_thirds(distance_N: Floats, label_N: Ints, partner_N: Ints | None = None) -> Buckets:
    """Thirds of the true triples; each negative in the bucket of its partner, so that every bucket has as large a share
    of true triples as there are negatives to each.

    partner_N: the row of the true triple that a negative was made from, -1 where it is not known (`partners` finds it);
    such a negative goes by its own distance.
    """
    _check(distance_N)
    positive_N = label_N == 1
    if not positive_N.any():
        raise BadData("positive_thirds needs true triples; there are none")
    found = _cut("positive_thirds", distance_N, _thirds(distance_N[positive_N]))
    if partner_N is None:
        return found
    matched = np.flatnonzero(~positive_N & (partner_N >= 0))
    if not positive_N[partner_N[matched]].all():
        raise BadData("partner_N names rows that are no true triples")
    bucket_N = found.bucket_N.copy()
    bucket_N[matched] = found.bucket_N[partner_N[matched]]
    return Buckets(found.scheme, found.cuts, bucket_N)


def fixed_cuts(distance_N: Floats, cuts: tuple[float, float] = PUBLISHED_CUTS) -> Buckets:
    """Near up to and with the first cut, far above the second."""
    _check(distance_N)
    if len(cuts) != 2 or not 0 <= cuts[0] < cuts[1]:
        raise BadConfig(f"cuts are {cuts}; they must be two distances, the smaller one first")
    return _cut("fixed_cuts", distance_N, (float(cuts[0]), float(cuts[1])))


SCHEMES: dict[str, Callable[..., Buckets]] = {
    "pooled_thirds": pooled_thirds,
    "positive_thirds": positive_thirds,
    "fixed_cuts": fixed_cuts,
}


def bucketize(
    scheme: str, distance_N: Floats, triples: Triples, cuts: tuple[float, float] = PUBLISHED_CUTS
) -> Buckets:
    """The buckets of labelled triples by the name of a scheme."""
    if scheme not in SCHEMES:
        raise unknown_name("scheme of buckets", scheme, SCHEMES)
    if scheme == "pooled_thirds":
        return pooled_thirds(distance_N)
    if scheme == "fixed_cuts":
        return fixed_cuts(distance_N, cuts)
    if triples.labels is None:
        raise BadData("positive_thirds needs labels; the triples have none")
    return positive_thirds(distance_N, triples.labels, partners(triples))


def partners(triples: Triples) -> Ints:
    """For each negative the row of a true triple that differs from it in one slot, -1 where there is none (and for true
    triples).

    Published files have the true triples first and negative i made from true triple i, so that one is looked at first;
    then any, the first in the file.
    """
    if triples.labels is None:
        raise BadData("partners needs labels; the triples have none")
    positive, negative = (np.flatnonzero(triples.labels == label) for label in (1, 0))
    found = np.full(len(triples), -1, np.int64)
    slots = [_without(triples, left_out) for left_out in range(3)]
    same_place = positive[: len(negative)]
    facing = negative[: len(same_place)]
    for keys in slots:
        here = (keys[facing] == keys[same_place]) & (found[facing] < 0)
        found[facing[here]] = same_place[here]
    for keys in slots:
        first = dict(zip(keys[positive][::-1].tolist(), positive[::-1].tolist(), strict=True))
        for row in negative[found[negative] < 0]:
            found[row] = first.get(int(keys[row]), -1)
    return found


def _without(triples: Triples, slot: int) -> NDArray[np.uint64]:
    """A number for every triple that does not depend on one of its slots: 0 head, 1 relation, 2 tail."""
    parts = [triples.heads, triples.relations, triples.tails]
    parts[slot] = np.zeros_like(parts[slot])
    return keys_of(*parts)


def _thirds(distance_N: Floats) -> tuple[float, float]:
    low, high = np.quantile(distance_N, [1 / 3, 2 / 3], method="inverted_cdf")
    return float(low), float(high)


def _cut(scheme: str, distance_N: Floats, cuts: tuple[float, float]) -> Buckets:
    return Buckets(scheme, cuts, np.searchsorted(np.array(cuts), distance_N, side="left").astype(np.int64))


def _check(distance_N: Floats) -> None:
    if not len(distance_N):
        raise BadData("there are no distances to cut into buckets")
    if not np.isfinite(distance_N).all():
        raise BadData("some distances are not finite")
