"""The pictures of the benchmarks, in the style of the package's reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rllib_ext.analysis.figures import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    PINK,
    heading,
    name_axes,
    new_figure,
    nothing_here,
    updates_axis,
)

LANES = (("load_weights_s", PINK), ("generate_s", BLUE), ("score_s", GREEN))
DRIVER = (("publish_s", PINK), ("learn_s", AMBER))


def _lane(
    ax: Any, y: float, phases: Mapping[str, float], parts: Sequence[tuple[str, str]], start: float
) -> float:
    """Stacked bars of one lane from ``start`` seconds on; returns where they end."""
    for name, colour in parts:
        ax.barh(y, phases.get(name, 0.0), left=start, height=0.36, color=colour)
        start += phases.get(name, 0.0)
    return start


def async_vs_sync_figure(
    headline: Mapping[str, Any], details: Mapping[str, Any], segments: Sequence[Any]
) -> Any:
    """Left: where a round's time goes on each side. Right: round times of every segment, in the order they ran."""
    figure, (left, right) = new_figure(11.0, 4.2, columns=2, left=1.1, top=1.0)
    table = details.get("phases", {})
    if not table:
        nothing_here(left, "no real run")
        nothing_here(right, "no real run")
    for position, (side, phases) in enumerate(table.items()):
        y = -float(position)
        end = _lane(left, y + 0.2, phases, LANES, 0.0)
        _lane(left, y - 0.2, phases, DRIVER, 0.0 if side == "async" else end)
        left.plot([phases["round_s"]] * 2, [y - 0.42, y + 0.42], color=GREY, linewidth=1.5)
    left.set_yticks([-float(i) for i in range(len(table))], list(table))
    name_axes(left, "seconds a round; grey: the round's end", None)
    for side, colour in zip(table, (BLUE, AMBER, GREEN), strict=False):
        mine = [segment for segment in segments if segment.side == side]
        right.plot([s.pair for s in mine], [s.round_s for s in mine], color=colour, label=side, linewidth=1.2)
        for valid, marker in ((True, "o"), (False, "x")):
            chosen = [s for s in mine if (not s.invalid) is valid]
            right.plot([s.pair for s in chosen], [s.round_s for s in chosen], marker, color=colour)
    if table:
        updates_axis(right)
        right.legend(frameon=False, fontsize=9)
        right.set_ylim(bottom=0)
    name_axes(right, "pair (crosses: invalid samples)", "seconds a round")
    speedup, ideal = headline.get("speedup"), headline.get("ideal")
    subtitle = "virtual devices only" if speedup is None else f"speedup {speedup:.2f}, of at most {ideal:.2f}"
    heading(
        figure,
        "Asynchronous against synchronous online DPO",
        subtitle + "; upper bar: worker, lower bar: learner",
    )
    return figure


def rate_figure(title: str, subtitle: str, rates: Mapping[str, tuple[float, Sequence[float]]]) -> Any:
    """Horizontal bars with intervals: name -> (rate, (low, high))."""
    figure, (ax,) = new_figure(8.0, 1.4 + 0.55 * len(rates), left=2.2, top=0.95)
    for position, (rate, (low, high)) in enumerate(rates.values()):
        ax.barh(-position, rate, height=0.55, color=BLUE)
        ax.plot([low, high], [-position] * 2, color=GREY, linewidth=1.5)
        ax.annotate(
            f"{rate:,.0f}" if rate >= 1000 else f"{rate:.3g}",
            (max(rate, high), -position),
            (6, 0),
            textcoords="offset points",
            va="center",
        )
    ax.set_yticks([-position for position in range(len(rates))], list(rates))
    heading(figure, title, subtitle)
    return figure


def gates_figure(gates: Sequence[Mapping[str, Any]]) -> Any:
    """Each gate's figure as a share of its limit."""
    drawn = [gate for gate in gates if gate.get("limit")]
    figure, (ax,) = new_figure(8.0, 1.6 + 0.5 * len(drawn), left=2.6, top=0.95)
    for position, gate in enumerate(drawn):
        share = gate["value"] / gate["limit"]
        ax.barh(-position, share, height=0.5, color=GREEN if gate["passed"] else AMBER)
        ax.annotate(f"{gate['value']:.3g} {gate['unit']}", (max(0, share), -position), (6, 0),
                    textcoords="offset points", va="center")  # fmt: skip
    ax.axvline(1.0, color=GREY, linewidth=1.5)
    ax.set_yticks([-position for position in range(len(drawn))], [gate["gate"] for gate in drawn])
    name_axes(ax, "share of the limit", None)
    heading(figure, "Gates", "measured value; the grey line is the limit")
    return figure


def steps_figure(
    title: str, x_name: str, y_name: str, curves: Mapping[str, Sequence[Mapping[str, float]]]
) -> Any:
    """Counts that change in steps; a curve is a sequence of {x_name, y_name}, and every curve has a row of its own."""
    figure, axes = new_figure(8.0, 1.0 + 1.2 * len(curves), rows=len(curves), left=1.0, top=0.8)
    for ax, (name, points) in zip(axes, curves.items(), strict=True):
        xs, ys = ([float(point[key]) for point in points] for key in (x_name, y_name))
        ax.step([*xs, xs[-1] + 2.0], [*ys, ys[-1]], where="post", color=BLUE)
        ax.set_ylim(0, max(ys) + 0.5)
        ax.text(0.5, 0.12, name, fontsize=9, ha="center", transform=ax.transAxes)
    name_axes(axes[-1], x_name, y_name)
    heading(figure, title, "")
    return figure
