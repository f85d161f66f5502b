"""Win rates with their intervals, and what is left of one when both answers are equally long.

A judge prefers longer answers, and so do reward models; a policy that writes more wins more, whatever it writes. Two ways
to look behind that: the win rate by length difference, and the win rate that a logistic fit gives at a difference of 0

    P(win) = sigmoid(a + b d),   d = log(own length / other length)   ->   length-controlled win rate sigmoid(a)

Sources: "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031), the comparison by length; length-controlled
AlpacaEval (arXiv 2404.04475), of which this keeps the one covariate. Wilson's interval (1927) for proportions: it stays
inside [0, 1] and is not empty at 0 and 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["LengthControlled", "Share", "length_controlled", "share", "wins_by_length"]

Z_95 = 1.959963984540054
_STEPS, _CLOSE = 50, 1e-10
_LARGEST_LOG_ODDS = 50.0  # of an item; a fit that goes there is on its way to infinity


@dataclass(frozen=True)
class Share:
    """A proportion of ``count`` and its 95 % interval; value and bounds are NaN where there is nothing."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class LengthControlled:
    """``value``: the fit at equal lengths. ``slope``: its change in log-odds per unit of d. ``standard_error`` of the
    log-odds at 0. ``raw``: the plain win rate.
    """

    value: float
    low: float
    high: float
    slope: float
    standard_error: float
    raw: float


def share(successes: int, count: int, z: float = Z_95) -> Share:
    """Wilson's interval: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    if not 0 <= successes <= count:
        raise ValueError(f"share: {successes} of {count}; the first must lie between 0 and the second")
    if count == 0:
        return Share(math.nan, math.nan, math.nan, 0)
    p = successes / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # At 0 and 1 the interval ends there exactly; rounding must not leave the value outside.
    return Share(p, min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half)), count)


def wins_by_length(
    wins: Sequence[bool], log_ratios: Sequence[float], edges: Sequence[float]
) -> list[tuple[float, float, Share]]:
    """(from, to, share of wins) of every stretch of length log-ratios between two ``edges``, upper end excluded.

    Edges must ascend. What lies outside the first and the last is in no stretch.
    """
    won, at = _paired(wins, log_ratios)
    if len(edges) < 2 or any(b <= a for a, b in itertools.pairwise(edges)):
        raise ValueError(f"wins_by_length: edges must ascend and be two or more, got {list(edges)}")
    found = []
    for low, high in itertools.pairwise(edges):
        inside = (at >= low) & (at < high)
        found.append((float(low), float(high), share(int(won[inside].sum()), int(inside.sum()))))
    return found


def length_controlled(wins: Sequence[bool], differences: Sequence[float]) -> LengthControlled:
    """The maximum-likelihood fit above, by Newton's method, evaluated at a difference of 0.

    Edges: no differences at all (they are all equal to 0): the plain win rate. Outcomes that are all alike, or that
    length alone separates, have no finite fit: the win rate as it is, with its Wilson interval and a slope of NaN.
    """
    won, at = _paired(wins, differences)
    if not len(won):
        raise ValueError("length_controlled: there is no comparison")
    raw = float(won.mean())
    if np.ptp(at) == 0 and at[0] == 0:
        at = np.zeros_like(at)
    design = np.stack([np.ones_like(at), at], axis=1) if np.ptp(at) > 0 else np.ones((len(at), 1))
    fit = _newton(design, won.astype(float))
    if fit is None:
        plain = share(int(won.sum()), len(won))
        return LengthControlled(raw, plain.low, plain.high, math.nan, math.nan, raw)
    weights, covariance = fit
    error = math.sqrt(covariance[0, 0])
    low, value, high = (_sigmoid(weights[0] + shift) for shift in (-Z_95 * error, 0.0, Z_95 * error))
    slope = float(weights[1]) if len(weights) > 1 else 0.0
    return LengthControlled(value, low, high, slope, error, raw)


def _newton(design: np.ndarray, won: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """(weights, their covariance), or None where the likelihood has no finite maximum."""
    weights = np.zeros(design.shape[1])
    if won.min() == won.max():
        return None
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -500, 500)))
        information = design.T @ (design * (chance * (1 - chance))[:, None])
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (won - chance))
        weights = weights + step
        if np.abs(design @ weights).max() > _LARGEST_LOG_ODDS:
            return None
        if np.abs(step).max() < _CLOSE:
            return weights, np.linalg.inv(information)
    return None


def _paired(wins: Sequence[bool], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    won, at = np.asarray(wins, dtype=bool), np.asarray(values, dtype=float)
    if won.shape != at.shape or won.ndim != 1 or not np.isfinite(at).all():
        raise ValueError(
            f"wins {won.shape} and length differences {at.shape} must be two lists of the same length, differences finite"
        )
    return won, at


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
