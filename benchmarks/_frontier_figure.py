"""The picture of ``elastic_frontier``: the plane of the claims, the plane where none is made, and the saw-tooth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rllib_ext.analysis.figures import AMBER, BLUE, GREY, heading, name_axes, new_figure
from rllib_ext.analysis.frontier import mean_points
from rllib_ext.analysis.frontier_plot import Curve, draw_frontier

Rows = Sequence[Mapping[str, Any]]


def frontier_figure(
    rows: Rows, trajectory: Rows, starts: Rows, methods: Sequence[str], betas: Sequence[float], end: int
) -> Any:
    """Means over seeds with standard errors; one point a beta."""
    figure, axes = new_figure(15.0, 4.8, columns=3, left=0.85, right=0.8, top=1.0, gap=0.24)
    for ax, drift, name in (
        (axes[0], "ppl", "perplexity of held-out text"),
        (axes[1], "reverse_kl", "reverse KL to the initial model, nats a completion"),
    ):
        curves = []
        for method in methods:
            seeds = {beta: [(r["reward"], r[drift]) for r in rows
                            if (r["method"], r["beta"], r["iteration"]) == (method, beta, end)]
                     for beta in betas}  # fmt: skip
            curves.append(Curve(method, list(mean_points(seeds).values()), [f"{beta:g}" for beta in betas]))
        start = tuple(sum(s[key] for s in starts) / len(starts) for key in ("reward", drift))
        first = [
            r for r in trajectory if r["seed"] == starts_seed(trajectory) and r["method"] == "Elastic Reset"
        ]
        draw_frontier(
            ax, curves, start=start, trajectory=[(r["reward"], r[drift]) for r in first], names=(name, "reward"),
            log_drift=drift == "ppl", legend=drift == "ppl",
        )  # fmt: skip
        if drift == "reverse_kl":
            ax.set_xlim(-1, 42)
    _saw_tooth(axes[2], trajectory)
    heading(
        figure,
        "Reward and drift: KL penalties, resets, averages",
        "one point a beta, mean and standard error over seeds; right: without a penalty, iteration by iteration",
    )
    return figure


def starts_seed(trajectory: Rows) -> int:
    return min(r["seed"] for r in trajectory)


def _saw_tooth(ax: Any, trajectory: Rows) -> None:
    """Perplexity over iterations at beta = 0, mean over seeds; reward on the right."""
    other = ax.twinx()
    for method, colour in (("PPO+KL", AMBER), ("Elastic Reset", BLUE)):
        mine = [r for r in trajectory if r["method"] == method]
        iterations = sorted({r["iteration"] for r in mine})
        for axis, column, style in ((ax, "ppl", "-"), (other, "reward", ":")):
            values = [[r[column] for r in mine if r["iteration"] == i] for i in iterations]
            means = [sum(found) / len(found) for found in values]
            label = f"{method if method != 'PPO+KL' else 'PPO'}, {'perplexity' if axis is ax else 'reward'}"
            axis.plot(iterations, means, style, color=colour, linewidth=1.5, label=label)
    ax.set_yscale("log")
    for formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "125" else "")
    other.set_ylim(0.4, 1.02)
    other.tick_params(colors=GREY, labelsize=9)
    name_axes(ax, "iteration", "perplexity (solid)")
    name_axes(other, None, "reward (dotted)")
    lines = ax.get_lines()
    ax.legend(
        lines, [line.get_label().split(",")[0] for line in lines], frameon=False, fontsize=8, loc="upper left"
    )
