"""Where a round's time goes: wall and process CPU seconds of the worker and of the driver, phase by phase.

A round has two lanes. The worker's: load weights (w), generate (g), score (r). The driver's: snapshot and put weights,
build rows, learn (u), keep the books. In sync mode a round is the sum of both, in async mode the longer of the two.
The classes here are the package's own with a clock around their methods; nothing else is changed.
"""

from __future__ import annotations

import contextlib
import cProfile
import os
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks._profiles import profile_text
from rllib_ext.llm.algorithm import LLMAlgorithm
from rllib_ext.llm.env_runner import VLLMEnvRunner
from rllib_ext.llm.requests import Rollout, Ticket
from rllib_ext.llm.weights import PublishedWeights
from rllib_ext.online_dpo import AsyncOnlineDPO
from rllib_ext.ppo_llm import AsyncPPO, AsyncPPOConfig


class MeteredRunner(VLLMEnvRunner):
    """A rollout worker that notes, for every training request, when it worked and how much CPU that took."""

    def __init__(self, **kwargs: Any) -> None:
        self.laps: list[dict[str, float]] = []
        self._load_cpu = 0.0
        super().__init__(**kwargs)

    def rollout(self, ticket: Ticket, weights: PublishedWeights, reward_worker: Any = None) -> Rollout:
        start, cpu, self._load_cpu = time.time(), time.process_time(), 0.0
        rollout = super().rollout(ticket, weights, reward_worker)
        lap = {"start": start, "wall": time.time() - start, "cpu": time.process_time() - cpu}
        lap["load_cpu"] = self._load_cpu
        for role, begin, end in rollout.spans:
            lap[role] = lap.get(role, 0.0) + end - begin
        if ticket.split == "train":
            self.laps.append({"round": ticket.round, "tokens": rollout.tokens, **lap})
        return rollout

    def _load(self, *arguments: Any) -> None:
        cpu = time.thread_time()  # in the engine's thread
        super()._load(*arguments)
        self._load_cpu += time.thread_time() - cpu

    def take_laps(self) -> list[dict[str, float]]:
        laps, self.laps = self.laps, []
        return laps

    def set_engine_threads(self, threads: int) -> None:
        """vLLM replaces ``torch.set_num_threads`` by a warning; what lies below it still works."""
        self._thread.submit(torch._C.set_num_threads, threads).result(timeout=600)

    def process_id(self) -> int:
        return os.getpid()

    def start_profile(self) -> None:
        self._profile = cProfile.Profile()
        self._thread.submit(self._profile.enable).result(timeout=600)

    def stop_profile(self) -> str:
        self._thread.submit(self._profile.disable).result(timeout=600)
        return profile_text(self._profile)


class Metered(LLMAlgorithm):
    """A language-model algorithm that adds up the seconds of each of its phases in ``lap``."""

    def setup(self, config: Any) -> None:
        self.lap: dict[str, float] = {}
        super().setup(config)

    @contextlib.contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            for name, spent in (("wall", time.perf_counter() - wall), ("cpu", time.process_time() - cpu)):
                key = f"{phase}_{name}"
                self.lap[key] = self.lap.get(key, 0.0) + spent

    def publish(self) -> PublishedWeights:
        with self.clock("publish"):
            return super().publish()

    def take_round(self) -> list[Rollout]:
        with self.clock("wait"):
            return super().take_round()

    def learn(self, rows: list[Any]) -> None:
        with self.clock("learn"):
            super().learn(rows)

    def iterate(self) -> dict[str, float]:
        """One ``train()`` and its lap."""
        self.lap = {}
        with self.clock("round"):
            self.train()
        return dict(self.lap)


class MeteredDPO(Metered, AsyncOnlineDPO):
    pass


class MeteredPPO(Metered, AsyncPPO):
    pass


def metered_config(config_class: type) -> Any:
    """A config whose algorithm and workers are metered."""
    metered = MeteredPPO if issubclass(config_class, AsyncPPOConfig) else MeteredDPO
    return config_class(algo_class=metered).env_runners(env_runner_cls=MeteredRunner)


def on_workers(algorithm: Any, method: str, *arguments: Any) -> list[Any]:
    """Call a method of every rollout worker."""
    return algorithm.env_runner_group.foreach_env_runner(
        lambda runner: getattr(runner, method)(*arguments), local_env_runner=False, timeout_seconds=600
    )
