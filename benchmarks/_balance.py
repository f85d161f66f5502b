"""A balanced setting, found by measuring: how many prompts a round and how many samples a prompt make g + w = r + u.

Overlap can gain most where both lanes take equally long, so the claim is measured there. Prompts a round is the fine
adjustment: learning costs in proportion to them, generation has a cost a step on top (an engine decodes 32 sequences
in little less time than 64). Samples a prompt is the coarse one: online DPO learns from two of them, whatever their
number. Both lanes are measured for each candidate on one worker and one learner, one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ray
import torch

from benchmarks._meter import MeteredDPO, on_workers
from benchmarks._statistics import median
from rllib_ext.llm.batch import groups_of
from rllib_ext.llm.requests import Rollout, Ticket

_TIMEOUT_S = 600.0
LEAST_LANE_S = 0.15  # shorter rounds measure the fixed costs of a round, not the overlap
BALANCED = 0.10


@dataclass(frozen=True)
class Setting:
    """A candidate and its two lanes, seconds a round."""

    prompts: int
    samples: int
    worker_lane_s: float
    driver_lane_s: float

    @property
    def imbalance(self) -> float:
        """Idle share of the lane that waits: |g + w - (r + u)| / max."""
        longest = max(self.worker_lane_s, self.driver_lane_s)
        return abs(self.worker_lane_s - self.driver_lane_s) / longest


class Calibrator:
    """Measures both lanes of an algorithm for any number of prompts and samples, without rebuilding it."""

    def __init__(self, algorithm: MeteredDPO) -> None:
        self.algorithm = algorithm
        self._round = 10**6  # far from the algorithm's own rounds
        laps = [algorithm.iterate() for _ in range(4)][1:]
        timed = ("wait_wall", "learn_wall", "publish_wall")
        rest = [lap["round_wall"] - sum(lap.get(name, 0.0) for name in timed) for lap in laps]
        self.bookkeeping_s = median(rest)

    def _generate(self, prompts: int, samples: int) -> tuple[Rollout, float]:
        algorithm = self.algorithm
        self._round += 1
        ticket = Ticket(
            round=self._round, chunk=0, samples=samples, temperature=algorithm.config.temperature, seed=self._round,
            prompts=tuple(algorithm.ledger.at(self._round * prompts + i) for i in range(prompts)),
        )  # fmt: skip
        request = algorithm.pool._workers[0].handle.rollout.remote(ticket, algorithm.publish())
        rollout = ray.get(request, timeout=_TIMEOUT_S)
        laps = [lap for worker in on_workers(algorithm, "take_laps") for lap in worker]
        return rollout, laps[-1]["wall"]

    def _learn(self, rollout: Rollout) -> float:
        algorithm = self.algorithm
        start = time.perf_counter()
        rows = algorithm.rows_of(groups_of(rollout.played, list(rollout.ticket.prompts)))
        algorithm.minibatches += 1
        algorithm.update(algorithm._batch([row for row in rows if row is not None]))
        algorithm.publish()
        return time.perf_counter() - start + self.bookkeeping_s

    def measure(self, prompts: int, samples: int, repeats: int = 3) -> Setting:
        worker, driver = [], []
        for _ in range(repeats + 1):
            rollout, generating = self._generate(prompts, samples)
            worker.append(generating)
            driver.append(self._learn(rollout))
        return Setting(prompts, samples, median(worker[1:]), median(driver[1:]))

    def search(self, prompts: Iterable[int], samples: Iterable[int], repeats: int) -> list[Setting]:
        """All candidates, the most balanced first; those with too short a lane last."""
        table = [self.measure(p, k, repeats) for k in samples for p in prompts]
        shortest = {id(s): min(s.worker_lane_s, s.driver_lane_s) < LEAST_LANE_S for s in table}
        return sorted(table, key=lambda s: (shortest[id(s)], s.imbalance))

    def thread_counts(self, setting: Setting, cores: int, repeats: int) -> dict[str, Any]:
        """Seconds of each lane with one thread and with all cores, and the faster count of each."""
        found = {}
        for threads in (1, cores):
            torch.set_num_threads(threads)
            on_workers(self.algorithm, "set_engine_threads", threads)
            found[threads] = self.measure(setting.prompts, setting.samples, repeats)
        torch.set_num_threads(1)
        return {
            "worker_lane_s": {count: s.worker_lane_s for count, s in found.items()},
            "driver_lane_s": {count: s.driver_lane_s for count, s in found.items()},
            "engine_threads": min(found, key=lambda count: found[count].worker_lane_s),
            "learner_threads": min(found, key=lambda count: found[count].driver_lane_s),
        }
