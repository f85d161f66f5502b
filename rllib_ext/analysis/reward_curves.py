"""The curves of success: reward against KL to the SFT model, reward and win rate over updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.tables import Z_95, Evaluation, evaluations, main_split

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def reward_vs_kl(run: RunData) -> Figure | None:
    """The frontier that the run walked: held-out reward against KL to the SFT model, from the SFT point
    on.
    """
    points = [p for p in held_out(run) if p.kl is not None]
    if not points:
        return None
    figure, (ax,) = look.new_figure(7.6, 4.9, right=1.15)
    ax.plot(
        [p.kl for p in points],
        [p.reward for p in points],
        color=look.GREY,
        linewidth=1.2,
        alpha=0.6,
        zorder=2,
    )
    for index, point in enumerate(points):
        _frontier_point(ax, point, index / max(1, len(points) - 1), is_sft=point.updates == 0)
    look.name_axes(ax, "KL to the SFT model (nats)", "mean reward")
    ax.margins(x=0.08, y=0.14)
    ax.autoscale_view()
    _label_frontier(ax, points)
    look.heading(figure, "Reward against KL to the SFT model", _evaluated_on(points) + "; grey: updates")
    return figure


def _frontier_point(ax: Axes, point: Evaluation, progress: float, *, is_sft: bool) -> None:
    import matplotlib

    colour = look.RED if is_sft else matplotlib.colormaps["Blues"](0.35 + 0.6 * progress)
    ax.errorbar(
        [point.kl],
        [point.reward],
        yerr=[Z_95 * (point.reward_se or 0.0)],
        color=colour,
        marker="D" if is_sft else "o",
        markersize=7.5 if is_sft else 7,
        markeredgecolor="white",
        markeredgewidth=0.9,
        elinewidth=1.5,
        capsize=2.5,
        zorder=4 if is_sft else 3,
    )


def _label_frontier(ax: Axes, points: list[Evaluation]) -> None:
    """Name the ends, and as many points between them as leave room to read."""
    first, last = points[0], points[-1]
    start = "SFT model" if first.updates == 0 else f"{first.updates:.0f} updates"
    look.point_label(ax, _kl_reward(first), start, look.RED if first.updates == 0 else look.GREY, (11, -9))
    if last is not first:
        look.point_label(ax, _kl_reward(last), f"{last.updates:.0f} updates", look.BLUE, (10, 0))
    named = [first, last]
    for point in points[1:-1]:
        if all(_apart(ax, point, other) for other in named):
            look.point_label(ax, _kl_reward(point), f"{point.updates:.0f}", look.GREY, (9, -9))
            named.append(point)


def _apart(ax: Axes, one: Evaluation, other: Evaluation) -> bool:
    """Whether both points can carry a number without one covering the other."""
    (x, y), (u, v) = (ax.transData.transform(_kl_reward(point)) * 72 / look.DPI for point in (one, other))
    return bool(abs(x - u) > 34 or abs(y - v) > 22)


def _kl_reward(point: Evaluation) -> tuple[float, float]:
    return point.kl or 0.0, point.reward or 0.0


def reward_over_updates(run: RunData) -> Figure | None:
    """Reward (held out and of the training samples) above, win rate against the reference text below."""
    points, trained = held_out(run), run.series("reward/mean")
    if not points and not trained:
        return None
    figure, (top, bottom) = look.new_figure(7.6, 6.0, rows=2, share_x=True, right=1.3, gap=0.16)
    ends = []
    if trained:
        ends.append((look.draw_curve(top, trained, look.SKY), "training samples", look.SKY))
    if points:
        _bars(top, points, [p.reward for p in points], [p.reward_se for p in points], look.BLUE)
        ends.append(((points[-1].updates, points[-1].reward), "held out", look.BLUE))
    if len(points) > 1:
        top.axhline(points[0].reward, color=look.RED, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1)
        name = "SFT model" if points[0].updates == 0 else "at the start"
        ends.append(((points[-1].updates, points[0].reward), name, look.RED))
    _win_rates(bottom, [p for p in points if p.win_rate is not None])
    look.end_labels(top, ends)
    look.name_axes(top, None, "mean reward")
    look.name_axes(bottom, "optimizer updates", "win rate against reference")
    note = _evaluated_on(points) if points else "no evaluations"
    look.heading(figure, "Reward and win rate over updates", note + look.smoothing_note([trained]))
    return figure


def _win_rates(ax: Axes, points: list[Evaluation]) -> None:
    look.percent_axis(ax.yaxis)
    look.updates_axis(ax)
    if not points:
        look.nothing_here(ax, "no evaluation has a win rate")
        return
    _bars(ax, points, [p.win_rate for p in points], [p.win_rate_se for p in points], look.GREEN)
    look.end_labels(
        ax, [((points[-1].updates, points[-1].win_rate), f"{points[-1].win_rate:.1%}", look.GREEN)]
    )


def _bars(ax: Axes, points: list[Evaluation], y: list, se: list, colour: str) -> None:
    """A line through the points with bars of 1.96 standard errors where they are known."""
    ax.errorbar(
        [p.updates for p in points],
        y,
        yerr=[Z_95 * (value or 0.0) for value in se],
        color=colour,
        marker="o",
        markersize=5.5,
        markeredgecolor="white",
        markeredgewidth=0.8,
        linewidth=1.8,
        elinewidth=1.3,
        capsize=2.5,
        zorder=3,
    )


def held_out(run: RunData) -> list[Evaluation]:
    """The evaluations of the main split that have a reward."""
    return [point for point in evaluations(run, main_split(run)) if point.reward is not None]


def _evaluated_on(points: list[Evaluation]) -> str:
    sizes = sorted({int(p.n) for p in points if p.n})
    size = f", {sizes[0]} prompts" if len(sizes) == 1 else ""
    return f"{points[0].split or 'held-out'} split{size}; bars are 1.96 standard errors to either side"
