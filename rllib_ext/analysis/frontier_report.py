"""``rllib-ext plot`` on a sweep draws its frontier; on one run with Elastic Reset, how it moved in the plane.

Only ``result.json``, ``params.json`` (or ``config.json``) and ``evaluations.jsonl`` are read: no pickle is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.analysis.figures import heading, new_figure, save_figure
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


def is_sweep(folder: Path) -> bool:
    """Whether the folder holds runs and is none itself."""
    return not (folder / "result.json").is_file() and any(folder.glob("*/result.json"))


def build_sweep_report(folder: str | Path, knob: str | None = None, reference: Point | None = None) -> Path:
    """Draw the frontier of the runs below ``folder`` into its ``report``; the picture's path.

    knob: the setting that the sweep varied, None to find it. reference: (least reward, most drift) of the hypervolumes
    in the table; None for the worst of each over all methods, which compares methods of this sweep only.
    """
    folder = Path(folder)
    trials, (reward, drift) = load_trials(folder)
    found = curves(trials, knob)
    every = [point for curve in found for point in curve.points]
    reference = reference or (min(p.reward for p in every), max(p.drift for p in every))
    report = folder / "report"
    report.mkdir(exist_ok=True)
    figure, (ax,) = new_figure(7.6, 4.9, right=0.4)
    longest = max(trials, key=lambda trial: (bool(trial.settings.get("reset_every")), len(trial.trajectory)))
    draw_frontier(
        ax, found, start=_start(folder, trials, drift), trajectory=longest.trajectory, names=(drift, reward)
    )
    heading(
        figure,
        "Reward-drift frontier",
        f"{len(trials)} runs; mean and standard error over seeds; grey: one run",
    )
    png, _ = save_figure(figure, report, NAME)
    write_csv(_table(found, reference), report)
    return png


def _start(folder: Path, trials: list[Trial], drift: str) -> Point | None:
    """(reward, drift) before any update, where a run wrote its evaluation of the initial policy."""
    for trial in trials:
        for row in read_lines(folder / trial.name / "evaluations.jsonl", []):
            reward, at = number(row.get("reward_mean")), number(row.get(drift.rpartition("/")[2]))
            if number(row.get("updates")) == 0 and reward is not None and at is not None:
                return reward, at
    return None


def _table(found: list[Curve], reference: Point) -> Table:
    columns = ("method", "setting", "reward", "reward_se", "drift", "drift_se", "seeds", "hypervolume")
    rows = []
    for curve in found:
        volume = hypervolume([(p.reward, p.drift) for p in curve.points], reference)
        for setting, p in zip(curve.settings, curve.points, strict=True):
            rows.append((curve.name, setting, p.reward, p.reward_se, p.drift, p.drift_se, p.seeds, volume))
    return Table(NAME, columns, rows)


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
    start = _start(run.folder.parent, [trial], drift)
    draw_frontier(ax, curves([trial]), start=start, trajectory=trial.trajectory, names=(drift, reward))
    heading(
        figure, "Reward against drift", "grey: the run in time; points: right before each reset, and the end"
    )
    return figure
