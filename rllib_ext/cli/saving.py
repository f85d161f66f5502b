"""Checkpoints of a run while it goes on: when, and what happens when the storage refuses one.

A save that fails costs nothing that was saved before; training goes on and the next save tries again. A run
whose saves keep failing would lose all of its work in the end, so the third failure in a row ends it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rllib_ext.llm import persistence
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.storage import StorageError

MAX_FAILURES = 3
RETRY_S = 1.0


class Saver:
    """Saves ``algorithm`` below ``run``; a checkpoint is due every ``every`` updates."""

    def __init__(self, algorithm: Any, run: RunFolder, every: int) -> None:
        self._algorithm, self._run, self._every = algorithm, run, every
        self._failures = 0
        self.newest = algorithm.counters["updates"] if any(run.checkpoints.glob("step_*")) else None
        self._due = self._next()

    def _next(self) -> int:
        return (self._algorithm.counters["updates"] // self._every + 1) * self._every

    def save_if_due(self) -> None:
        """Called after every round."""
        if self._algorithm.counters["updates"] >= self._due:
            self.save()
            self._due = self._next()

    def save(self) -> bool:
        """Whether there is a checkpoint of this very update now. ``StorageError`` at the third failure in a row."""
        updates = self._algorithm.counters["updates"]
        if self.newest == updates:
            return True
        try:
            _write(self._algorithm, self._run.checkpoints)
        except StorageError as error:
            self._failures += 1
            self._algorithm.journal.event(
                "checkpoint_failed", f"attempt {self._failures} of {MAX_FAILURES}: {error}"
            )
            if self._failures >= MAX_FAILURES:
                raise
            return False
        self._failures, self.newest = 0, updates
        return True

    def save_now(self) -> None:
        """At the end of a run there is no next save: try until it is written or has failed too often."""
        while not self.save():
            time.sleep(RETRY_S)


def _write(algorithm: Any, folder: Path) -> None:
    """A supervised stage writes its own checkpoints; an RLlib algorithm's are ``persistence``'s."""
    if hasattr(algorithm, "write_checkpoint"):
        algorithm.write_checkpoint(folder)
    else:
        persistence.save(algorithm, folder)
