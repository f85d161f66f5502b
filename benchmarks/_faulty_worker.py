"""A rollout worker that comes to harm when the driver has armed a fault: imported by the actors' processes.

``env_config["faults"]`` is a folder. The driver puts an empty file ``armed-<number>-<fault>`` there; the first worker for
whom the fault can happen renames it (so that each happens once), and writes into it when it happened and to whom.

    killed      SIGKILL at a random instant between the request and its answer
    dropped     the work is done and its answer never sent
    stalled     loading the weights does not end
    corrupted   a bit of the weights is flipped before they are loaded. The worker's own check of what arrives is
                skipped, so that the digest which it echoes is all that can tell
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from rllib_ext.llm.env_runner import VLLMEnvRunner
from rllib_ext.llm.requests import Rollout, Ticket
from rllib_ext.llm.weights import PublishedWeights, WeightSnapshot, digest_of

FAULTS = ("killed", "dropped", "stalled", "corrupted")
_FOR_EVER_S = 3600.0  # the driver ends the process long before
_INSTANTS_S = 0.1  # a request takes about so long
_MANTISSA_BITS = 23  # a flipped exponent could end the engine instead: that would be found without a digest


class FaultyWorker(VLLMEnvRunner):
    """Harm comes only to a worker that has answered before (its engine runs and its deadline counts), and only once to a
    process: the driver has given it up after that, and what happens to it in its last moments nobody waits for.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._ticket: Ticket | None = None
        self._answered, self._harmed = 0, False
        super().__init__(**kwargs)

    def rollout(self, ticket: Ticket, weights: PublishedWeights, reward_worker: Any = None) -> Rollout:
        self._ticket = ticket
        dies, falls_silent = self._claim("killed"), self._claim("dropped")
        if dies:
            threading.Timer(random.Random(dies.name).uniform(0.0, _INSTANTS_S), self._die, [dies]).start()
        answer = super().rollout(ticket, weights, reward_worker)
        if falls_silent:
            self._note(falls_silent)
        if dies or falls_silent:
            time.sleep(_FOR_EVER_S)
        self._answered += 1
        return answer

    def _load(self, engine: Any, weights: PublishedWeights) -> None:
        if stalled := self._claim("stalled"):
            self._note(stalled)
            time.sleep(_FOR_EVER_S)
        if corrupted := self._claim("corrupted"):
            snapshot = flipped(ray.get(weights.ref[0], timeout=60.0), corrupted.name)
            self._note(corrupted)
            engine.load_weights(snapshot)
            self.version, self.digest = snapshot.version, digest_of(snapshot.arrays)
            return
        super()._load(engine, weights)

    def _claim(self, fault: str) -> Path | None:
        """The armed fault of this kind, if it is for this request."""
        if not self._answered or self._harmed or self._ticket is None or self._ticket.attempt:
            return None
        for armed in Path(self.config.env_config["faults"]).glob(f"armed-*-{fault}"):
            mine = armed.with_name(armed.name.replace("armed", "happened"))
            try:
                armed.rename(mine)
            except FileNotFoundError:  # the other worker was faster
                continue
            self._harmed = True
            return mine
        return None

    def _note(self, happened: Path) -> None:
        happened.write_text(json.dumps({"time": time.time(), "worker": self.worker_index}))

    def _die(self, happened: Path) -> None:
        self._note(happened)
        os.kill(os.getpid(), signal.SIGKILL)


def flipped(snapshot: WeightSnapshot, seed: str) -> WeightSnapshot:
    """A copy with one bit of one weight changed; float32 weights."""
    draw = random.Random(seed)
    name = draw.choice(sorted(snapshot.arrays))
    array = snapshot.arrays[name].copy()
    words = array.reshape(-1).view(np.uint32)
    words[draw.randrange(words.size)] ^= np.uint32(1 << draw.randrange(_MANTISSA_BITS))
    return replace(snapshot, arrays={**snapshot.arrays, name: array})
