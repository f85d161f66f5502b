"""The picture of the finetuning study: scores along training and at the end, one panel a game."""

from __future__ import annotations

from typing import Any

from rllib_ext.analysis.figures import AMBER, BLUE, GREEN, GREY, heading, name_axes, new_figure

COLOURS = {"scratch": GREY, "pretrained": BLUE, "frozen": GREEN, "random frozen": AMBER}


def finetune_figure(rows: list[dict[str, Any]]) -> Any:
    """Every seed a line of training scores, and a dot for the games at the end."""
    games = sorted({row["game"] for row in rows})
    figure, axes = new_figure(5.2 * len(games), 4.0, columns=len(games), left=0.8, top=0.95)
    for ax, game in zip(axes, games, strict=True):
        for place, (arm, colour) in enumerate(COLOURS.items()):
            mine = [row for row in rows if (row["game"], row["arm"]) == (game, arm)]
            for row in mine:
                known = [(steps, score) for steps, _, score in row["curve"] if score is not None]
                if known:
                    ax.plot(*zip(*known, strict=True), color=colour, linewidth=0.8, alpha=0.7)
            if mine:
                last = max(row["steps"] for row in mine)
                ax.plot(
                    [last * (1.02 + 0.03 * place)] * len(mine), [row["score"] for row in mine], "o", color=colour,
                    markersize=4, label=arm,
                )  # fmt: skip
        ax.legend(frameon=False, fontsize=8)
        name_axes(ax, f"agent steps, {game}", "score; dots: games at the end")
    heading(figure, "What a pretrained encoder buys", "SGIRainbow, one update a step; every seed")
    return figure
