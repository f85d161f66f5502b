"""Idle shares: what every lane did with the whole run, and how idleness moved while it went on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.intervals import LaneUse, lane_use
from rllib_ext.analysis.run_data import RunData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    "generate": look.BLUE,
    "learn": look.GREEN,
    "score": look.AMBER,
    "publish": look.PINK,
    "idle": look.FAINT,
}
_OTHER = look.SKY


def idle_shares(run: RunData) -> Figure | None:
    """On the left each lane's time by kind of work, on the right the idle shares that the iterations
    reported.
    """
    uses = [use for use in lane_use(run.timeline, run.resumed_at) if use.window_s > 0]
    curves = {"generator": run.series("rollout/idle_share"), "learner": run.series("learner/idle_share")}
    if not uses and not any(curves.values()):
        return None
    height = min(7.0, max(3.3, 1.7 + 0.5 * len(uses)))
    figure, (left, right) = look.new_figure(
        11.2, height, columns=2, widths=(1.35, 1), right=1.05, gap=0.22, left=1.05, top=1.1
    )
    _stack(left, uses)
    _over_updates(right, curves)
    seconds = f"{uses[0].window_s:,.0f} s" if uses else "no timeline"
    note = f"left: the whole run ({seconds}); right: as each iteration reported it"
    look.heading(figure, "Who waited", note + look.smoothing_note(list(curves.values())))
    return figure


def _over_updates(ax: Axes, curves: dict[str, list[tuple[float, float]]]) -> None:
    """The idle share of each side, iteration by iteration; the axis starts at 0, where nobody waits."""
    look.name_axes(ax, "optimizer updates", "idle share of an iteration")
    if not any(curves.values()):
        look.nothing_here(ax, "result.json has no idle shares")
        return
    ends = []
    for (name, curve), colour in zip(curves.items(), (look.BLUE, look.GREEN), strict=True):
        if curve:
            ends.append((look.draw_curve(ax, curve, colour), name, colour))
    ax.set_ylim(0, max([0.1, *(1.15 * y for curve in curves.values() for _, y in curve)]))
    look.percent_axis(ax.yaxis)
    look.updates_axis(ax)
    look.end_labels(ax, ends)


def _stack(ax: Axes, uses: Sequence[LaneUse]) -> None:
    """Disjoint shares of each lane's window, one bar a lane, the idle rest in grey with its figure."""
    if not uses:
        look.nothing_here(ax, "timeline.jsonl has no interval")
        return
    seen: dict[str, str] = {}
    for place, use in enumerate(reversed(uses)):
        left = 0.0
        for role, seconds in [*use.by_role.items(), ("idle", use.window_s - use.busy_s)]:
            share = seconds / use.window_s
            seen[role] = _COLOURS.get(role, _OTHER)
            ax.barh(
                place,
                share,
                left=left,
                height=0.6,
                color=seen[role],
                edgecolor="white",
                linewidth=0.8,
                zorder=2,
            )
            if share > 0.07:
                dark = role in ("generate", "learn")
                ax.text(
                    left + share / 2, place, f"{share:.0%}", ha="center", va="center", size=9,
                    color="white" if dark else look.INK, zorder=3,
                )  # fmt: skip
            left += share
    ax.set_yticks(range(len(uses)), [look.label(use.who) for use in reversed(uses)])
    ax.tick_params(axis="y", length=0, labelsize=10, labelcolor=look.INK)
    ax.set_xlim(0, 1)
    look.percent_axis(ax.xaxis)
    ax.grid(False, axis="y")
    look.name_axes(ax, "share of the run", None)
    _legend(ax, seen)


def _legend(ax: Axes, seen: dict[str, str]) -> None:
    """The kinds of work that occur, in the order in which the bars stack them."""
    from matplotlib.patches import Patch

    known = [role for role in _COLOURS if role in seen and role != "idle"]
    order = [*known, *sorted(set(seen).difference(_COLOURS)), "idle"]
    ax.legend(
        handles=[Patch(facecolor=seen[role], label=look.label(role)) for role in order],
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=len(order),
        frameon=False,
        fontsize=9,
        labelcolor=look.INK,
        handlelength=1,
        columnspacing=1.2,
        borderpad=0,
    )
