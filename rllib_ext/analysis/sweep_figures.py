"""A sweep as pictures: final figures by one setting, and learning curves; both with 95 % intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rllib_ext.analysis.estimators import Estimate, mean_interval
from rllib_ext.analysis.figures import GREY, ROUND_COLOURS, heading, name_axes, new_figure
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.rows import number
from rllib_ext.analysis.sweep_data import SweepData
from rllib_ext.analysis.sweep_tables import finals, mean_curve, measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS, MOST_LINES = 3, 10
#: Metrics that a panel is worth, by preference: what is wanted, and what it costs.
_SHOWN = ("evaluation/reward_mean", "evaluation/win_rate", "evaluation/kl_ref", "reward/mean")


def panels(sweep: SweepData) -> list[str]:
    """The metrics that are drawn."""
    found = measures(sweep)
    chosen = [name for name in _SHOWN if name in found]
    return (chosen or found)[:MOST_PANELS]


def numeric_setting(sweep: SweepData) -> str | None:
    """The setting to draw along: of those that vary and are numbers, the one with the fewest values, which was swept and
    not drawn at random.
    """
    counts = {}
    for name in sweep.varied:
        values = {number(trial.settings.get(name)) for trial in sweep.trials}
        if None not in values:
            counts[name] = len(values)
    return min(counts, key=lambda name: (counts[name], name), default=None)


def by_setting(sweep: SweepData, x: str) -> Figure | None:
    """A panel a metric: its newest value by the setting ``x``, a line for each combination of the others."""
    shown = panels(sweep)
    if not shown:
        return None
    others = [name for name in sweep.varied if name != x]
    figure, axes = new_figure(3.9 * len(shown) + 0.6, 4.2, columns=len(shown), top=1.0, gap=0.36)
    for ax, metric in zip(axes, shown, strict=True):
        lines = {}
        for values, trials in sweep.groups(others).items():
            points: dict[float, list[Any]] = {}
            for trial in trials:
                at = number(trial.settings.get(x))
                if at is not None:
                    points.setdefault(at, []).append(trial)
            found = [(at, finals(of, metric)) for at, of in sorted(points.items())]
            lines[_label(others, values)] = [(at, mean_interval(of)) for at, of in found if of]
        _draw(ax, lines)
        _starts(ax, sweep, metric)
        _axis_of(ax, [at for line in lines.values() for at, _ in line])
        name_axes(ax, x, metric)
    _legend(axes[-1])
    heading(figure, f"By {x}", _subtitle(sweep))
    return figure


def learning_curves(sweep: SweepData, names: Sequence[str]) -> Figure | None:
    """A panel a metric over the sweep's steps, a line for each combination of the settings ``names``, with its band."""
    shown = [name for name in panels(sweep) if any(len(t.series(name, sweep.step)) > 1 for t in sweep.trials)]
    shown = shown or [
        name for name in measures(sweep) if name in ("reward/mean", "env_runners/episode_return_mean")
    ]
    if not shown:
        return None
    figure, axes = new_figure(3.9 * len(shown) + 0.6, 4.2, columns=len(shown), top=1.0, gap=0.36)
    for ax, metric in zip(axes, shown, strict=True):
        groups = list(sweep.groups(names).items())
        for number_, (values, trials) in enumerate(groups[:MOST_LINES]):
            curve = mean_curve(trials, metric, sweep.step)
            if not curve:
                continue
            colour = ROUND_COLOURS[number_ % len(ROUND_COLOURS)]
            steps = [at for at, _ in curve]
            ax.plot(steps, [e.value for _, e in curve], color=colour, label=_label(names, values), linewidth=1.5,
                    linestyle="-" if number_ < len(ROUND_COLOURS) else "--",
                    marker="o" if len(curve) == 1 else "")  # fmt: skip
            if curve[0][1].low is not None:
                lows, highs = [e.low for _, e in curve], [e.high for _, e in curve]
                ax.fill_between(steps, lows, highs, color=colour, alpha=0.15, linewidth=0)
        name_axes(ax, sweep.step, metric)
    _legend(axes[-1])
    cut = max(0, len(sweep.groups(names)) - MOST_LINES)
    heading(figure, "Learning curves", _subtitle(sweep) + (f"; {cut} more are in the CSV" if cut else ""))
    return figure


def _draw(ax: Axes, lines: Mapping[str, Sequence[tuple[float, Estimate]]]) -> None:
    for number_, (name, points) in enumerate(list(lines.items())[:MOST_LINES]):
        means = [e.value for _, e in points]
        below = [0.0 if e.low is None else e.value - e.low for _, e in points]
        above = [0.0 if e.high is None else e.high - e.value for _, e in points]
        ax.errorbar([at for at, _ in points], means, yerr=[below, above], marker="o", markersize=5, capsize=3,
                    color=ROUND_COLOURS[number_ % len(ROUND_COLOURS)], linewidth=1.4, label=name)  # fmt: skip


def _starts(ax: Axes, sweep: SweepData, metric: str) -> None:
    """A line where the trials began, if they wrote that down and it is the same for all."""
    key = metric.removeprefix("evaluation/")
    found = {
        value
        for trial in sweep.trials
        for row in trial.evaluations
        if metric != key and number(row.get("updates")) == 0 and (value := number(row.get(key))) is not None
    }
    if len(found) == 1:
        ax.axhline(found.pop(), color=GREY, linewidth=1.0, linestyle="--", label="before training")


def _axis_of(ax: Axes, values: Sequence[float]) -> None:
    """Ticks at the values themselves; logarithmic where they span more than a factor of eight."""
    ticks = sorted(set(values))
    if not ticks or len(ticks) > 12:
        return
    if ticks[0] > 0 and ticks[-1] / ticks[0] > 8:
        ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)


def _legend(ax: Axes) -> None:
    _, labels = ax.get_legend_handles_labels()
    if any(labels):
        ax.legend(frameon=False, fontsize=8)


def _label(names: Sequence[str], values: Sequence[Any]) -> str:
    text = ", ".join(
        f"{name.split('/')[-1]}={_short(value)}" for name, value in zip(names, values, strict=True)
    )
    return one_line(text, 60).replace("$", r"\$") or "all trials"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value).rstrip("/").rpartition("/")[2] if isinstance(value, str) else str(value)


def _subtitle(sweep: SweepData) -> str:
    seeds = len({trial.seed for trial in sweep.trials})
    trials = f"{len(sweep.trials)} trials, {seeds} seed{'s' if seeds != 1 else ''}"
    return trials + ("; mean and 95 % interval over seeds" if seeds > 1 else "; no intervals with one seed")
