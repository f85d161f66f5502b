"""The picture of the off-policyness study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_ext.analysis.figures import AMBER, BLUE, GREEN, GREY, PINK, heading, name_axes, new_figure

COLOURS = {"dpo": BLUE, "ppo": AMBER, "rloo_proximal": GREEN, "rloo_vanilla": PINK, "best_of_2": GREY}


def offpolicy_figure(table: Mapping[str, Any], kept: Mapping[str, Any]) -> Any:
    """Left: gold win rate by N. Right: gold win rate against KL, one point an N, larger N larger."""
    figure, (left, right) = new_figure(11.0, 4.4, columns=2, left=1.0, top=1.0)
    for method, rows in table.items():
        numbers = sorted(int(n) for n in rows)
        wins = [rows[str(n)]["win_rate"] for n in numbers]
        means = [win["mean"] for win in wins]
        spread = [[win["mean"] - _or(win["low"], win["mean"]) for win in wins],
                  [_or(win["high"], win["mean"]) - win["mean"] for win in wins]]  # fmt: skip
        colour = COLOURS[method]
        left.errorbar(numbers, means, yerr=spread, marker="o", capsize=3, color=colour, label=method)
        kls = [rows[str(n)]["kl_ref"]["mean"] for n in numbers]
        right.plot(kls, means, color=colour, linewidth=1)
        right.scatter(kls, means, s=[18 + 3 * n for n in numbers], color=colour)
    left.set_xscale("log", base=2)
    name_axes(left, "N: mini-batches learnt from one generation round", "gold win rate")
    name_axes(right, "KL to the SFT policy, nats a completion; larger: larger N", "gold win rate")
    if table:
        left.legend(frameon=False)
    heading(figure, "Off-policyness", "128 updates of 64 completions; mean and 95 % interval over seeds")
    return figure


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
