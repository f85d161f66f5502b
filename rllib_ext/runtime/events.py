"""What went wrong in a run and was handled, and what else happened: ``events.jsonl``, part of the result.

A record is ``{"time": unix seconds, "event": kind, "detail": text, ...}``. Kinds in use: ``worker_died``,
``worker_replaced``, ``prompts_requeued``, ``weight_digest_mismatch``, ``nonfinite_update_skipped``,
``reward_failure``, ``checkpoint_saved``, ``checkpoint_failed``. Other kinds are welcome; they are counted
alike.

The log must never be what ends a run: the disk that made a checkpoint fail also refuses the record of it. An
event that cannot be written is logged, counted in ``unwritten``, and still counted by its kind.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Any

from rllib_ext.errors import BadData
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.storage import StorageError

EVENTS = "events.jsonl"
MAX_DETAIL = 4000

logger = logging.getLogger(__name__)


class Events:
    """The writer of a run's events; a resumed run goes on counting where it was."""

    def __init__(self, run: RunFolder) -> None:
        self._run, self._mutex = run, threading.Lock()
        self._counts = Counter(str(record.get("event")) for record in run.read_jsonl(EVENTS))
        self.unwritten = 0

    def emit(self, event: str, detail: str = "", **fields: Any) -> None:
        """Records one event now. A detail above ``MAX_DETAIL`` characters is cut, visibly."""
        reserved = sorted({"time", "event", "detail"} & set(fields))
        if reserved or not event:
            raise BadData(f"event {event!r} has the reserved fields {reserved} or no name. Rename them.")
        if len(detail) > MAX_DETAIL:
            detail = f"{detail[:MAX_DETAIL]} ... ({len(detail) - MAX_DETAIL} more characters)"
        record = {"time": time.time(), "event": event, "detail": detail, **fields}
        with self._mutex:
            self._counts[event] += 1
            try:
                self._run.append_jsonl(EVENTS, record)
            except StorageError as error:
                self.unwritten += 1
                logger.error("event %s (%s) was not written: %s", event, detail, error)

    def count(self, event: str) -> int:
        """How often an event of this kind happened in the run, earlier sessions included."""
        with self._mutex:
            return self._counts[event]

    def counts(self) -> dict[str, int]:
        """All kinds that happened, by name."""
        with self._mutex:
            return dict(sorted(self._counts.items()))
