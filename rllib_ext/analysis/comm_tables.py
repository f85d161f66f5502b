"""Tables of how agents communicate: means over seeds with bootstrap intervals, ablations, cross-play, learning curves.

The unit is a run: several numbers of one run are averaged first. Intervals are percentile intervals of a bootstrap over
runs, which for a handful of seeds is too narrow; the number of runs and their deviation stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rllib_ext.analysis.comm_records import Record
from rllib_ext.analysis.estimators import Estimate, stratified_bootstrap
from rllib_ext.analysis.sweep_tables import mean_curve
from rllib_ext.analysis.tables import Table

#: Order of methods in tables and figures; others come after these, by name.
METHODS = ("none", "random", "positive_listening", "dial", "aecomm", "aecomm+dial", "cacl+dial", "cacl")
ABLATIONS = ("zero", "shuffle")
_FIGURES = ("mean", "low", "high", "std", "n")


def methods_of(records: Iterable[Record]) -> list[str]:
    found = {record.method for record in records}
    return [name for name in METHODS if name in found] + sorted(found - set(METHODS))


def communication_table(records: Sequence[Record]) -> Table:
    """Every measure that is no curve and no cross-play, by method."""
    kept = [r for r in records if r.step is None and not r.measure.startswith("cross_play/")]
    rows = []
    for key, found in _groups(kept, "env", "method", "measure", "detail").items():
        rows.append((*key, *cells(by_run(found))))
    return Table("communication", ("env", "method", "measure", "detail", *_FIGURES), rows)


def ablation_table(records: Sequence[Record]) -> Table:
    """What an ablation of the inbox changes in each result: with it less without it, run by run."""
    rows = []
    for (env, method, measure, detail), found in _groups(
        [r for r in records if r.detail in ABLATIONS and "/" not in r.measure],
        "env", "method", "measure", "detail",
    ).items():  # fmt: skip
        whole = by_run(
            r for r in records if (r.env, r.method, r.measure, r.detail) == (env, method, measure, "") and r.step is None
        )  # fmt: skip
        changes = {run: value - whole[run] for run, value in by_run(found).items() if run in whole}
        if changes:
            rows.append((env, method, measure, detail, *cells(changes)))
    return Table("ablations", ("env", "method", "measure", "inbox", *_FIGURES), rows)


def cross_play_table(records: Sequence[Record]) -> Table:
    """Teams of two methods; relation "self": both halves of one run, "cross": of two runs.

    Pairs share runs and are not independent, so a run's teams are averaged first and the bootstrap is over the runs of
    the first half.
    """
    rows = []
    kept = [r for r in records if r.measure.startswith("cross_play/")]
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in kept:
        relation = "self" if record.detail == record.run else "cross"
        key = (record.env, record.measure.removeprefix("cross_play/"), record.method, _method(record.detail))
        groups.setdefault((*key, relation), []).append(record)
    for of, found in groups.items():
        rows.append((*of, *cells(by_run(found))))
    return Table("cross_play", ("env", "measure", "first", "second", "relation", *_FIGURES), rows)


def curve_table(records: Sequence[Record]) -> Table:
    """Learning curves, mean over runs with Student's interval, at the steps of the run that reported least often."""
    rows = []
    kept = [r for r in records if r.step is not None and r.measure.startswith("curve/")]
    for (env, method, measure), found in _groups(kept, "env", "method", "measure").items():
        for at, estimate in mean_curve(_curves(found), measure, "step"):
            figures = estimate.value, estimate.low, estimate.high, estimate.n
            rows.append((env, method, measure.removeprefix("curve/"), at, *figures))
    columns = ("env", "method", "measure", "env_steps", "mean", "low", "high", "n")
    return Table("learning_curves", columns, rows)


class _Curve:
    """One run's points, as `mean_curve` asks for them."""

    def __init__(self, points: Iterable[tuple[float, float]]) -> None:
        self._points = sorted(points)

    def series(self, metric: str, step: str) -> list[tuple[float, float]]:
        return self._points


def _curves(records: Iterable[Record]) -> list[Any]:
    points: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        points.setdefault(record.run, []).append((float(record.step or 0.0), record.value))
    return [_Curve(found) for found in points.values()]


def by_run(records: Iterable[Record]) -> dict[str, float]:
    """One number a run: the mean of its records."""
    found: dict[str, list[float]] = {}
    for record in records:
        found.setdefault(record.run, []).append(record.value)
    return {run: float(np.mean(values)) for run, values in found.items()}


def over_runs(values: Iterable[float]) -> Estimate:
    """Mean over runs and its bootstrap interval, none for a single run."""
    return stratified_bootstrap([list(values)], lambda drawn: float(np.mean(drawn)), resamples=1000)


def cells(of_run: dict[str, float]) -> tuple[Any, ...]:
    """mean, low, high, std, n."""
    values = list(of_run.values())
    found = over_runs(values)
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return found.value, found.low, found.high, std, found.n


def _method(run: str) -> str:
    return run.rpartition("/")[0]


def _groups(records: Iterable[Record], *names: str) -> dict[tuple[Any, ...], list[Record]]:
    """Records by these fields, methods in their order."""
    records = list(records)
    place = {method: index for index, method in enumerate(methods_of(records))}
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in sorted(records, key=lambda r: (r.env, place[r.method])):
        groups.setdefault(tuple(getattr(record, name) for name in names), []).append(record)
    return groups
