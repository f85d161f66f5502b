"""The curves of trust: how old the samples were, the loss, and whether engine and learner agree on
log-probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rllib_ext.analysis import figures as look
from rllib_ext.analysis.rows import number
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.tables import age_counts, age_mean, age_quantile, loss_keys, round_totals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Largest log-probability difference of engine and learner that float32 arithmetic explains.
PARITY_BOUND = 1e-4
_PARITY_FLOOR = 1e-9


def sample_ages(run: RunData) -> Figure | None:
    """How old, in updates, the samples were when they were learnt from; the bound and what it turned away."""
    counts = age_counts(run)
    if not counts:
        return None
    total, totals = sum(counts.values()), round_totals(run)
    figure, (ax,) = look.new_figure(7.6, 4.4, right=0.4)
    bars = ax.bar(
        list(counts), [count / total for count in counts.values()], width=0.72, color=look.BLUE, zorder=2
    )
    if len(counts) <= 10:
        for bar, count in zip(bars, counts.values(), strict=True):
            text = f"{_percent(count / total)}\n{count:,}"
            top = (bar.get_x() + bar.get_width() / 2, bar.get_height())
            style = {"ha": "center", "va": "bottom", "size": 9, "color": look.INK, "linespacing": 1.3}
            ax.annotate(text, top, (0, 4), textcoords="offset points", **style)
    bound = number(run.config.get("max_staleness"))
    ax.set_xlim(-0.6, max(counts) + 0.6)
    _mark_bound(ax, bound, max(counts))
    ax.set_ylim(0, 1.22 * max(counts.values()) / total)
    look.updates_axis(ax)
    look.percent_axis(ax.yaxis)
    ax.grid(False, axis="x")
    look.name_axes(ax, "age of a sample when it is learnt from (optimizer updates)", "share of samples")
    mean, p95 = age_mean(counts), age_quantile(counts, 0.95)
    look.heading(
        figure,
        "How old the samples were",
        f"{total:,} samples: mean {mean:.2f}, 95th percentile {p95}, oldest {max(counts)}; "
        f"{totals['dropped_stale']:,} dropped as too old",
    )
    return figure


def _percent(share: float) -> str:
    return "<0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def _mark_bound(ax: Axes, bound: float | None, oldest: int) -> None:
    """The largest allowed age as a line, where it is near enough to the data not to squeeze it."""
    if bound is None or bound > 4 * oldest + 8:
        return
    ax.set_xlim(-0.6, max(bound, oldest, 2) + 0.95)
    ax.axvline(bound + 0.5, color=look.RED, linewidth=1.4, linestyle=(0, (5, 3)), zorder=1)
    ax.annotate(
        f"max_staleness = {bound:.0f}", (bound + 0.5, 0.97), (6, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", color=look.RED, size=9, weight="bold", va="top", rotation=90,
    )  # fmt: skip


def loss_and_parity(run: RunData) -> Figure | None:
    """The loss above; below, how far the engine's log-probabilities are from the learner's on the same
    tokens.
    """
    losses = [(key, run.series(key)) for key in loss_keys(run)]
    losses = [(key, curve) for key, curve in losses if curve]
    parity = {name: run.series(f"policy/logp_diff_{name}") for name in ("mean", "max")}
    if not losses and not any(parity.values()):
        return None
    figure, (top, bottom) = look.new_figure(7.6, 5.6, rows=2, share_x=True, right=1.25, gap=0.16)
    ends = []
    for (key, curve), colour in zip(losses, look.ROUND_COLOURS, strict=False):
        name = key.split("/")[1] if len(losses) > 1 else "loss"
        ends.append((look.draw_curve(top, curve, colour), name, colour))
    look.end_labels(top, ends)
    look.updates_axis(bottom)
    _draw_parity(bottom, parity, run.config.get("engine_dtype"))
    look.name_axes(top, None, "total loss")
    look.name_axes(bottom, "optimizer updates", "|engine - learner| (nats)")
    look.heading(
        figure,
        "Loss, and agreement of engine and learner",
        "log-probabilities of the same tokens under the same weights, from the sampler and from the trainer",
    )
    return figure


def _draw_parity(ax: Axes, parity: dict[str, list[tuple[float, float]]], dtype: object) -> None:
    """Differences on a log scale; an exact 0 is drawn at the bottom edge, because a log scale has no place
    for it.
    """
    if not any(parity.values()):
        look.nothing_here(ax, "the run logged no log-probability differences")
        return
    ax.set_yscale("log")
    ends = []
    for name, colour in (("mean", look.BLUE), ("max", look.AMBER)):
        curve = [(x, max(abs(y), _PARITY_FLOOR)) for x, y in parity[name]]
        if curve:
            ax.plot(*zip(*curve, strict=True), color=colour, linewidth=1.7 if len(curve) < 60 else 0.9)
            ends.append((curve[-1], name, colour))
    if dtype in (None, "float32"):
        ax.axhline(PARITY_BOUND, color=look.RED, linewidth=1.1, linestyle=(0, (5, 3)))
        ax.annotate(
            "float32 bound 1e-4", (1, PARITY_BOUND), (-4, 4), xycoords=("axes fraction", "data"),
            textcoords="offset points", color=look.RED, size=8.5, weight="bold", ha="right",
        )  # fmt: skip
    look.end_labels(ax, ends)
