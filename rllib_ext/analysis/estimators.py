"""Point estimates over a handful of seeds, and how sure they are. Maths alone: numbers in, numbers out.

Two kinds of interval, for two questions. One task: the mean over seeds with Student's interval, because a bootstrap of
three to eight values is far too narrow. Several tasks: the interquartile mean of all scores with the percentile interval
of a bootstrap that is stratified by task, so that every resample holds as many runs of each task as there were; source:
Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv 2108.13264), section 4.
Left out: performance profiles and the probability of improvement. Scores of several tasks must be on one scale before
they come here; that is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rllib_ext.errors import BadConfig

__all__ = ["Estimate", "iqm", "mean_interval", "stratified_bootstrap"]

RESAMPLES = 2_000


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval (None where nothing says how wide it is) and the number of runs behind it."""

    value: float
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean and Student's interval, mean +- t_{n-1} s / sqrt(n); without an interval for one value, nan for none."""
    data = np.asarray(values, dtype=np.float64)
    if data.size < 2:
        return Estimate(float(data.mean()) if data.size else math.nan, None, None, int(data.size))
    mean = float(data.mean())
    half = _student(level, data.size - 1) * float(data.std(ddof=1)) / math.sqrt(data.size)
    return Estimate(mean, mean - half, mean + half, int(data.size))


def iqm(values: Sequence[float] | np.ndarray) -> float:
    """Mean of the middle half: the lowest and the highest floor(n / 4) values are left out. nan for none.

    More robust than the mean and less wasteful than the median; for fewer than four values it is the mean.
    """
    data = np.sort(np.asarray(values, dtype=np.float64).ravel())
    cut = data.size // 4
    return float(data[cut : data.size - cut].mean()) if data.size else math.nan


def stratified_bootstrap(
    tasks: Sequence[Sequence[float]],
    statistic: Callable[[np.ndarray], float] = iqm,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """``statistic`` of all scores together, and its percentile interval over resamples of the runs within each task.

    tasks: the scores of each task, one a run; their numbers may differ. Where every task has a single run nothing can be
    resampled, and there is no interval.
    """
    strata = [np.asarray(task, dtype=np.float64) for task in tasks if len(task)]
    pooled = np.concatenate(strata) if strata else np.empty(0)
    value = float(statistic(pooled))
    if not strata or max(task.size for task in strata) < 2:
        return Estimate(value, None, None, int(pooled.size))
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [task[rng.integers(task.size, size=(resamples, task.size))] for task in strata], axis=1
    )
    low, high = np.quantile([statistic(row) for row in drawn], [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), int(pooled.size))


def _student(level: float, freedom: int) -> float:
    """Quantile of Student's distribution for a two-sided interval."""
    try:
        from scipy import stats
    except ImportError as error:
        raise BadConfig('Intervals over seeds need scipy: pip install "rllib-ext[plot]"') from error
    return float(stats.t.ppf((1 + level) / 2, freedom))
