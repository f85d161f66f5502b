"""The picture of ``sampling_mismatch``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_ext.analysis.figures import AMBER, BLUE, GREY, heading, name_axes, new_figure

STYLES = {"ppo": AMBER, "rloo_vanilla": BLUE}


def mismatch_figure(noise: Mapping[str, Any], switches: Mapping[str, Any]) -> Any:
    """Left: gold win rate by noise, with and without weights. Right: what the switches do, with intervals."""
    figure, (left, right) = new_figure(11.0, 4.4, columns=2, left=1.0, top=1.0)
    for method, rows in noise.items():
        for kind, line in (("plain", "-"), ("weighted", "--")):
            means = [row[kind]["mean"] for row in rows.values()]
            errors = [[_half(row[kind]) for row in rows.values()]] * 2
            left.errorbar(
                range(len(rows)), means, yerr=errors, marker="o", capsize=3, linestyle=line, color=STYLES[method],
                label=f"{method}, truncated weights" if kind == "weighted" else method,
            )  # fmt: skip
    if noise:
        labels = list(next(iter(noise.values())))
        left.set_xticks(range(len(labels)), labels)
        left.legend(frameon=False)
    name_axes(left, "noise on the sampler's log-probabilities, nats", "gold win rate")
    for place, (_name, row) in enumerate(switches.items()):
        right.errorbar(row["mean"], place, xerr=[[_half(row)]] * 2, marker="o", capsize=3, color=GREY)
    right.set_yticks(range(len(switches)), list(switches))
    right.axvline(0.0, color=GREY, linewidth=0.8)
    name_axes(right, "win rate: the switch less the package's way", "")
    heading(
        figure,
        "Sampler and learner disagree",
        "128 updates of 64 completions; mean and 95 % interval over seeds",
    )
    return figure


def _half(interval: Mapping[str, Any]) -> float:
    return 0.0 if interval["low"] is None else interval["mean"] - interval["low"]
