"""Pictures of SQOOP: accuracy by #rhs/lhs with intervals, and p(tree) over the updates.

A row is one run: model, rhs (#rhs/lhs), seed, and its accuracies ``acc_seen``, ``acc_unseen_test``; for the second
picture a label and a curve of (update, p(tree)). Intervals are Student's over seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.estimators import Estimate, mean_interval
from rllib_ext.analysis.rows import number
from rllib_ext.analysis.sweep_data import SweepData
from rllib_ext.analysis.tables import Table
from rllib_ext.errors import BadData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VARIETY, LAYOUT = "accuracy_by_variety", "layout_over_time"
ALGORITHM = "SQOOP"
CHANCE = 0.5
SEEN, UNSEEN = "acc_seen", "acc_unseen_test"
MARKS = "osD^vP*X<>"
COLUMNS = ("model", "rhs", "n", "seen", "unseen", "unseen_low", "unseen_high")
Curve = list[tuple[float, float]]


def accuracies(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, dict[str, Estimate]]]:
    """Model -> #rhs/lhs -> "seen" and "unseen", over the seeds that have them."""
    found: dict[str, dict[int, dict[str, list[float]]]] = {}
    for row in rows:
        cell = found.setdefault(str(row["model"]), {}).setdefault(int(row["rhs"]), {"seen": [], "unseen": []})
        for name, column in (("seen", SEEN), ("unseen", UNSEEN)):
            if (value := number(row.get(column))) is not None:
                cell[name].append(value)
    return {
        model: {
            rhs: {name: mean_interval(values) for name, values in cell.items()}
            for rhs, cell in sorted(of.items())
        }
        for model, of in found.items()
    }


def variety_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """The numbers of the first picture. Unseen ones say nothing of a model that has not learnt the seen ones."""
    return Table(
        VARIETY,
        COLUMNS,
        [
            (model, rhs, cell["unseen"].n, cell["seen"].value, *_numbers(cell["unseen"]))
            for model, of in accuracies(rows).items()
            for rhs, cell in of.items()
        ],
    )


def _numbers(found: Estimate) -> tuple[float, float | None, float | None]:
    return found.value, found.low, found.high


def accuracy_by_variety(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """A line a model: unseen pairs on the left, with bars; the seen pairs of the same runs on the right."""
    found = accuracies(rows)
    if not found:
        raise BadData("there is no run of SQOOP with an accuracy yet")
    figure, axes = look.new_figure(11.0, 4.6, columns=2, right=1.6, top=1.0, share_y=True)
    varieties = sorted({rhs for of in found.values() for rhs in of})
    for ax, name in zip(axes, ("unseen", "seen"), strict=True):
        for index, (model, of) in enumerate(found.items()):
            _line(
                ax,
                [(varieties.index(rhs), cell[name]) for rhs, cell in of.items() if cell[name].n],
                index,
                model,
            )
        ax.axhline(CHANCE, color=look.GREY, linewidth=0.9, linestyle="--", zorder=1)
        ax.set_xticks(range(len(varieties)), [str(rhs) for rhs in varieties])
        ax.set_ylim(0.4, 1.03)
        look.percent_axis(ax.yaxis)
        look.name_axes(ax, "#rhs/lhs", None)
        ax.set_title(f"{name} pairs, fresh scenes", loc="left", size=10, color=look.INK)
    axes[0].set_ylabel("right answers", color=look.INK, size=10)
    axes[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    look.heading(
        figure,
        "Accuracy by the variety of pairs in training",
        "Means over seeds with 95 % intervals; dashed: guessing. Read the left only where the right is high",
    )
    return figure


def _line(ax: Any, points: list[tuple[int, Estimate]], index: int, model: str) -> None:
    colour = look.ROUND_COLOURS[index % len(look.ROUND_COLOURS)]
    shift = 0.03 * (index - 3)
    xs, ys = [at + shift for at, _ in points], [found.value for _, found in points]
    ax.plot(
        xs, ys, color=colour, marker=MARKS[index % len(MARKS)], markersize=4.5, linewidth=1.4, label=model
    )
    for x, (_, found) in zip(xs, points, strict=True):
        if found.low is not None and found.high is not None:
            ax.plot([x, x], [found.low, found.high], color=colour, linewidth=1.0, alpha=0.7)


def layout_over_time(curves: Mapping[str, Sequence[Curve]]) -> Figure:
    """A colour a label; thin lines are runs."""
    if not any(curves.values()):
        raise BadData("no run has learnt a layout: there is no p_tree")
    figure, (ax,) = look.new_figure(7.6, 4.2, right=1.9, top=1.0)
    for index, (name, runs) in enumerate(curves.items()):
        colour = look.ROUND_COLOURS[index % len(look.ROUND_COLOURS)]
        for at, curve in enumerate(run for run in runs if run):
            ax.plot(*zip(*curve, strict=True), color=colour, linewidth=1.3, label=None if at else name)
    ax.set_ylim(-0.02, 1.02)
    look.updates_axis(ax)
    look.name_axes(ax, "updates", "p(tree)")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    look.heading(
        figure, "What a mixture of tree and chain becomes", "Each line is a run; 1 is a tree, 0 a chain"
    )
    return figure


# ----- the same of a sweep


def is_sqoop(sweep: SweepData) -> bool:
    """Whether all of its trials are of SQOOP."""
    return all(trial.algorithm == ALGORITHM for trial in sweep.trials)


def sweep_rows(sweep: SweepData) -> list[dict[str, Any]]:
    """A row a trial; its model is named by the settings that differ."""
    return [
        {
            "model": _name(trial.settings, sweep),
            "rhs": trial.settings.get("rhs_per_lhs", 1),
            "seed": trial.seed,
        }
        | {name: trial.last(name) for name in (SEEN, UNSEEN)}
        for trial in sweep.trials
        if trial.last(SEEN) is not None
    ]


def sweep_curves(sweep: SweepData) -> dict[str, list[Curve]]:
    """Label -> p(tree) of every trial that has one."""
    found: dict[str, list[Curve]] = {}
    for trial in sweep.trials:
        if curve := trial.series("p_tree", sweep.step):
            variety = f", {trial.settings.get('rhs_per_lhs', 1)} rhs/lhs"
            found.setdefault(_name(trial.settings, sweep) + variety, []).append(curve)
    return dict(sorted(found.items()))


def layout_table(curves: Mapping[str, Sequence[Curve]]) -> Table:
    """The numbers of the second picture."""
    rows = [
        (name, run, at, value)
        for name, runs in curves.items()
        for run, curve in enumerate(runs)
        for at, value in curve
    ]
    return Table(LAYOUT, ("label", "run", "update", "p_tree"), rows)


def _name(settings: Mapping[str, Any], sweep: SweepData) -> str:
    """Of a trial's model: encoder, and what differs within that encoder."""
    encoder = str(settings.get("encoder", "nmn"))
    alike = [trial.settings for trial in sweep.trials if str(trial.settings.get("encoder", "nmn")) == encoder]
    words = [encoder]
    for key in ("layout", "module", "alpha", "p0", "relation_activation"):
        if len({str(other.get(key)) for other in alike}) > 1:
            words.append(f"p0 {settings.get(key)}" if key == "p0" else str(settings.get(key)))
    return " ".join(words)
