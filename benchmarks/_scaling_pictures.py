"""The picture of ``rlhf_scaling``: figures by size with their intervals, and over-optimisation curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rllib_ext.analysis.figures import (
    AMBER,
    BLUE,
    FAINT,
    GREEN,
    PINK,
    ROUND_COLOURS,
    heading,
    name_axes,
    new_figure,
)

LINES = (
    ("rm_accuracy", "reward-model accuracy", PINK),
    ("gold_win_rate_before", "win rate, SFT", AMBER),
    ("gold_win_rate_after", "win rate, PPO", BLUE),
    ("rouge_l", "ROUGE-L, SFT", GREEN),
)


def scaling_figure(table: Mapping[str, Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]) -> Any:
    """Left: figures by width. Middle and right: gold and proxy reward against KL, thin by seed, thick the mean."""
    figure, (left, middle, right) = new_figure(13.5, 4.6, columns=3, top=1.0, left=0.8, right=0.3)
    _figures_by_size(left, table)
    for ax, name in ((middle, "gold"), (right, "proxy")):
        _curves(ax, name, cells)
    seeds = len({cell["seed"] for cell in cells})
    heading(
        figure,
        "RLHF from scratch at three sizes",
        f"{seeds} seeds; bars: 95 % (Student, over seeds); curves: PPO loosely tied to the SFT model",
    )
    return figure


def _figures_by_size(ax: Any, table: Mapping[str, Mapping[str, Any]]) -> None:
    sizes = [int(size) for size in table]
    for shift, (name, label, colour) in enumerate(LINES):
        rows = [table[str(size)][name] for size in sizes]
        at = [size * 1.03 ** (shift - 1.5) for size in sizes]
        ax.plot(
            at, [row["mean"] for row in rows], "o-", color=colour, label=label, linewidth=1.5, markersize=4
        )
        for x, row in zip(at, rows, strict=True):
            if row["low"] is not None:
                ax.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=1.2)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    ax.set_ylim(0, 1)
    ax.grid(color=FAINT)
    ax.legend(frameon=False, fontsize=8)
    name_axes(ax, "width", "share")


def _curves(ax: Any, name: str, cells: Sequence[Mapping[str, Any]]) -> None:
    sizes = sorted({cell["hidden"] for cell in cells})
    for hidden, colour in zip(sizes, ROUND_COLOURS, strict=False):
        curves = [cell["curve"] for cell in cells if cell["hidden"] == hidden]
        kl, y = (np.array([[point[key] for point in curve] for curve in curves]) for key in ("kl", name))
        for one_kl, one_y in zip(kl, y, strict=True):
            ax.plot(np.sqrt(one_kl.clip(0)), one_y, color=colour, linewidth=0.6, alpha=0.4)
        ax.plot(
            np.sqrt(kl.mean(0).clip(0)), y.mean(0), "o-", color=colour, markersize=3, label=f"width {hidden}"
        )
    ax.grid(color=FAINT)
    ax.legend(frameon=False, fontsize=8)
    name_axes(ax, "square root of KL to the SFT model (nats)", f"{name} reward")
