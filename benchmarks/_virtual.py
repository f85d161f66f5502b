"""Virtual devices: generation, weight loading and learning take exactly as long as they are told to, by sleeping.

Sleep needs no CPU, so the scheduler can be checked on a machine that is busy: what is left to measure is whether the
two lanes overlap. A trivial computation runs inside each phase (a model of a few thousand parameters learns, the
engine draws random tokens); the phase then sleeps until its time is up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._meter import MeteredDPO, MeteredRunner, on_workers
from benchmarks._segments import Side, alternate, of, pair_ratios
from benchmarks._statistics import bootstrap_interval, median
from benchmarks._tasks import WORDS, register_words, words_model
from rllib_ext import AsyncOnlineDPOConfig
from rllib_ext.functional.staleness import timeline_ideal
from rllib_ext.llm.engine import Generated, Sampling
from rllib_ext.llm.weights import WeightSnapshot

VOCABULARY = 64
TOLERANCE = 0.10  # of the round time, against max(g + w, r + u)
LEAST_S = 0.1  # shorter phases are reported, not judged
BALANCED_SPEEDUP = 1.7


@dataclass(frozen=True)
class Phases:
    """Seconds: g generation, u update, w weight loading."""

    g: float
    u: float
    w: float


SETTINGS = (Phases(0.2, 0.2, 0.01), Phases(0.2, 0.1, 0.01), Phases(0.1, 0.2, 0.01), Phases(0.1, 0.1, 0.01))


def _sleep_until(deadline: float) -> None:
    time.sleep(max(0.0, deadline - time.perf_counter()))


class SleepingEngine:
    """Random tokens after ``generate_s`` seconds; new weights are taken in ``load_s`` and ignored."""

    name = "sleeping"

    def __init__(self) -> None:
        self.generate_s = self.load_s = 0.0

    def load_weights(self, snapshot: WeightSnapshot) -> None:
        time.sleep(self.load_s)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[Generated]]:
        deadline = time.perf_counter() + self.generate_s
        draws = np.random.default_rng(sampling.seed)
        shape = (len(prompts), sampling.samples, sampling.max_new_tokens)
        tokens = draws.integers(VOCABULARY - 2, size=shape, dtype=np.int32)
        logps = np.full(sampling.max_new_tokens, -np.log(VOCABULARY), np.float32)
        results = [[Generated(row, logps, False) for row in rows] for rows in tokens]
        _sleep_until(deadline)
        return results

    def close(self) -> None:
        pass


class VirtualRunner(MeteredRunner):
    """A rollout worker on a virtual device; the engine that its config names stands by."""

    def __init__(self, **kwargs: Any) -> None:
        self._sleeping = SleepingEngine()
        super().__init__(**kwargs)

    @property
    def engine(self) -> Any:
        return self._sleeping

    def set_times(self, generate_s: float, load_s: float) -> None:
        self._sleeping.generate_s, self._sleeping.load_s = generate_s, load_s


class VirtualDPO(MeteredDPO):
    """A learner on a virtual device: an update takes ``learn_s``."""

    learn_s = 0.0

    def learn(self, rows: list[Any]) -> None:
        deadline = time.perf_counter() + self.learn_s
        super().learn(rows)
        with self.clock("learn"):
            _sleep_until(deadline)


def build(mode: str, total_updates: int) -> VirtualDPO:
    register_words()
    model = words_model(vocabulary=VOCABULARY, hidden=32, layers=1, heads=1, max_length=32)
    config = (
        AsyncOnlineDPOConfig(algo_class=VirtualDPO)
        .environment(WORDS, env_config={"prompt_tokens": 8, "vocabulary": VOCABULARY, "count": 4096})
        .env_runners(env_runner_cls=VirtualRunner)
        .debugging(seed=0)
        .training(
            model=model, mode=mode, engine="hf", max_prompt_tokens=8, max_new_tokens=4, missing_eos="keep",
            prompts_per_minibatch=4, total_updates=total_updates, lr=1e-4, learner_threads=1, engine_threads=1,
            logp_probe=0,
        )
        .evaluation(evaluation_interval=None)
    )  # fmt: skip
    return config.build_algo()


def judge(phases: Phases, segments: list[Any]) -> dict[str, Any]:
    """One row of the table: measured and ideal round times, and whether they meet the gate."""
    ideal = timeline_ideal(phases.g, phases.w, 0.0, phases.u)
    sync_s = median([segment.round_s for segment in of(segments, "sync")])
    async_s = median([segment.round_s for segment in of(segments, "async")])
    ratios = pair_ratios(segments, "sync", "async")
    excess = async_s / ideal.async_s - 1
    judged = min(phases.g, phases.u) >= LEAST_S
    interval = bootstrap_interval(ratios)
    fast = median(ratios) >= BALANCED_SPEEDUP and interval[0] <= 2.0  # two lanes cannot give more than 2
    passed = excess <= TOLERANCE and (phases.g != phases.u or fast)
    return {
        "g_s": phases.g, "u_s": phases.u, "w_s": phases.w, "sync_s": sync_s, "async_s": async_s,
        "ideal_async_s": ideal.async_s, "excess": excess, "speedup": median(ratios),
        "speedup_interval": interval, "ideal_speedup": ideal.ratio,
        "passed": passed if judged else None,
    }  # fmt: skip


def run_virtual(pairs: int, rounds: int, settings: Sequence[Phases] = SETTINGS) -> list[dict[str, Any]]:
    """The scheduler check of spec D.4 for every setting."""
    updates = len(settings) * pairs * (rounds + 1) + 2
    sides = [Side(mode, build(mode, updates)) for mode in ("sync", "async")]
    table = []
    try:
        for side in sides:
            side.algorithm.iterate()
        for phases in settings:
            for side in sides:
                side.algorithm.learn_s = phases.u
                on_workers(side.algorithm, "set_times", phases.g, phases.w)
            table.append(judge(phases, alternate(sides, pairs, rounds)))
    finally:
        for side in sides:
            side.algorithm.stop()
    return table
