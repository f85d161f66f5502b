"""The frontier of a sweep as a picture and a table; of one run with Elastic Reset, how it moved in the plane.

Only ``result.json``, ``params.json`` (or ``config.json``) and ``evaluations.jsonl`` are read: no pickle is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rllib_ext.analysis.figures import heading, new_figure
from rllib_ext.analysis.frontier import Point, hypervolume
from rllib_ext.analysis.frontier_plot import Curve, draw_frontier
from rllib_ext.analysis.frontier_points import RESETS, Trial, curves, load_trials, trials_of
from rllib_ext.analysis.recipes import Recipe
from rllib_ext.analysis.rows import number, read_lines
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.tables import Table
from rllib_ext.errors import BadData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "reward_drift_frontier"


def sweep_frontier(
    folder: str | Path,
    knob: str | None = None,
    reference: Point | None = None,
    measure: tuple[str, str] | None = None,
    name: str = NAME,
    title: str = "Reward-drift frontier",
) -> tuple[Figure, Table]:
    """The frontier of the runs below ``folder`` and the numbers behind it.

    knob: the setting that the sweep varied, None to find it. reference: (least reward, most drift) of the hypervolumes
    in the table; None for the worst of each over all methods, which compares methods of this sweep only. measure: the
    columns of reward and drift, None for the first that the runs have.
    """
    folder = Path(folder)
    trials, (reward, drift) = load_trials(folder, measure)
    found = curves(trials, knob)
    every = [point for curve in found for point in curve.points]
    reference = reference or (min(p.reward for p in every), max(p.drift for p in every))
    figure, (ax,) = new_figure(7.6, 4.9, right=0.4)
    longest = max(trials, key=lambda trial: (bool(trial.settings.get("reset_every")), len(trial.trajectory)))
    draw_frontier(
        ax,
        found,
        start=_start(folder, trials, (reward, drift)),
        trajectory=longest.trajectory,
        names=(drift, reward),
    )
    heading(
        figure,
        title,
        f"{len(trials)} runs; mean and standard error over seeds; grey: one run",
    )
    return figure, _table(found, reference, name)


def _start(folder: Path, trials: list[Trial], names: tuple[str, str]) -> Point | None:
    """(reward, drift) before any update, where a run wrote its evaluation of the initial policy."""
    for trial in trials:
        for row in read_lines(folder / trial.name / "evaluations.jsonl", []):
            reward, at = (number(row.get(name.rpartition("/")[2])) for name in names)
            if number(row.get("updates")) == 0 and reward is not None and at is not None:
                return reward, at
    return None


def _table(found: list[Curve], reference: Point, name: str) -> Table:
    columns = ("method", "setting", "reward", "reward_se", "drift", "drift_se", "seeds", "hypervolume")
    rows = []
    for curve in found:
        volume = hypervolume([(p.reward, p.drift) for p in curve.points], reference)
        for setting, p in zip(curve.settings, curve.points, strict=True):
            rows.append((curve.name, setting, p.reward, p.reward_se, p.drift, p.drift_se, p.seeds, volume))
    return Table(name, columns, rows)


# ----- one run


def elastic_recipes(run: RunData) -> list[Recipe]:
    """The plot of a run with Elastic Reset; none for other runs."""
    if run.last(RESETS) is None:
        return []
    return [
        Recipe(
            NAME,
            "Reward against drift",
            "A saw-tooth: at a reset drift falls back further than reward, which recovers faster. The points are right "
            "before resets, and the end.",
            _saw_tooth,
            lambda run: Table(NAME, ("reward", "drift"), list(_trial(run).trajectory)),
            "result.json has no evaluation with a reward and a drift; set evaluation_interval=1",
        )
    ]


def _trial(run: RunData) -> Trial:
    try:
        return trials_of([(run.folder.name, run.config, run.results)])[0][0]
    except BadData:
        return Trial(run.folder.name, run.config)


def _saw_tooth(run: RunData) -> Figure | None:
    try:
        (trial,), (reward, drift) = trials_of([(run.folder.name, run.config, run.results)])
    except BadData:
        return None
    figure, (ax,) = new_figure(7.6, 4.9, right=0.4)
    start = _start(run.folder.parent, [trial], (reward, drift))
    draw_frontier(ax, curves([trial]), start=start, trajectory=trial.trajectory, names=(drift, reward))
    heading(
        figure, "Reward against drift", "grey: the run in time; points: right before each reset, and the end"
    )
    return figure
