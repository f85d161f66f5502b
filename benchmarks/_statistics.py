"""Medians of paired ratios and their bootstrap intervals. Only ratios within one run are compared, never seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

RESAMPLES = 10_000


def median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def bootstrap_interval(
    values: Sequence[float],
    statistic: Callable[..., np.ndarray] = np.median,
    level: float = 0.95,
    seed: int = 0,
) -> list[float]:
    """Percentile interval of ``statistic`` over resampled ``values``; fewer than 2 values give no interval.

    The unit that is resampled is the pair of neighbouring segments: rounds of one segment are not independent.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size < 2:
        return [float("nan"), float("nan")]
    rows = np.random.default_rng(seed).integers(data.size, size=(RESAMPLES, data.size))
    draws = statistic(data[rows], axis=1)
    tail = 50 * (1 - level)
    return [float(value) for value in np.percentile(draws, [tail, 100 - tail])]


def normal_interval(mean: float, standard_error: float) -> list[float]:
    """95 % interval of a mean over held-out prompts."""
    return [mean - 1.96 * standard_error, mean + 1.96 * standard_error]


def student_interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean, 95 % interval (null for one value) and number of values.

    For the few seeds of a study: a bootstrap over three to eight values is far too narrow.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size < 2:
        mean = float(data.mean()) if data.size else float("nan")
        return {"mean": mean, "low": None, "high": None, "n": int(data.size)}
    mean, half = float(data.mean()), float(stats.t.ppf(0.975, data.size - 1) * stats.sem(data))
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": int(data.size)}


def verdict(found: Mapping[str, Any]) -> bool | str:
    """Whether a difference is above 0: true or false where its interval says so, else "undecided"."""
    if found["low"] is None or found["low"] <= 0 <= found["high"]:
        return "undecided"
    return bool(found["low"] > 0)
