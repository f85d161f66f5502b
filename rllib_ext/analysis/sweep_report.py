"""``rllib-ext report`` on a sweep: pictures, tables and one page, in the sweep's folder ``report``.

Only JSON, JSON lines and text are read: no pickle of Tune's is opened.

    report.html             the page, with the pictures in it
    results.csv             every number of every result: algorithm, environment, seed, step, metric, value
    sweep_grid.*            what each setting reached, by the setting that was swept
    learning_curves.*       over the sweep's steps
    reward_drift_frontier.*, win_rate_frontier.*
    cooperation.*           of EmergentComm on the circular game: losses by bias
    accuracy_by_variety.*, layout_over_time.*              of SQOOP
    interquartile_means.csv, what_went_wrong.csv
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.analysis.figures import require_matplotlib, save_figure
from rllib_ext.analysis.frontier_report import NAME, sweep_frontier
from rllib_ext.analysis.html_page import page, titled, write_page
from rllib_ext.analysis.method_plots import Drawing, Maker, method_plots
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.recipes import Plot
from rllib_ext.analysis.report_sections import plot_section
from rllib_ext.analysis.sweep_data import SweepData, load_sweep
from rllib_ext.analysis.sweep_figures import by_setting, learning_curves, numeric_setting, panels
from rllib_ext.analysis.sweep_sections import (
    fault_table,
    faults_section,
    header,
    setup_section,
    table_section,
    trials_section,
)
from rllib_ext.analysis.sweep_tables import curve_table, grid_table, robust_table, tidy_table
from rllib_ext.analysis.tables import Table
from rllib_ext.errors import BadData

if TYPE_CHECKING:
    pass


def build_sweep_report(folder: str | Path, x: str | None = None) -> Path:
    """Draw the pictures, write the CSVs and the page into ``folder``/report; the page's path.

    Can be called while the sweep goes on, and again later. x: the setting to draw along; None to find it.

    Raises:
        BadData: where the folder holds no trial with a result.
        BadConfig: where matplotlib is not installed.
    """
    require_matplotlib()
    sweep = load_sweep(folder)
    report = sweep.folder / "report"
    report.mkdir(exist_ok=True)
    write_csv(tidy_table(sweep), report)
    robust, faults = robust_table(sweep), fault_table(sweep)
    write_csv(robust, report)
    write_csv(faults, report)
    grid = grid_table(sweep)
    title = f"Sweep {sweep.definition.get('name') or sweep.folder.resolve().name}"
    sections = [
        header(sweep, one_line(title)),
        titled("What came out", plot_section(_plots(sweep, report, x or numeric_setting(sweep), grid))),
        titled("Every setting", table_section(grid)),
        titled("Interquartile means", table_section(robust)),
        titled("What went wrong and was handled", faults_section(faults)),
        titled("Every trial", trials_section(sweep)),
        titled("How to do it again", setup_section(sweep)),
    ]
    return write_page(report, page(title, *sections))


def _plots(sweep: SweepData, report: Path, x: str | None, grid: Table) -> list[Plot]:
    names = [name for name in sweep.varied if name != "env"]
    win = ("evaluation/win_rate", "evaluation/kl_ref")
    makers: list[Maker] = [
        (
            "sweep_grid",
            f"By {x}",
            "Where each setting ended; the dashed line is where all of them began.",
            lambda: (by_setting(sweep, x) if x else None, grid),
        ),
        (
            "learning_curves",
            "Learning curves",
            "Mean over seeds with its 95 % interval, at the steps that all seeds have reached.",
            lambda: (learning_curves(sweep, names), curve_table(sweep, names, panels(sweep))),
        ),
        (
            NAME,
            "Reward against drift",
            "Up and to the left is better; rings mark what nothing else of this sweep beats in both.",
            lambda: sweep_frontier(sweep.folder, knob=x),
        ),
        (
            "win_rate_frontier",
            "Win rate against KL",
            "The same with the win rate, which does not depend on the reward's scale.",
            lambda: sweep_frontier(
                sweep.folder, x, measure=win, name="win_rate_frontier", title="Win rate against KL"
            ),
        ),
    ]
    own = method_plots(sweep)  # a method that has any is of no language model: no frontiers
    return [_plot(report, *maker) for maker in ([*own, *makers[:2]] if own else makers)]


def _plot(report: Path, name: str, title: str, reading: str, make: Callable[[], Drawing]) -> Plot:
    try:
        figure, table = make()
        missing = "no setting of numbers varies, or no trial has a metric that is drawn"
    except BadData as error:
        figure, table, missing = None, Table(name, (), []), str(error).rstrip(".")
    csv = write_csv(Table(name, table.columns, table.rows), report)
    if figure is None:
        for stale in (report / f"{name}.png", report / f"{name}.svg"):
            stale.unlink(missing_ok=True)
        return Plot(name, title, reading, csv, missing=missing)
    png, svg = save_figure(figure, report, name)
    return Plot(name, title, reading, csv, png, svg)
