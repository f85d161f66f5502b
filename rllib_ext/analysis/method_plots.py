"""What a sweep's report draws of some methods alone, before what it draws of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rllib_ext.analysis import cooperation, sqoop_plots
from rllib_ext.analysis.sweep_data import SweepData
from rllib_ext.analysis.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawing = tuple["Figure | None", Table]
Maker = tuple[str, str, str, Callable[[], Drawing]]  # file, title, how to read it, what draws it


def method_plots(sweep: SweepData) -> list[Maker]:
    """The pictures of the sweep's own method; none for those that the common ones are enough for."""
    if sqoop_plots.is_sqoop(sweep):
        return _of_sqoop(sweep)
    if any(trial.last("protocol/sender_loss") is not None for trial in sweep.trials):
        return [(cooperation.NAME, cooperation.TITLE, cooperation.READING, lambda: _cooperation(sweep))]
    return []


def _cooperation(sweep: SweepData) -> Drawing:
    pairs = cooperation.pairs_of(sweep)
    return cooperation.cooperation_figure(pairs), cooperation.cooperation_table(pairs)


def _of_sqoop(sweep: SweepData) -> list[Maker]:
    rows, curves = sqoop_plots.sweep_rows(sweep), sqoop_plots.sweep_curves(sweep)
    variety = (
        sqoop_plots.VARIETY,
        "Accuracy by #rhs/lhs",
        "High on both sides is systematic; high on the right and near half on the left has learnt the pairs by heart.",
        lambda: (sqoop_plots.accuracy_by_variety(rows), sqoop_plots.variety_table(rows)),
    )
    layout = (
        sqoop_plots.LAYOUT,
        "p(tree) over the updates",
        "A line that stays where it began: the data did not tell tree from chain.",
        lambda: (sqoop_plots.layout_over_time(curves), sqoop_plots.layout_table(curves)),
    )
    return [variety, *([layout] if curves else [])]
