"""One writer per run folder.

``run.lock`` names its owner (process, machine, start of the process, a token) and is touched at every
heartbeat. A second process refuses while the owner lives. The lock of a dead owner is taken over:

* at once, where the owner ran on this machine and its process is gone (``process_identity``);
* after two missed heartbeats elsewhere, and for a process that is alive but no longer beats.

An owner that was suspended for so long finds the other's token at its next beat or write, and stops with
``RunLocked`` instead of writing between the other's lines. Taking the lock is one critical section under
``flock``; ``flock`` alone would not do, because it says neither who holds it nor works on every network file
system.

Left out: clocks that differ by more than a heartbeat between two machines on one network file system.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rllib_ext.errors import RllibExtError
from rllib_ext.runtime.process_identity import heartbeat_of, is_dead, this_process
from rllib_ext.runtime.storage import replace, storage_errors

LOCK = "run.lock"
_GUARD = ".run.lock.guard"
_GUARD_DEADLINE_S = 10.0

logger = logging.getLogger(__name__)


class RunLocked(RllibExtError):
    """The run folder belongs to another live process."""

    exit_code = 2


class RunLock:
    """The lock of one folder as one owner sees it. ``heartbeat_s``: seconds between two touches."""

    def __init__(self, folder: Path, *, heartbeat_s: float = 10.0) -> None:
        self._folder, self._heartbeat_s = folder, heartbeat_s
        self._token: str | None = None
        self._pid = 0
        self._beaten = 0.0
        self._lost = False
        self._stop = threading.Event()

    def acquire(self) -> None:
        """Takes the lock or raises ``RunLocked``; harmless for the one who has it."""
        if self._token is not None and self._pid == os.getpid():
            return self.check()
        token = uuid.uuid4().hex
        with storage_errors(self._folder, "locking the run folder"), self._guard():
            owner, age = self._read()
            if owner is not None and not is_dead(owner, age):
                raise RunLocked(
                    f"run folder {self._folder} is in use by process {owner.get('pid')} "
                    f"on {owner.get('host')} (last sign of life {age:.0f} s ago). "
                    "Stop that process or choose another folder; "
                    f"a dead owner's lock is taken over after {2 * heartbeat_of(owner):.0f} s."
                )
            if owner is not None:
                logger.warning("took over the lock of %s from process %s", self._folder, owner.get("pid"))
            replace(
                self._folder / LOCK,
                json.dumps({**this_process(), "heartbeat_s": self._heartbeat_s, "token": token}).encode(),
            )
        self._token, self._pid, self._lost = token, os.getpid(), False
        self._beaten, self._stop = time.monotonic(), threading.Event()
        threading.Thread(
            target=self._beat_until, args=(self._stop, token), daemon=True, name="run-lock"
        ).start()

    def check(self) -> None:
        """Raises ``RunLocked`` when the lock was taken over; nothing where no lock was ever taken."""
        if self._token is None or self._pid != os.getpid():
            return
        if not self._lost and time.monotonic() - self._beaten > 1.5 * self._heartbeat_s:
            self._beat(self._token)
        if self._lost:
            raise RunLocked(
                f"run folder {self._folder} was taken over by another process after this one stopped giving "
                "signs of life. Stop this run; the other one goes on from the last checkpoint."
            )

    def release(self) -> None:
        """Gives the lock back if it is still ours; a forked child leaves its parent's alone."""
        self._stop.set()
        if self._token is None or self._pid != os.getpid():
            return
        token, self._token = self._token, None
        with contextlib.suppress(OSError), self._guard():
            owner, _ = self._read()
            if owner is not None and owner.get("token") == token:
                (self._folder / LOCK).unlink()

    def _beat_until(self, stop: threading.Event, token: str) -> None:
        while not stop.wait(self._heartbeat_s) and not self._lost:
            self._beat(token)

    def _beat(self, token: str) -> None:
        """One sign of life. Storage that is away for a moment is logged and does not lose the lock."""
        try:
            owner, _ = self._read()
            if owner is None or owner.get("token") != token:
                if self._token == token:
                    self._lost = True
                    logger.error("the lock of %s was taken over or removed", self._folder)
                return
            os.utime(self._folder / LOCK)
            self._beaten = time.monotonic()
        except OSError as error:
            logger.warning("no heartbeat in %s: %s", self._folder, error)

    def _read(self) -> tuple[dict[str, Any] | None, float]:
        """The owner and the seconds since its last beat. An unreadable lock has an unknown owner."""
        path = self._folder / LOCK
        try:
            raw, age = path.read_bytes(), time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return None, 0.0
        try:
            owner = json.loads(raw)
        except ValueError:
            owner = None
        return (owner if isinstance(owner, dict) else {}), max(age, 0.0)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        handle = os.open(self._folder / _GUARD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        deadline = time.monotonic() + _GUARD_DEADLINE_S
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
            yield
        finally:
            os.close(handle)
