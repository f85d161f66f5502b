"""The live table drawn with rich. Text that comes from outside enters as ``Text``, never as rich markup."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from rllib_ext.analysis.event_words import is_trouble
from rllib_ext.analysis.live_row import (
    LiveRow,
    age_words,
    clock_words,
    fixed,
    reward_words,
    seconds_left,
    share,
    sparkline,
    whole,
)

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.table import Table

#: Iterations whose reward the small curve shows, and events under the table.
REWARDS_KEPT = 400
EVENTS_KEPT = 5
_COLUMNS = ("updates", "reward", "KL", "win", "tok/s", "age\nmean/p95", "idle\ngen/learn", "time")


@dataclass
class LiveState:
    """What the view shows; the table fills it, the view only reads."""

    title: str
    started: float
    total_updates: float | None
    rows: deque[LiveRow]
    rewards: deque[float] = field(default_factory=lambda: deque(maxlen=REWARDS_KEPT))
    events: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))


def render(state: LiveState, now: float, shown: int) -> Group:
    """Progress, the newest ``shown`` iterations, the shape of the reward and the newest events."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(state.title, style="bold")] if state.title else []
    parts.append(_progress(state, now))
    rows = list(state.rows)[-shown:]
    parts.append(
        _table(rows, state.started) if rows else Text("waiting for the first iteration", style="dim")
    )
    if len(state.rewards) > 1:
        curve = sparkline(list(state.rewards))
        parts.append(
            Text.assemble(
                ("reward ", "dim"), f"{state.rewards[0]:.3f} ", (curve, "cyan"), f" {state.rewards[-1]:.3f}"
            )
        )
    parts += [_event(*event, state.started) for event in state.events]
    return Group(*parts)


def open_console(stream: TextIO) -> Console:
    """A console on ``stream`` that falls silent where rich's own would end the process: on a broken pipe."""
    from rich.console import Console

    class Viewer(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Viewer(file=stream, force_terminal=True, highlight=False)


def _progress(state: LiveState, now: float) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done = next((row.updates for row in reversed(state.rows) if row.updates is not None), None)
    left = seconds_left(state.rows, state.total_updates)
    if left is not None:
        left = max(0.0, left - (now - state.rows[-1].at))
    total = f"/{state.total_updates:.0f}" if state.total_updates else ""
    words = (
        f"{whole(done)}{total} updates  elapsed {clock_words(now - state.started)}  eta {clock_words(left)}"
    )
    grid = Table.grid(padding=(0, 2))
    if state.total_updates:
        grid.add_row(ProgressBar(total=state.total_updates, completed=done or 0.0, width=26), Text(words))
    else:
        grid.add_row(Text(words))
    return grid


def _table(rows: list[LiveRow], started: float) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, justify="right", vertical="bottom", no_wrap=True)
    for row in rows:
        table.add_row(
            whole(row.updates),
            reward_words(row),
            fixed(row.kl),
            share(row.win_rate),
            whole(row.tokens_per_s),
            age_words(row),
            f"{share(row.generator_idle)} / {share(row.learner_idle)}",
            clock_words(row.at - started),
            style="bold" if row is rows[-1] else "dim",
        )
    return table


def _event(at: float, event: str, detail: str, started: float) -> RenderableType:
    from rich.text import Text

    style = "yellow" if is_trouble(event) else "dim"
    return Text.assemble((f"{clock_words(at - started):>8}  ", "dim"), (event, style), f"  {detail}")
