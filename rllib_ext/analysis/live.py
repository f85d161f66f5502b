"""What a person watches while a run goes on: a live table on a terminal, a line an iteration elsewhere.

Feed it every result dict of RLlib; whatever a result lacks is shown as "-". It is written to standard error,
so that what a command prints as its answer stays alone on standard output. A viewer that goes away (a closed
pipe, a closed terminal) ends the display and never the training.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from rllib_ext.analysis.event_words import detail_of
from rllib_ext.analysis.live_row import RATE_WINDOW, plain_line, read_row, seconds_left
from rllib_ext.analysis.live_view import LiveState, render
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.rows import number

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live


class LiveTable:
    """A live view of one run; a context manager.

    >>> with LiveTable(total_updates=256, title="AsyncOnlineDPO on Docstrings") as table:
    ...     for _ in range(64):
    ...         table.update(algorithm.train())

    Args: total_updates: optimizer updates of the whole run, for the bar and the time left; taken from the
    result's ``config`` where it is not given. title: what is being trained. stream: where to write; standard
    error by default. plain: True for lines, False for the table, None to choose: the table needs a terminal
    that shows UTF-8. rows: iterations that the table keeps in view. events_file: the run's ``events.jsonl``;
    what is appended to it from now on is shown as it comes, for runs whose events happen in another process.
    clock: seconds that only ever grow.
    """

    def __init__(
        self,
        *,
        total_updates: float | None = None,
        title: str = "",
        stream: TextIO | None = None,
        plain: bool | None = None,
        rows: int = 8,
        events_file: str | Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._plain = not _is_rich(self._stream) if plain is None else plain
        self._shown = rows
        self._clock = clock
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._gone = False
        kept = deque(maxlen=max(rows, RATE_WINDOW))
        self._state = LiveState(one_line(title, 60), clock(), number(total_updates), kept)
        self._events_file = None if events_file is None else Path(events_file)
        self._events_read = _size(self._events_file)

    def __enter__(self) -> LiveTable:
        if not self._plain and find_spec("rich") is None:
            self._plain = True
            self._show("rich is not installed, so progress comes as lines: pip install rich")
        if not self._plain:
            self._guarded(self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._follow_events()
        if self._live is not None:
            self._guarded(self._live.stop)
            self._live = None

    def update(self, result: Mapping[str, Any]) -> None:
        """Show one more iteration."""
        self._follow_events()
        now = self._clock()
        with self._lock:
            state = self._state
            if state.total_updates is None and isinstance(config := result.get("config"), Mapping):
                state.total_updates = number(config.get("total_updates"))
            row = read_row(result, now, state.rows[-1] if state.rows else None)
            state.rows.append(row)
            if row.reward is not None:
                state.rewards.append(row.reward)
            left = seconds_left(state.rows, state.total_updates)
            line = plain_line(row, state.total_updates, now - state.started, left)
        self._show(line)

    def event(self, event: str, detail: str = "") -> None:
        """Show something that happened beside the iterations, such as a worker's death."""
        event, detail = one_line(event, 60), one_line(detail, 160)
        with self._lock:
            self._state.events.append((self._clock(), event, detail))
        self._show(f"event {event}: {detail}" if detail else f"event {event}")

    def _show(self, line: str) -> None:
        if self._live is not None:
            self._guarded(self._live.refresh)
        else:
            self._guarded(lambda: self._print(line))

    def _print(self, line: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        print(line.encode(encoding, "replace").decode(encoding), file=self._stream, flush=True)

    def _start(self) -> None:
        from rich.live import Live

        from rllib_ext.analysis.live_view import open_console

        console = open_console(self._stream)
        # Standard output is left alone where it is a pipe: it carries the command's answer.
        live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=2,
            redirect_stdout=sys.stdout.isatty(),
        )
        live.start()
        self._live = live

    def _render(self) -> Group:
        with self._lock:
            return render(self._state, self._clock(), self._shown)

    def _guarded(self, write: Callable[[], Any]) -> None:
        """Write, unless the viewer is gone: a broken pipe or closed stream ends the display, not the run."""
        if self._gone:
            return
        try:
            write()
        except OSError:
            self._gone = True
        except ValueError:
            if not getattr(self._stream, "closed", False):
                raise
            self._gone = True

    def _follow_events(self) -> None:
        """Show the complete lines that were appended to the event log; half a line waits for its end."""
        if self._events_file is None:
            return
        try:
            with self._events_file.open("rb") as file:
                file.seek(self._events_read)
                fresh = file.read()
        except OSError:
            return
        complete = fresh[: fresh.rfind(b"\n") + 1]
        self._events_read += len(complete)
        for line in complete.splitlines():
            try:
                row = json.loads(line.decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                self.event(str(row.get("event", "event")), detail_of(row))


def _is_rich(stream: TextIO) -> bool:
    """Whether the stream is a terminal that can show the table."""
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    try:
        terminal = stream.isatty()
    except (AttributeError, ValueError):
        return False
    return terminal and encoding == "utf8" and os.environ.get("TERM", "") != "dumb"


def _size(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_size
    except OSError:
        return 0
