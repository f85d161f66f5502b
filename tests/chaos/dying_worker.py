"""A rollout worker that kills its own process at a phase of a weight publication.

Imported by the actors' processes. ``env_config["deaths"]``: folder (a note a death, so that each happens once) and
plan, version -> phase.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rllib_ext.llm.env_runner import VLLMEnvRunner
from rllib_ext.llm.weights import PublishedWeights, WeightSnapshot, unpack

PHASES = ("announced", "fetched", "half loaded", "loaded", "played")


class DyingWorker(VLLMEnvRunner):
    """announced: before the snapshot is fetched. fetched: verified, nothing loaded. half loaded: the first half of the
    tensors is in the engine. loaded: before a prompt is played. played: before the answer is sent.
    """

    def _dies_at(self, phase: str, version: int) -> bool:
        deaths = self.config.env_config["deaths"]
        return (
            deaths["plan"].get(str(version)) == phase and not (Path(deaths["folder"]) / str(version)).exists()
        )

    def _die_at(self, phase: str, version: int) -> None:
        if self._dies_at(phase, version):
            (Path(self.config.env_config["deaths"]["folder"]) / str(version)).write_text(phase)
            os.kill(os.getpid(), signal.SIGKILL)

    def _load(self, engine: Any, weights: PublishedWeights) -> None:
        def load_weights(snapshot: WeightSnapshot) -> None:
            self._die_at("fetched", snapshot.version)
            if self._dies_at("half loaded", snapshot.version):
                tensors = list(unpack(snapshot).items())
                engine.model.load_state_dict(dict(tensors[: len(tensors) // 2]), strict=False)
                self._die_at("half loaded", snapshot.version)
            engine.load_weights(snapshot)

        self._die_at("announced", weights.version)
        super()._load(SimpleNamespace(load_weights=load_weights), weights)
        self._die_at("loaded", weights.version)

    def rollout(self, ticket: Any, weights: PublishedWeights, reward_worker: Any = None) -> Any:
        answer = super().rollout(ticket, weights, reward_worker)
        self._die_at("played", weights.version)
        return answer
