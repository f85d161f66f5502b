"""Medians of paired ratios and their bootstrap intervals. Only ratios within one run are compared, never seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

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
