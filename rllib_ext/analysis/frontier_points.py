"""Points of the frontier out of runs: a Tune experiment, its results, or any folders that hold a ``result.json``.

A run gives a point where it was evaluated right before a reset (``er/reset_due`` is 1) and one at its end: the weights
just after a reset are not what the method hands over. Runs that differ in nothing but their seed are averaged, each at
its n-th such point. Without resets only the end is a point.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_ext.analysis.frontier import MeanPoint, Point, mean_points
from rllib_ext.analysis.frontier_plot import Curve
from rllib_ext.analysis.rows import Row, flatten, newest_branch, number, read_lines, read_object
from rllib_ext.errors import BadData

DUE, RESETS = "er/reset_due", "er/num_resets"
#: (reward, drift) columns, the first pair that a run has: human text, then KL, then returns and the weights' distance.
MEASURES = (
    ("evaluation/reward_mean", "evaluation/ppl_reference"),
    ("evaluation/reward_mean", "evaluation/kl_ref"),
    ("evaluation/env_runners/episode_return_mean", "er/dist_online_init"),
    ("env_runners/episode_return_mean", "er/dist_online_init"),
)
METHOD = ("algorithm", "variant")


@dataclass(frozen=True)
class Trial:
    """One run: its settings, flat, its points before resets and at the end, and all its points in time."""

    name: str
    settings: Row
    points: list[Point] = field(default_factory=list)
    trajectory: list[Point] = field(default_factory=list)


def load_trials(
    folder: str | Path, measure: tuple[str, str] | None = None
) -> tuple[list[Trial], tuple[str, str]]:
    """Every run below ``folder`` (or ``folder`` itself), and the columns that were read.

    Raises:
        BadData: where no run has a reward and a drift.
    """
    folder = Path(folder)
    found = sorted({path.parent for path in [*folder.glob("result.json"), *folder.glob("*/result.json")]})
    runs = []
    for path in found:
        rows = newest_branch(
            [flatten(row) for row in read_lines(path / "result.json", [])], "training_iteration"
        )
        settings = read_object(path / "params.json", []) or read_object(path / "config.json", [])
        runs.append((path.name, flatten({"settings": settings}, ""), rows))
    return trials_of(runs, measure, str(folder))


def trials_of(
    runs: Iterable[tuple[str, Row, Sequence[Row]]],
    measure: tuple[str, str] | None = None,
    where: str = "the runs",
) -> tuple[list[Trial], tuple[str, str]]:
    """The same from (name, settings, flat result rows). A ResultGrid: ``[(r.path, r.config, [r.metrics])...]``."""
    runs = list(runs)
    for pair in [measure] if measure else MEASURES:
        trials = [_trial(name, settings, rows, pair) for name, settings, rows in runs]
        kept = [trial for trial in trials if trial.points]
        if kept:
            return kept, pair
    asked = " and ".join(measure) if measure else "an evaluation with a reward and a drift"
    raise BadData(
        f"{where}: none of {len(runs)} runs has {asked}. Evaluate while training (evaluation_interval=1), or name columns"
    )


def _trial(name: str, settings: Row, rows: Sequence[Row], pair: tuple[str, str]) -> Trial:
    settings = {key.removeprefix("settings/"): value for key, value in settings.items()}
    measured = []
    for row in rows:
        reward, drift = number(row.get(pair[0])), number(row.get(pair[1]))
        if reward is not None and drift is not None:
            measured.append(((reward, drift), number(row.get(DUE)) == 1))
    points = [point for point, due in measured[:-1] if due] + [point for point, _ in measured[-1:]]
    return Trial(name, settings, points, [point for point, _ in measured])


def curves(trials: Sequence[Trial], knob: str | None = None) -> list[Curve]:
    """A curve for every method, over what the sweep varied: ``knob``, or the first setting that differs within methods.

    A point is the mean over seeds at the END of the budget, one a value of the knob; where nothing but the seed varied,
    the points are the checkpoints of the run.
    """
    methods: dict[str, list[Trial]] = {}
    for trial in trials:
        name = " ".join(str(trial.settings[key]) for key in METHOD if trial.settings.get(key) is not None)
        methods.setdefault(name or "run", []).append(trial)
    knob = knob or _varied(list(methods.values()))
    found = []
    for name, mine in methods.items():
        if knob is None:
            depth = min(len(trial.points) for trial in mine)
            seeds: Mapping[Any, list[Point]] = {n: [trial.points[n] for trial in mine] for n in range(depth)}
        else:
            seeds = {}
            for trial in sorted(mine, key=lambda trial: _order(trial.settings.get(knob))):
                seeds.setdefault(json.dumps(trial.settings.get(knob)), []).append(trial.points[-1])
        points: dict[Any, MeanPoint] = mean_points(seeds)
        found.append(Curve(name, list(points.values()), [str(key) for key in points]))
    return found


def _varied(groups: Sequence[Sequence[Trial]]) -> str | None:
    """The first setting, by name, that takes several values within a method and is no seed, name or folder."""
    for key in sorted({key for group in groups for trial in group for key in trial.settings}):
        if key.split("/")[-1] in ("seed", "run_folder", "name", *METHOD):
            continue
        for group in groups:
            if len({json.dumps(trial.settings.get(key), default=str) for trial in group}) > 1:
                return key
    return None


def _order(value: Any) -> tuple[int, float, str]:
    at = number(value)
    return (0, at, "") if at is not None else (1, 0.0, str(value))
