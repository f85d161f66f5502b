"""Shuffled epochs over windows: seeded, prefetched by a thread, resumed at the exact batch.

The anchors of a `WindowReader` are permuted anew for every epoch and cut into batches; a batch may lie across two epochs,
so every batch is full and every anchor comes exactly once an epoch. Permutation e is drawn from (seed, e) and the goals
of batch i from (seed, i), so the place in the stream is one number, and going on from it gives the very batches that
would have come.

The thread reads ahead of what is used. `state_dict` is the state after the batches that were handed out, not after those
that were read.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadConfig, Stalled
from rllib_ext.frames.windows import WindowReader, Windows

PATIENCE_S = 600.0  # for a batch that the thread reads; the first one may decode the whole data
LOOK_UP_S = 0.1


class WindowStream:
    """An endless iterator of `Windows`; see the module.

    reader       what is read
    batch_size   windows a batch, 1 or more
    seed         0 or more
    prefetch     batches that a thread reads ahead; 0 reads in the caller, when asked
    """

    def __init__(self, reader: WindowReader, *, batch_size: int, seed: int = 0, prefetch: int = 2) -> None:
        if batch_size < 1 or seed < 0 or prefetch < 0:
            raise BadConfig(
                f"batch_size = {batch_size} must be 1 or more, seed = {seed} and prefetch = {prefetch} 0 or more."
            )
        self.reader, self.batch_size, self.seed = reader, batch_size, seed
        self._prefetch = prefetch
        self._batches = 0  # handed out
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._reading: _Reading | None = None

    @property
    def epoch(self) -> float:
        """How often every anchor has been handed out, 2.5 in the middle of the third time."""
        return self._batches * self.batch_size / len(self.reader.anchors)

    def __iter__(self) -> Iterator[Windows]:
        return self

    def __next__(self) -> Windows:
        if not self._prefetch:
            windows = self._batch(self._batches)
        else:
            if self._reading is None:
                self._reading = _Reading(self, self._batches, self._prefetch)
            windows = self._reading.next()
        self._batches += 1
        return windows

    def state_dict(self) -> dict[str, Any]:
        """Plain values: the place in the stream, and what the stream is made of."""
        digests = [store.dataset.digest for store in self.reader.stores]
        return {"batches": self._batches, **self._made_of(), "data": digests}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the batches of ``state``. Raises BadConfig where the stream is made of something else."""
        mine = self.state_dict()
        for key in mine:
            if key != "batches" and state.get(key) != mine[key]:
                raise BadConfig(
                    f"windows cannot go on: {key} is {mine[key]!r} and was {state.get(key)!r}. Resume with the same "
                    "data and settings, or begin a new run."
                )
        self.close()
        self._batches = int(state["batches"])

    def close(self) -> None:
        """Stop the thread. The stream can be used again: it goes on where it was."""
        if self._reading is not None:
            self._reading.stop()
            self._reading = None

    def _made_of(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "horizon": self.reader.horizon,
            "goal": list(self.reader.goal) if self.reader.goal is not None else None,
            "anchors": len(self.reader.anchors),
        }

    def _batch(self, index: int) -> Windows:
        anchors, start = self.reader.anchors, index * self.batch_size
        places = np.arange(start, start + self.batch_size)
        epoch_B, place_B = np.divmod(places, len(anchors))
        chosen_B = np.empty(self.batch_size, np.int64)
        for epoch in np.unique(epoch_B):
            mine = epoch_B == epoch
            chosen_B[mine] = anchors[self._permutation(int(epoch))[place_B[mine]]]
        return self.reader.fetch(chosen_B, np.random.default_rng([self.seed, index, 1]))

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            order = np.random.default_rng([self.seed, epoch, 0]).permutation(len(self.reader.anchors))
            self._order = (epoch, order)
        return self._order[1]


class _Reading:
    """A thread that reads batches from a place on into a bounded queue, until it is stopped or fails."""

    def __init__(self, stream: WindowStream, start: int, depth: int) -> None:
        self._stream = stream
        self._ready: queue.Queue[Windows | BaseException] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(start,), name="windows", daemon=True)
        self._thread.start()

    def next(self) -> Windows:
        try:
            found = self._ready.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise Stalled(
                f"no batch of windows came for {PATIENCE_S:.0f} s. See whether the disk with the data answers."
            ) from None
        if isinstance(found, BaseException):
            self._put(found)  # the next call fails too
            raise found
        return found

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE_S)

    def _run(self, index: int) -> None:
        try:
            while not self._stopped.is_set():
                self._put(self._stream._batch(index))
                index += 1
        except BaseException as error:  # handed to the caller, who raises it
            self._put(error)

    def _put(self, item: Windows | BaseException) -> None:
        while not self._stopped.is_set():
            try:
                return self._ready.put(item, timeout=LOOK_UP_S)
            except queue.Full:
                continue
