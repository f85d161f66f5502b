"""The picture of asynchrony: who generated, learnt, scored and published when, and how much of the run each
idled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.intervals import Interval, LaneUse, lane_use, lanes, middle_rounds, sessions
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROUNDS_SHOWN = 10
LANES_SHOWN = 12
_BAR = 0.62
_HATCHES = {"score": "////", "learn": "", "generate": ""}
_SMALL_BARS = {"score": "hatched: scoring", "publish": "triangles: new weights are out"}


def timeline_table(run: RunData) -> Table:
    """Every interval of the run, in seconds since its first one."""
    zero = min((item.start for item in run.timeline), default=0.0)
    rows = [
        (i.who, i.role, i.round, i.version, i.start - zero, i.end - zero, i.end - i.start)
        for i in sorted(run.timeline, key=lambda item: (item.start, item.who))
    ]
    return Table("timeline", ("who", "role", "round", "version", "start_s", "end_s", "seconds"), rows)


def timeline(run: RunData) -> Figure | None:
    """One lane a worker and one for the learner, about ten rounds from the middle of the run.

    A round has one colour in every lane, so overlap shows as two colours above each other: the learner is on
    round n while the workers are already on n + 1. The shares on the right are those of the whole run, not of
    the stretch.
    """
    if not run.timeline:
        return None
    part = max(sessions(run.timeline, run.resumed_at), key=len)
    zero = min(item.start for item in part)
    chosen, (start, end) = middle_rounds(part, ROUNDS_SHOWN)
    all_lanes = lanes(run.timeline)
    shown = all_lanes if len(all_lanes) <= LANES_SHOWN else [*all_lanes[: LANES_SHOWN - 1], all_lanes[-1]]
    height = 1.15 + 0.6 + 0.62 * len(shown)
    figure, (ax, side) = look.new_figure(
        11.2, height, columns=2, widths=(5.4, 1), right=0.5, gap=0.04, left=1.05, top=1.15
    )
    visible = [i for i in part if i.who in shown and i.end >= start and i.start <= end]
    places = {who: len(shown) - 1 - index for index, who in enumerate(shown)}
    for item in visible:
        _draw(ax, item, places[item.who], zero, (start - zero, end - zero))
    _mark_publishes(ax, [i for i in visible if i.end <= end], len(shown), zero)
    _frame(ax, shown, (start - zero, end - zero))
    _side_panel(side, shown, lane_use(run.timeline, run.resumed_at))
    _explain(figure, chosen, len(all_lanes) - len(shown), visible)
    return figure


def _draw(ax: Axes, item: Interval, place: int, zero: float, view: tuple[float, float]) -> None:
    """One interval as a bar: the round's colour, the round's number where it fits; scoring is hatched and
    lower.
    """
    if item.role == "publish":
        return
    left, right = max(item.start - zero, view[0]), min(item.end - zero, view[1])
    colour = look.GREY if item.round is None else look.ROUND_COLOURS[item.round % len(look.ROUND_COLOURS)]
    thin = item.role not in ("generate", "learn")
    ax.barh(
        place,
        right - left,
        left=left,
        height=_BAR * (0.45 if thin else 1),
        color=colour if not thin else "white",
        edgecolor=colour if thin else "white",
        hatch=_HATCHES.get(item.role, "...."),
        linewidth=0.8,
        zorder=4 if thin else 3,
    )
    if not thin and item.round is not None and right - left > 0.028 * (view[1] - view[0]):
        dark = colour in (look.BLUE, look.GREEN, look.RED)
        ax.text(
            (left + right) / 2, place, str(item.round), ha="center", va="center", size=9, weight="bold",
            color="white" if dark else look.INK, zorder=5, clip_on=True,
        )  # fmt: skip


def _mark_publishes(ax: Axes, items: Sequence[Interval], lanes_shown: int, zero: float) -> None:
    """A dotted line where new weights are out, named by their version as often as there is room."""
    ends: dict[int | None, float] = {}
    for item in items:
        if item.role == "publish":
            ends[item.version] = max(item.end - zero, ends.get(item.version, float("-inf")))
    top = lanes_shown - 1 + 0.5
    for index, (version, at) in enumerate(sorted(ends.items(), key=lambda pair: pair[1])):
        ax.plot([at, at], [-0.5, top], color=look.INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=2)
        ax.plot([at], [top + 0.02], marker="v", color=look.INK, markersize=5, zorder=6, clip_on=False)
        if version is not None and index % max(1, -(-len(ends) // 12)) == 0:
            ax.annotate(
                f"v{version}", (at, top), (0, 6), textcoords="offset points", ha="center", va="bottom",
                size=8, color=look.INK, annotation_clip=False,
            )  # fmt: skip


def _frame(ax: Axes, shown: Sequence[str], view: tuple[float, float]) -> None:
    ax.set_xlim(*view)
    ax.set_ylim(-0.5, len(shown) - 0.5)
    ax.set_yticks(range(len(shown) - 1, -1, -1), [look.label(who) for who in shown])
    ax.tick_params(axis="y", length=0, labelsize=10, labelcolor=look.INK)
    ax.grid(False, axis="y")
    ax.spines["left"].set_visible(False)
    look.name_axes(ax, "seconds since the run's first work", None)


def _side_panel(ax: Axes, shown: Sequence[str], uses: Sequence[LaneUse]) -> None:
    """Idle shares of the shown lanes over the whole run, one bar a lane, on the rows of the lanes."""
    by_name = {use.who: use for use in uses}
    for place, who in enumerate(reversed(shown)):
        share = by_name[who].idle_share
        ax.barh(place, 1, height=0.26, color=look.FAINT)
        ax.barh(place, share, height=0.26, color=look.GREY)
        ax.annotate(
            f"{share:.1%}", (0, place + 0.17), (0, 2), textcoords="offset points", size=9, color=look.INK,
            va="bottom",
        )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.5, len(shown) - 0.5)
    ax.set_yticks([])
    ax.set_xticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title("idle over the whole run", color=look.GREY, size=9, loc="left", pad=9)


def _explain(figure: Figure, chosen: Sequence[int], hidden: int, visible: Sequence[Interval]) -> None:
    title = "Generation and learning overlap" if _overlaps(visible) else "Generation and learning take turns"
    where = f"rounds {chosen[0]} to {chosen[-1]}" if chosen else "the middle of the run"
    text = f"{where}; one colour and number a round"
    roles = {item.role for item in visible}
    for role, words in _SMALL_BARS.items():
        text += f"; {words}" if role in roles else ""
    if roles.difference(_SMALL_BARS, ("generate", "learn")):
        text += "; dotted: " + ", ".join(sorted(roles.difference(_SMALL_BARS, ("generate", "learn"))))
    if hidden:
        text += f"; {hidden} more workers are in the CSV"
    look.heading(figure, title, text)


def _overlaps(items: Sequence[Interval]) -> bool:
    """Whether learning shares more than a twentieth of its time with generation in the stretch that is
    shown.
    """
    learn = [i for i in items if i.role == "learn"]
    generate = [i for i in items if i.role == "generate"]
    shared = sum(max(0.0, min(a.end, b.end) - max(a.start, b.start)) for a in learn for b in generate)
    return shared > 0.05 * sum(item.end - item.start for item in learn) > 0
