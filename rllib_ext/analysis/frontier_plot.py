"""The frontier as a picture: methods' sweeps with errors over seeds, where they began, and how one run moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rllib_ext.analysis.figures import GREY, INK, ROUND_COLOURS, name_axes, point_label
from rllib_ext.analysis.frontier import MeanPoint, Point, non_dominated

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Curve:
    """A method's sweep in the order of its knob; ``settings`` are the knob's values as text."""

    name: str
    points: Sequence[MeanPoint]
    settings: Sequence[str] = field(default_factory=tuple)


def draw_frontier(
    ax: Axes,
    curves: Sequence[Curve],
    *,
    start: Point | None = None,
    trajectory: Sequence[Point] = (),
    names: tuple[str, str] = ("drift", "reward"),
    log_drift: bool = False,
    legend: bool = True,
) -> None:
    """Drift to the right, reward upwards: better is up and to the left.

    start: (reward, drift) before fine-tuning, the SFT point. trajectory: (reward, drift) of one run in time; with resets
    it is a saw-tooth. Rings mark what no other mean point dominates.
    """
    if trajectory:
        ax.plot(*_xy(trajectory), color=GREY, linewidth=0.9, alpha=0.8, zorder=1, label="one run in time")
    for number, curve in enumerate(curves):
        colour, marker = ROUND_COLOURS[number % len(ROUND_COLOURS)], MARKERS[number % len(MARKERS)]
        points = curve.points
        ax.errorbar(
            [p.drift for p in points], [p.reward for p in points],
            xerr=[_bar(p.drift_se) for p in points], yerr=[_bar(p.reward_se) for p in points],
            color=colour, marker=marker, markersize=5, linewidth=1.3, elinewidth=0.9, label=curve.name, zorder=3,
        )  # fmt: skip
    front = non_dominated((p.reward, p.drift) for curve in curves for p in curve.points)
    if front:
        ax.plot(*_xy(front), "o", markersize=11, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=0.8,
                zorder=4, label="not dominated")  # fmt: skip
    if start is not None:
        ax.plot([start[1]], [start[0]], "*", color=INK, markersize=12, zorder=5)
        point_label(ax, (start[1], start[0]), "start", INK, (9, 0))
    if log_drift:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "125" else "")
    name_axes(ax, names[0], names[1])
    if legend and (curves or trajectory):
        ax.legend(frameon=False, fontsize=8, loc="lower right")


def _xy(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [drift for _, drift in points], [reward for reward, _ in points]


def _bar(error: float) -> float:
    return 0.0 if math.isnan(error) else error
