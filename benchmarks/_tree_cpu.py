"""CPU seconds of this process and of all that descend from it while they live, ended ones included.

A sweep starts and ends processes all the time, and Ray's workers are waited for by Ray's own daemon, so that no counter
of the driver holds their seconds. The tree is therefore read twice a second, and the last reading of every process that
has ended is kept: what it used in its last half second is missed. Processes are told apart by id and start.
"""

from __future__ import annotations

import threading

import psutil

_EVERY_S = 0.5


class TreeCpu:
    """Counts from its making on; ``stop`` says how many seconds it were."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._last: dict[tuple[int, float], float] = {}
        self._read()
        self._before = sum(self._last.values())
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for process in [self._own, *self._own.children(recursive=True)]:
            try:
                times = process.cpu_times()
                self._last[process.pid, process.create_time()] = times.user + times.system
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue

    def _watch(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            self._read()

    def stop(self) -> float:
        self._stopped.set()
        self._thread.join(10.0)
        self._read()
        return sum(self._last.values()) - self._before
