"""The picture of the communication study: success along training, one panel a message size."""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_ext.analysis.figures import AMBER, BLUE, GREEN, GREY, PINK, heading, name_axes, new_figure

COLOURS = {
    "none": GREY, "random": "#bbbbbb", "aecomm": AMBER, "cacl": BLUE, "positive_listening": GREEN, "dial": PINK,
}  # fmt: skip


def comm_figure(rows: list[dict[str, Any]]) -> Any:
    """Mean over seeds, every seed as a thin line."""
    sizes = sorted({row["dim"] for row in rows})
    figure, axes = new_figure(5.2 * len(sizes), 4.0, columns=len(sizes), left=0.8, top=0.95)
    for ax, dim in zip(axes, sizes, strict=True):
        for method, colour in COLOURS.items():
            curves = [
                row["curve"] for row in rows if (row["method"], row["dim"]) == (method, dim) and row["curve"]
            ]
            for curve in curves:
                steps, success = np.asarray(curve).T
                ax.plot(steps / 1000, success, color=colour, linewidth=0.5, alpha=0.5)
            if curves:
                shortest = min(map(len, curves))
                steps, success = np.mean([curve[:shortest] for curve in curves], axis=0).T
                ax.plot(steps / 1000, success, color=colour, linewidth=2.0, label=method.replace("_", " "))
        ax.set_ylim(0.0, 1.0)
        ax.legend(frameon=False, fontsize=8, loc="lower right", ncols=2)
        name_axes(ax, f"thousand environment steps, messages of {dim} numbers", "success, last 100 episodes")
    heading(
        figure, "What messages are learnt from", "Beacon, three agents, means over seeds; thin: each seed"
    )
    return figure
