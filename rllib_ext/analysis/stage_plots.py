"""The plots of a supervised stage: how training went, and for stages on comparisons the reward model's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.recipes import Recipe
from rllib_ext.analysis.reward_tables import (
    GROUPS,
    accuracy_table,
    calibration_error,
    calibration_table,
    padding_table,
    position_table,
)
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.stage_data import load_stage
from rllib_ext.analysis.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVES = {
    "loss": "loss",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_s": "tokens a second",
}
_MOST_GROUPS = 14


def stage_recipes(run: RunData) -> tuple[Recipe, ...]:
    """The plots of a stage: of SFT its training; of stages on comparisons the held-out accuracy too."""
    own = {"SFT": (_TRAINING,), "OfflineDPO": (_TRAINING, _ACCURACY, _CALIBRATION)}
    return own.get(str(run.config["algorithm"]), (_TRAINING, _ACCURACY, _CALIBRATION, _PADDING))


def training_curves(run: RunData) -> Figure | None:
    """Loss, learning rate, gradient norm and speed, an update a point."""
    stage = load_stage(run)
    if not stage.series("loss"):
        return None
    figure, axes = look.new_figure(9.6, 6.0, rows=2, columns=2, right=0.35, gap=0.3)
    curves = []
    for ax, (key, name) in zip(axes, _CURVES.items(), strict=True):
        curve = stage.series(key)
        curves.append(curve)
        if curve:
            look.draw_curve(ax, curve, look.BLUE)
        else:
            look.nothing_here(ax, f"no {name} was written")
        look.updates_axis(ax)
        look.name_axes(ax, "optimizer updates" if key in ("grad_norm", "tokens_per_s") else None, name)
    last = stage.updates[-1]
    note = f"{last['update']:,} updates, {last['tokens']:,} tokens" + look.smoothing_note(curves)
    look.heading(figure, f"Training of the stage {stage.name}", note)
    return figure


def training_rows(run: RunData) -> Table:
    """updates.jsonl as a table."""
    columns = ("update", *_CURVES, "seconds", "tokens")
    return Table("training", columns, [tuple(row.get(c) for c in columns) for row in load_stage(run).updates])


def accuracy_by_group(run: RunData) -> Figure | None:
    """Accuracy of each labelling batch, confidence and split, with its interval."""
    tables = [accuracy_table(load_stage(run).comparisons, group) for group in GROUPS]
    shown = [table for table in tables if table.rows]
    if not shown:
        return None
    figure, axes = look.new_figure(
        3.6 * len(shown) + 0.6, 4.6, columns=len(shown), right=0.3, bottom=1.2, share_y=True
    )
    for ax, table in zip(axes, shown, strict=True):
        _group_bars(ax, table)
    axes[0].set_ylabel("accuracy", color=look.INK, size=10)
    look.heading(figure, "Accuracy by group", "held-out comparisons; bars are 95 % intervals; dashed: a coin")
    return figure


def _group_bars(ax: Axes, table: Table) -> None:
    rows = table.rows[:_MOST_GROUPS]
    at = range(len(rows))
    values = [row[1] for row in rows]
    below, above = [row[1] - row[2] for row in rows], [row[3] - row[1] for row in rows]
    style = {"fmt": "o", "color": look.BLUE, "capsize": 2.5, "elinewidth": 1.4, "markersize": 6}
    ax.errorbar(list(at), values, yerr=[below, above], **style)
    ax.axhline(0.5, color=look.GREY, linewidth=1, linestyle=(0, (5, 3)))
    ax.set_xticks(
        list(at), [look.label(f"{row[0]:g}" if isinstance(row[0], float) else str(row[0])) for row in rows]
    )
    ax.tick_params(axis="x", rotation=45)
    for tick in ax.get_xticklabels():
        tick.set_horizontalalignment("right")
    ax.set_ylim(0, 1.02)
    ax.set_xlim(-0.6, len(rows) - 0.4)
    look.percent_axis(ax.yaxis)
    left_out = f" (first {_MOST_GROUPS} of {len(table.rows)})" if len(table.rows) > _MOST_GROUPS else ""
    ax.set_title(look.label(f"by {table.columns[0]}{left_out}"), size=10.5, color=look.INK)


def group_rows(run: RunData) -> Table:
    """All groups in one table."""
    rows = []
    for group in GROUPS:
        rows += [(group, *row) for row in accuracy_table(load_stage(run).comparisons, group).rows]
    return Table("accuracy", ("group", "value", "accuracy", "low", "high", "n"), rows)


def calibration(run: RunData) -> Figure | None:
    """Accuracy against score difference, beside what the loss makes the model's own estimate of it."""
    table = calibration_table(load_stage(run).comparisons)
    if not table.rows:
        return None
    at, values = table.column("difference_mean"), table.column("accuracy")
    low, high = table.column("low"), table.column("high")
    figure, (ax,) = look.new_figure(7.6, 4.8, right=1.5)
    bars = [
        [v - b for v, b in zip(values, low, strict=True)],
        [t - v for v, t in zip(values, high, strict=True)],
    ]
    expected = table.column("sigmoid_of_difference")
    ax.plot(at, expected, color=look.GREY, linewidth=1.4, linestyle=(0, (5, 3)))
    ax.errorbar(at, values, yerr=bars, color=look.BLUE, marker="o", markersize=6, capsize=2.5, elinewidth=1.4)
    ax.axhline(0.5, color=look.FAINT, linewidth=1.2, zorder=1)
    ax.set_ylim(min(0.4, *low) - 0.03, 1.03)
    look.percent_axis(ax.yaxis)
    look.name_axes(ax, "score difference of the two sides (mean of a tenth of the comparisons)", "accuracy")
    look.end_labels(
        ax, [((at[-1], values[-1]), "measured", look.BLUE), ((at[-1], expected[-1]), "sigmoid", look.GREY)]
    )
    error = calibration_error(table)
    note = f"{sum(table.column('n')):,} comparisons; mean distance from sigmoid of the difference {error:.3f}"
    look.heading(figure, "Calibration", note)
    return figure


def padding_and_positions(run: RunData) -> Figure | None:
    """What left padding changes, and what the head says before the last token."""
    stage = load_stage(run)
    differences = [value for _, value in padding_table(stage.diagnostics).rows]
    places = position_table(stage.diagnostics)
    if not differences and not places.rows:
        return None
    figure, (left, right) = look.new_figure(9.6, 4.4, columns=2, right=0.35, bottom=0.8, gap=0.28)
    if differences:
        left.hist(differences, bins=min(30, len(differences)), color=look.BLUE)
    else:
        look.nothing_here(left, "no padding difference was written")
    look.name_axes(left, "score with right padding minus score with left padding", "texts")
    left.xaxis.labelpad = 14  # room for the power of ten of very small differences
    if places.rows:
        look.draw_curve(right, [(at, value) for at, value in places.rows], look.AMBER)
        right.axhline(0.0, color=look.FAINT, linewidth=1.2, zorder=1)
    else:
        look.nothing_here(right, "no outputs before the last token were written")
    look.percent_axis(right.xaxis)
    look.name_axes(right, "share of the text that was read", "mean output of the head")
    mean = sum(differences) / max(1, len(differences))
    share = sum(abs(value) > 1e-2 for value in differences) / max(1, len(differences))
    note = f"padding: mean {mean:.2e}, above 1e-2 in {share:.1%} of {len(differences)} texts"
    look.heading(figure, "Padding, and outputs before the end", note)
    return figure


_TRAINING = Recipe(
    "training",
    "Training",
    "The loss of single updates is noisy; the learning rate shows where in its schedule the stage is.",
    training_curves,
    training_rows,
    "updates.jsonl has no loss",
)
_ACCURACY = Recipe(
    "accuracy_by_group",
    "Accuracy by group",
    "Groups differ by more than models do: a figure over all comparisons depends on which there are of each.",
    accuracy_by_group,
    group_rows,
    "no held-out comparison names its batch, confidence or split",
)
_CALIBRATION = Recipe(
    "calibration",
    "Calibration",
    "Below the dashed line the scores are more certain than they are right.",
    calibration,
    lambda run: calibration_table(load_stage(run).comparisons),
    "comparisons.jsonl has no scores",
)
_PADDING = Recipe(
    "padding_difference",
    "Padding, and outputs before the end",
    "Left padding should change nothing; only the output at the last token was trained.",
    padding_and_positions,
    lambda run: padding_table(load_stage(run).diagnostics),
    "reward_diagnostics.json has no padding differences",
)
