"""Ctrl-C and SIGTERM: the first ends the run at the next safe point, the second ends it at once.

A run's state is whole between two rounds. The first signal lets the round under way end, for ``GRACE_S`` at
most; then the round is abandoned, and what it did since the last checkpoint is done again after a resume.
While nothing is under way yet (start-up) the first signal ends it directly. The second leaves without any
clean-up: Ray's processes end with their parent, and files are only ever replaced or appended to whole.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from rllib_ext.errors import RllibExtError

GRACE_S = 15.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(RllibExtError):
    """The run was asked to stop and can be resumed."""

    exit_code = 5


class RoundAbandoned(KeyboardInterrupt):
    """Start-up was interrupted, or a round did not end within the grace; no ``except Exception`` holds it up."""


class Interrupts:
    """The signals of one run; a context manager that gives the old handlers back.

    ``requested`` says that somebody asked to stop. Signals reach the main thread only; where the run is
    elsewhere (a notebook's worker thread) they stay with whoever owns them.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.requested = False
        self._grace_s = grace_s
        self._starting, self._in_round, self._expired = True, False, False
        self._timer: threading.Timer | None = None
        self._old: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.getsignal(number) for number in SIGNALS}
            self.rearm()
        return self

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def rearm(self) -> None:
        """Take the signals (again, after Ray has taken them at its start)."""
        for number in self._old:
            signal.signal(number, self._handle)

    def started(self) -> None:
        """Start-up is over: from now on there are updates to keep."""
        self.rearm()
        self._starting = False

    @contextlib.contextmanager
    def round(self) -> Iterator[None]:
        """Around work that may be abandoned in its midst when the grace is over. Saving is not."""
        self._in_round = True
        try:
            yield
        finally:
            self._in_round = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._expired:
            self._expired = False
            if self._in_round:
                raise RoundAbandoned
            return
        if self.requested:
            _leave_now()
        self.requested = True
        if self._starting:
            _say("stopping before the first round")
            raise RoundAbandoned
        _say(
            f"stopping: the round under way ends first ({self._grace_s:g} s at most); again to leave at once"
        )
        self._timer = threading.Timer(self._grace_s, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        if self._in_round:
            self._expired = True
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _leave_now() -> None:
    if sys.stderr.isatty():
        os.write(2, SHOW_CURSOR)
    _say("left at once; the last checkpoint is whole, rllib-ext resume goes on from it")
    os._exit(Interrupted.exit_code)


def _say(text: str) -> None:
    """Unbuffered, because a signal may have come in the midst of a print."""
    with contextlib.suppress(OSError):
        os.write(2, f"rllib-ext: {text}\n".encode())
