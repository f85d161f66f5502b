"""How right scorers of triples are, by novelty, drawn: a panel a figure, a line a model, with intervals over runs.

The positive rate is a panel of its own, because F1 follows it and AUC does not: a fall of F1 from bucket to bucket says
nothing where the positive rate falls as much. Every table beside a picture has the number of runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.analysis.estimators import Estimate, mean_interval
from rllib_ext.analysis.tables import Table
from rllib_ext.errors import BadData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "by_novelty"
PANELS = (("accuracy", "Accuracy"), ("f1", "F1"), ("auc", "AUC"), ("positive_rate", "Share of true triples"))
COLUMNS = ("model", "group", "figure", "mean", "low", "high", "runs")
ORDERED = ("near", "middle", "far")
CHANCE = {"accuracy": 0.5, "auc": 0.5}


@dataclass(frozen=True)
class GroupFigure:
    """One figure of one run, of a group of triples: all, a bucket of novelty, a block."""

    model: str
    group: str
    figure: str
    value: float


def novelty_table(records: Iterable[GroupFigure], name: str = NAME) -> Table:
    """Means over runs with 95 % intervals, in the order in which models, groups and figures appear."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for record in records:
        values.setdefault((record.model, record.group, record.figure), []).append(record.value)
    estimates = {key: mean_interval(found) for key, found in values.items()}
    return Table(name, COLUMNS, [(*key, e.value, e.low, e.high, e.n) for key, e in estimates.items()])


def draw_by_novelty(
    records: Sequence[GroupFigure], folder: Path, *, title: str = "By novelty", name: str = NAME
) -> tuple[Path, Path, Path]:
    """PNG, SVG and CSV."""
    table = novelty_table(records, name)
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = look.save_figure(by_novelty(records, title=title), folder, name)
    return png, svg, write_csv(table, folder)


def by_novelty(records: Sequence[GroupFigure], *, title: str = "By novelty") -> Figure:
    """Groups from left to right in the order in which they appear, a line through the buckets."""
    table = novelty_table(records)
    panels = [panel for panel in PANELS if panel[0] in table.column("figure")]
    if not panels:
        raise BadData(f"there is nothing to draw: no record of {', '.join(name for name, _ in PANELS)}")
    groups, models = (list(dict.fromkeys(table.column(name))) for name in ("group", "model"))
    legend = 0.22 * -(-len(models) // 4)
    size = 3.1 * len(panels) + 0.9, 3.9 + legend
    figure, axes = look.new_figure(*size, columns=len(panels), top=1.0, right=0.3, bottom=0.55 + legend)
    found = {row[:3]: Estimate(*row[3:]) for row in table.rows}
    for ax, (name, words) in zip(axes, panels, strict=True):
        for number, model in enumerate(models):
            colour = look.ROUND_COLOURS[number % len(look.ROUND_COLOURS)]
            shift = 0.5 * (number - (len(models) - 1) / 2) / max(2, len(models))
            _line(ax, [found.get((model, group, name)) for group in groups], groups, shift, colour, model)
        if name in CHANCE:
            ax.axhline(CHANCE[name], color=look.GREY, linewidth=0.9, linestyle=":")
        ax.set_xticks(range(len(groups)), [look.label(group) for group in groups])
        ax.set_xlim(-0.6, len(groups) - 0.4)
        ax.set_ylim(-0.03, 1.03)  # all of them are shares; an interval of few runs may reach beyond
        ax.set_title(words, loc="left", color=look.INK, size=10)
    runs = sorted({row[-1] for row in table.rows})
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.02, 0.01), frameon=False, fontsize=9,
        ncols=max(1, min(len(models), 4)),
    )  # fmt: skip
    over = f"{' to '.join(str(count) for count in (runs[0], runs[-1])[: len(runs)])} runs"
    look.heading(figure, title, f"Means over {over}; bars: 95 % intervals; dotted: chance")
    return figure


def _line(
    ax: Axes,
    estimates: Sequence[Estimate | None],
    groups: Sequence[str],
    shift: float,
    colour: str,
    model: str,
) -> None:
    """Marks with intervals, and a line through the buckets, which are ordered."""
    known = [(at, e) for at, e in enumerate(estimates) if e is not None]
    marked = [at + shift for at, _ in known]
    ax.plot(marked, [e.value for _, e in known], "o", color=colour, markersize=4.5, label=look.label(model))
    joined = [(at + shift, e.value) for at, e in known if groups[at] in ORDERED]
    ax.plot([at for at, _ in joined], [value for _, value in joined], color=colour, linewidth=1.1, alpha=0.6)
    for at, estimate in known:
        if estimate.low is not None:
            ax.plot([at + shift] * 2, [estimate.low, estimate.high], color=colour, linewidth=1.5)
