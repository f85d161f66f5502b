"""How agents communicate, drawn: learning curves, probes, symmetry, ablations and cross-play, by method.

Every figure is of one environment and shows means over runs with the intervals of `comm_tables`. What a bar must beat
(the majority, shuffled labels, shuffled observations) is drawn on the bar. A figure is None where its numbers were not
recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.comm_records import Record
from rllib_ext.analysis.comm_tables import (
    ABLATIONS,
    by_run,
    cross_play_table,
    curve_table,
    methods_of,
    over_runs,
)
from rllib_ext.analysis.estimators import Estimate
from rllib_ext.analysis.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 4
#: Results that a figure is worth, by preference; other measures of an environment come after them.
_SHOWN = ("success", "return", "length")
_CENTRES = {"raw": "as they are", "half": "less 0.5", "mean": "less their mean"}
_INBOXES = {"": "as sent", "zero": "empty", "shuffle": "of another episode"}


def results_of(records: Sequence[Record]) -> list[str]:
    """The results of an environment that were recorded."""
    found = {record.measure for record in records if record.step is None and "/" not in record.measure}
    return [name for name in _SHOWN if name in found] + sorted(found - set(_SHOWN))


def learning_curves(records: Sequence[Record]) -> Figure | None:
    """A panel a result over environment steps, a line a method with its interval."""
    table = curve_table(records)
    names = list(dict.fromkeys(table.column("measure")))
    names = sorted(names, key=lambda name: _SHOWN.index(name) if name in _SHOWN else 9)[:MOST_PANELS]
    if not names:
        return None
    figure, axes = look.new_figure(4.3 * len(names) + 0.6, 4.0, columns=len(names), top=1.0, gap=0.3)
    for ax, name in zip(axes, names, strict=True):
        for method, colour in _colours(records).items():
            rows = [row for row in table.rows if (row[1], row[2]) == (method, name)]
            if not rows:
                continue
            steps, means = [row[3] for row in rows], [row[4] for row in rows]
            ax.plot(
                steps, means, color=colour, label=look.label(method), linewidth=1.7, marker="o" if len(rows) == 1 else ""
            )  # fmt: skip
            if rows[0][5] is not None:
                ax.fill_between(
                    steps,
                    [r[5] for r in rows],
                    [r[6] for r in rows],
                    color=colour,
                    alpha=0.15,
                    linewidth=0,
                )
        look.name_axes(ax, "environment steps", look.label(name))
        ax.ticklabel_format(axis="x", style="sci", scilimits=(-4, 5))
    _legend(axes[-1])
    look.heading(figure, "Learning curves", "Mean over runs; bands: 95 % intervals of the mean")
    return figure


def probe_bars(records: Sequence[Record], kind: str = "linear") -> Figure | None:
    """What a classifier reads from messages of other episodes, a group a label, a bar a method."""
    return _bars(
        records,
        [r.detail for r in records if r.measure == f"probe/{kind}"],
        lambda label: (f"probe/{kind}", label),
        [
            ("k", "majority", lambda label: ("probe/majority", label)),
            (look.RED, "shuffled labels", lambda label: (f"probe/{kind}_shuffled", label)),
        ],
        ("What messages carry", f"Accuracy of a {kind} probe on episodes it has not seen"),
        "accuracy",
    )


def transfer_bars(records: Sequence[Record], kind: str = "linear") -> Figure | None:
    """The same probe trained on the first agent and scored on the last, beside what it reads from its own."""
    return _bars(
        records,
        [r.detail for r in records if r.measure == f"transfer/{kind}"],
        lambda label: (f"transfer/{kind}", label),
        [
            ("k", "majority", lambda label: ("probe/majority", label)),
            (look.GREEN, "each agent's own", lambda label: (f"probe/{kind}", label)),
        ],
        ("A common language", "Accuracy of a probe trained on the first agent, on messages of the last"),
        "accuracy",
    )


def symmetry_bars(records: Sequence[Record]) -> Figure | None:
    """Mean cosine of what two agents say to the same observation; marked: to different observations."""
    return _bars(
        records,
        [name for name in _CENTRES if any(r.measure == f"symmetry/{name}" for r in records)],
        lambda name: (f"symmetry/{name}", ""),
        [(look.RED, "shuffled observations", lambda name: (f"symmetry/{name}_shuffled", ""))],
        (
            "Protocol symmetry",
            "Mean cosine between agents; only what exceeds its control is a common language",
        ),
        "mean cosine",
        _CENTRES,
    )


def ablation_bars(records: Sequence[Record]) -> Figure | None:
    """The first result with inboxes as sent, empty, and of another episode."""
    ablated = [r for r in records if r.detail in ABLATIONS and "/" not in r.measure]
    results = [name for name in results_of(records) if any(r.measure == name for r in ablated)]
    if not results:
        return None
    found = [name for name in _INBOXES if not name or any(r.detail == name for r in ablated)]
    return _bars(
        records,
        found,
        lambda inbox: (results[0], inbox),
        [],
        ("What the channel is worth", "Evaluation with the inbox as sent and ablated, networks unchanged"),
        results[0],
        _INBOXES,
    )


def cross_play_matrix(records: Sequence[Record]) -> Figure | None:
    """Means of teams, the method of the first half by that of the second; self-play of each method on the right."""
    table = cross_play_table(records)
    names = [name for name in (*_SHOWN, *table.column("measure")) if name in table.column("measure")]
    if not names:
        return None
    methods = methods_of([r for r in records if r.measure.startswith("cross_play/")])
    grid = cross_play_grid(table, names[0], methods)
    side = 0.95 * len(methods)
    figure, (ax,) = look.new_figure(side + 4.4, max(3.2, side + 2.2), left=1.7, right=1.6, top=1.0)
    image = ax.imshow(grid, cmap="viridis", aspect="auto")
    low, high = np.nanmin(grid), np.nanmax(grid)
    for (row, column), value in np.ndenumerate(grid):
        dark = high > low and (value - low) / (high - low) < 0.6
        text = "" if np.isnan(value) else f"{value:.3g}"
        ax.text(column, row, text, ha="center", va="center", size=10, color="white" if dark else look.INK)
    ax.axvline(len(methods) - 0.5, color="white", linewidth=5)
    ax.set_xticks(range(len(methods) + 1), [look.label(m) for m in methods] + ["itself"])
    ax.set_yticks(range(len(methods)), [look.label(m) for m in methods])
    ax.grid(False)
    look.name_axes(ax, "second half of the agents", "first half of the agents")
    figure.colorbar(image, ax=ax, fraction=0.05).set_label(look.label(names[0]))
    look.heading(figure, "Cross-play", f"Mean {names[0]} of teams of two runs; right: of one run")
    return figure


def cross_play_grid(table: Table, measure: str, methods: Sequence[str]) -> np.ndarray:
    """(M, M + 1): teams of different runs by their methods, and self-play in the last column; nan where not played."""
    grid = np.full((len(methods), len(methods) + 1), np.nan)
    for _, name, first, second, relation, mean, *_ in table.rows:
        if name == measure:
            column = len(methods) if relation == "self" else methods.index(second)
            grid[methods.index(first), column] = mean
    return grid


def _bars(
    records: Sequence[Record],
    groups: Sequence[str],
    of: Callable[[str], tuple[str, str]],
    marks: Sequence[tuple[str, str, Callable[[str], tuple[str, str]]]],
    told: tuple[str, str],
    axis: str,
    names: Mapping[str, str] | None = None,
) -> Figure | None:
    """Groups of bars, a bar a method. of, marks: group -> (measure, detail) of the bar, and of lines across it."""
    groups = list(dict.fromkeys(groups))
    kept = [r for r in records if (r.measure, r.detail) in {of(group) for group in groups}]
    if not kept:
        return None
    present = methods_of(kept)
    colours = {method: colour for method, colour in _colours(records).items() if method in present}
    width = 0.8 / len(colours)
    inches = max(6.5, 2.75 + len(groups) * max(1.0, 0.26 * (len(colours) + 1)))
    figure, (ax,) = look.new_figure(inches, 4.2, top=1.0, right=1.9)
    for place, group in enumerate(groups):
        for number, (method, colour) in enumerate(colours.items()):
            at = place + (number - (len(colours) - 1) / 2) * width
            found = _estimate(kept, method, *of(group))
            if found is None:
                continue
            ax.bar(at, found.value, width * 0.9, color=colour, label=_new(ax, method))
            if found.low is not None and found.high is not None:
                ax.plot([at, at], [found.low, found.high], color=look.INK, linewidth=1.2)
            for ink, name, mark in marks:
                level = _estimate(records, method, *mark(group))
                if level is not None:
                    ends = [at - width * 0.45, at + width * 0.45]
                    ax.plot(ends, [level.value] * 2, color=ink, linewidth=1.6, label=_new(ax, name))
    ax.set_xticks(range(len(groups)), [look.label((names or {}).get(g, g)) for g in groups])
    ax.axhline(0, color=look.GREY, linewidth=0.8)
    look.name_axes(ax, None, look.label(axis))
    _legend(ax, outside=True)
    look.heading(figure, *told)
    return figure


def _estimate(records: Sequence[Record], method: str, measure: str, detail: str) -> Estimate | None:
    found = by_run(
        r for r in records if (r.method, r.measure, r.detail) == (method, measure, detail) and r.step is None
    )
    return over_runs(found.values()) if found else None


def _colours(records: Sequence[Record]) -> dict[str, Any]:
    """A colour a method, the same in every figure of these records."""
    return {m: look.ROUND_COLOURS[i % len(look.ROUND_COLOURS)] for i, m in enumerate(methods_of(records))}


def _new(ax: Axes, name: str) -> str | None:
    """The name for the legend, once."""
    name = look.label(name)
    return None if name in ax.get_legend_handles_labels()[1] else name


def _legend(ax: Axes, outside: bool = False) -> None:
    place: dict[str, Any] = {"loc": "best"}
    if outside:
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
    ax.legend(frameon=False, fontsize=9, **place)
