"""The reward-drift frontier: what a method's sweep reaches, and how much of the plane it dominates. Maths alone.

A point is (reward, drift): more reward is better, less drift is better (perplexity of human text, KL to the initial
policy, ...). A method is judged by the whole sweep of its knob at one budget, never by its best reward beside another's
best drift. Source: Elastic Reset (arXiv 2312.07551), evaluation; the hypervolume is Zitzler and Thiele's, in the plane.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = [
    "MeanPoint",
    "Point",
    "drift_at",
    "hypervolume",
    "mean_points",
    "non_dominated",
    "paired_difference",
]

Point = tuple[float, float]  # (reward, drift)


@dataclass(frozen=True)
class MeanPoint:
    """Mean and standard error over seeds of one setting at one checkpoint; errors are nan for a single seed."""

    reward: float
    drift: float
    reward_se: float
    drift_se: float
    seeds: int


def mean_points(points: Mapping[object, Sequence[Point]]) -> dict[object, MeanPoint]:
    """Per setting (a key), over its seeds."""
    found = {}
    for key, seeds in points.items():
        rewards, drifts = zip(*seeds, strict=True)
        found[key] = MeanPoint(
            _mean(rewards), _mean(drifts), _standard_error(rewards), _standard_error(drifts), len(seeds)
        )
    return found


def non_dominated(points: Iterable[Point]) -> list[Point]:
    """The points that no other one beats in one coordinate without losing in the other, by rising reward.

    Of equal points one is kept.
    """
    kept: list[Point] = []
    least = math.inf
    for reward, drift in sorted(set(points), key=lambda point: (-point[0], point[1])):
        if drift < least:
            kept.append((reward, drift))
            least = drift
    return kept[::-1]


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """Area of the plane that the points dominate and that dominates ``reference`` = (least reward, most drift).

    In units of reward times drift (give log-perplexities for an axis of perplexity). Points that are not better than the
    reference in both add nothing; without any the volume is 0.
    """
    least, most = reference
    front = non_dominated(point for point in points if point[0] > least and point[1] < most)
    area, below = 0.0, least
    for reward, drift in front:
        area += (reward - below) * (most - drift)
        below = reward
    return area


def drift_at(points: Sequence[Point], reward: float) -> float | None:
    """Drift at a reward, by linear interpolation along the sweep, whose points are in the order of its knob.

    Where the sweep passes the reward several times, the least drift; None where it never does.
    """
    found = [drift for at, drift in points if at == reward]
    for (low, low_drift), (high, high_drift) in itertools.pairwise(points):
        if min(low, high) < reward < max(low, high):
            share = (reward - low) / (high - low)
            found.append(low_drift + share * (high_drift - low_drift))
    return min(found) if found else None


def paired_difference(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error of ``one - other`` over seeds that both were run with, in one order."""
    differences = [a - b for a, b in zip(one, other, strict=True)]
    return _mean(differences), _standard_error(differences)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _standard_error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
