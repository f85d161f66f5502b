"""The curve of cooperation and the scatter of both losses: what pairs of agents made of a channel, by their bias.

Left, the sum of both losses over the bias: between the bias (the least there can be) and 180 degrees (silence). Right,
each run's two losses: below both lines both gain (communication), below one of them one does (manipulation).

Source: Noukhovitch et al. 2021 (arXiv 2101.10276), the curve of its section 4 and the scatter of all settings tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rllib_ext.analysis.estimators import mean_interval
from rllib_ext.analysis.figures import GREY, ROUND_COLOURS, heading, name_axes, new_figure
from rllib_ext.analysis.rows import number
from rllib_ext.analysis.sweep_data import SweepData, TrialData
from rllib_ext.analysis.tables import Table
from rllib_ext.errors import BadData
from rllib_ext.functional.games import verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, TITLE = "cooperation", "The curve of cooperation"
READING = "Left: lower is better for both together. Right: below both lines is communication, below one manipulation."
LAST = 10  # results at the end of a run that its score is the mean of (specification B.2)
SILENT, MOST = 90.0, 180.0
_BIAS, _CHANNEL = "env_config/bias", "env_config/channel"
_LOSSES = ("protocol/sender_loss", "protocol/receiver_loss")


@dataclass(frozen=True)
class Pair:
    """One run: who could say what under which bias (degrees), and both losses at its end (degrees)."""

    channel: str
    bias: float
    sender_loss: float
    receiver_loss: float

    @property
    def loss_sum(self) -> float:
        return self.sender_loss + self.receiver_loss


def pairs_of(sweep: SweepData) -> list[Pair]:
    """A pair a trial of the circular game that has a result. Raises BadData where there is none."""
    found = [pair for trial in sweep.trials if (pair := _pair(trial, sweep.step)) is not None]
    if not found:
        raise BadData(
            f"no trial of {sweep.folder} has {_LOSSES[0]}: it holds no runs of EmergentComm on SenderReceiver"
        )
    return found


def _pair(trial: TrialData, step: str) -> Pair | None:
    ends = [[value for _, value in trial.series(name, step)[-LAST:]] for name in _LOSSES]
    if not all(ends):
        return None
    bias = number(trial.settings.get(_BIAS)) or 0.0
    means = (sum(values) / len(values) for values in ends)
    return Pair(str(trial.settings.get(_CHANNEL) or "discrete"), bias, *means)


def cooperation_table(pairs: Sequence[Pair]) -> Table:
    """A row a channel and bias: means with Student's intervals over runs, and what the mean losses are called."""
    rows = []
    for (channel, bias), runs in _grouped(pairs).items():
        total = mean_interval([run.loss_sum for run in runs])
        sender, receiver = (
            sum(getattr(run, name) for run in runs) / len(runs) for name in ("sender_loss", "receiver_loss")
        )
        kind = verdict(sender, receiver)
        rows.append((channel, bias, total.value, total.low, total.high, sender, receiver, kind, len(runs)))
    columns = ("channel", "bias", "loss_sum", "low", "high", "sender_loss", "receiver_loss", "verdict", "n")
    return Table(NAME, columns, rows)


def cooperation_figure(
    pairs: Sequence[Pair], published: Mapping[str, Mapping[float, float]] | None = None
) -> Figure:
    """See the module. published: channel -> bias -> sum of losses, drawn as crosses."""
    drawn, (left, right) = new_figure(11.0, 4.6, columns=2, left=0.9, top=1.0)
    left.plot([0, MOST], [0, MOST], color=GREY, linewidth=0.8, linestyle="--", label="least possible")
    left.axhline(MOST, color=GREY, linewidth=0.8, label="silence")
    channels = sorted({pair.channel for pair in pairs})
    for channel, colour in zip(channels, ROUND_COLOURS, strict=False):
        mine = [pair for pair in pairs if pair.channel == channel]
        _curve(left, mine, channel, colour)
        if of := (published or {}).get(channel):
            left.plot(list(of), list(of.values()), "x", color=colour, label=f"{channel}, published")
        for pair in mine:
            right.scatter(
                pair.sender_loss, pair.receiver_loss, s=14, color=colour, alpha=0.3 + 0.7 * pair.bias / MOST
            )
    for draw in (right.axhline, right.axvline):
        draw(SILENT, color=GREY, linewidth=0.8)
    left.legend(frameon=False, fontsize=8)
    name_axes(left, "bias, degrees", "sum of both losses, degrees")
    name_axes(right, "sender's loss, degrees (stronger: larger bias)", "receiver's loss, degrees")
    heading(drawn, TITLE, f"{len(pairs)} runs; means and 95 % intervals")
    return drawn


def _curve(axes: Axes, pairs: Sequence[Pair], channel: str, colour: str) -> None:
    groups = {
        bias: mean_interval([run.loss_sum for run in runs]) for (_, bias), runs in _grouped(pairs).items()
    }
    means = [estimate.value for estimate in groups.values()]
    below = [0.0 if e.low is None else e.value - e.low for e in groups.values()]
    above = [0.0 if e.high is None else e.high - e.value for e in groups.values()]
    axes.errorbar(
        list(groups), means, yerr=[below, above], marker="o", capsize=3, color=colour, label=channel
    )


def _grouped(pairs: Sequence[Pair]) -> dict[tuple[str, float], list[Pair]]:
    found: dict[tuple[str, float], list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.channel, pair.bias)):
        found.setdefault((pair.channel, pair.bias), []).append(pair)
    return found
