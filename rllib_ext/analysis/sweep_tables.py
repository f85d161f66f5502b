"""A sweep's numbers as tables: every result as one tidy table, and what each setting reached over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rllib_ext.analysis.estimators import Estimate, iqm, mean_interval, stratified_bootstrap
from rllib_ext.analysis.rows import number
from rllib_ext.analysis.sweep_data import SweepData, TrialData
from rllib_ext.analysis.tables import Table

#: What trials are judged by, in the order in which it is looked for.
MEASURES = (
    "evaluation/reward_mean",
    "evaluation/win_rate",
    "evaluation/kl_ref",
    "evaluation/ppl_reference",
    "reward/mean",
    "protocol/loss_sum",
    "protocol/joint_optimality",
    "protocol/agreed",
    "evaluation/env_runners/episode_return_mean",
    "env_runners/episode_return_mean",
    "staleness/mean",
    "staleness/max",
    "game/bleu_de",
    "game/task_accuracy",
    "drift/bleu_en",
    "drift/nll",
)
#: Results about the machine and not about learning.
_MACHINE = ("pid", "timestamp", "trial_id", "time_", "timers/", "perf/", "config/", "hostname", "node_ip")


def tidy_table(sweep: SweepData) -> Table:
    """Every finite number of every result, one a row, with the trial, algorithm, environment, seed and step it is of."""
    rows = [
        (trial.name, trial.algorithm, trial.environment, trial.seed, step, metric, value)
        for trial in sweep.trials
        for row in trial.rows
        if (step := number(row.get(sweep.step))) is not None
        for metric in sorted(row)
        if metric != sweep.step and not metric.startswith(_MACHINE)
        if (value := number(row[metric])) is not None
    ]
    return Table("results", ("trial", "algorithm", "environment", "seed", "step", "metric", "value"), rows)


def measures(sweep: SweepData) -> list[str]:
    """Those of `MEASURES` that some trial has."""
    return [name for name in MEASURES if any(trial.last(name) is not None for trial in sweep.trials)]


def grid_table(sweep: SweepData, names: Sequence[str] | None = None) -> Table:
    """One row a setting and metric: the newest value of each of its trials, as a mean with Student's interval.

    names: the settings that make the grid; None: all that vary. Trials without the metric are left out, and n says so.
    """
    keys = list(sweep.varied if names is None else names)
    rows = []
    for values, trials in sweep.groups(keys).items():
        for metric in measures(sweep):
            found = finals(trials, metric)
            if found:
                rows.append((*values, metric, *_cells(mean_interval(found))))
    return Table("grid", (*keys, "metric", "mean", "low", "high", "n"), rows)


def robust_table(sweep: SweepData) -> Table:
    """Interquartile means by method, over the runs of all its environments, with stratified bootstrap intervals.

    A method is what differs beside environment and seed. Only the first measure: others are not scores to be averaged.
    """
    found = measures(sweep)
    keys = ["algorithm", *(name for name in sweep.varied if name not in ("env", "algorithm"))]
    rows = []
    for values, trials in sweep.groups(keys).items() if found else ():
        tasks = [finals(of, found[0]) for of in by_environment(trials).values()]
        if any(tasks):
            rows.append((*values, found[0], *_cells(stratified_bootstrap(tasks, iqm)), len(tasks)))
    return Table("interquartile_means", (*keys, "metric", "iqm", "low", "high", "n", "environments"), rows)


def finals(trials: Sequence[TrialData], metric: str) -> list[float]:
    """The newest value of each trial that has one."""
    return [value for trial in trials if (value := trial.last(metric)) is not None]


def by_environment(trials: Sequence[TrialData]) -> dict[str, list[TrialData]]:
    found: dict[str, list[TrialData]] = {}
    for trial in trials:
        found.setdefault(trial.environment, []).append(trial)
    return found


def mean_curve(trials: Sequence[TrialData], metric: str, step: str) -> list[tuple[float, Estimate]]:
    """(step, mean over trials with its interval) at the steps of the trial that reported least often.

    Trials report at different steps, because a mini-batch of ties is no update; between two results a trial's curve is a
    straight line. Steps that not all trials have reached, or begun at, are left out, so that no trial enters or leaves
    the mean along the way.
    """
    series = [found for trial in trials if (found := trial.series(metric, step))]
    if not series:
        return []
    first, last = max(found[0][0] for found in series), min(found[-1][0] for found in series)
    steps = [at for at, _ in min(series, key=len) if first <= at <= last]
    return [
        (at, mean_interval([float(np.interp(at, *zip(*found, strict=True))) for found in series]))
        for at in steps
    ]


def curve_table(sweep: SweepData, names: Sequence[str], metrics: Sequence[str]) -> Table:
    """Every point of every learning curve."""
    rows = [
        (*values, metric, at, *_cells(estimate))
        for values, trials in sweep.groups(names).items()
        for metric in metrics
        for at, estimate in mean_curve(trials, metric, sweep.step)
    ]
    return Table("learning_curves", (*names, "metric", "step", "mean", "low", "high", "n"), rows)


def _cells(estimate: Estimate) -> tuple[Any, ...]:
    return estimate.value, estimate.low, estimate.high, estimate.n
