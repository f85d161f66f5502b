"""Alternating segments of a few rounds: A, B, A, B, ... in one process tree, one side active at a time.

A segment begins with one round that is not counted: it fills the pipeline that the pause before has emptied (async) and
the caches that the other side has used. What an asynchronous side still generates at the end of its segment is waited
for outside the clock, so that it does not run into the other side's time.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
import torch

from benchmarks._load import Reading, reasons_against
from benchmarks._meter import Metered, on_workers
from benchmarks._statistics import median

_DRAIN_TIMEOUT_S = 300.0


@dataclass
class Side:
    """One of the things compared: its name, its algorithm and the threads of the learner in the driver's process."""

    name: str
    algorithm: Metered
    learner_threads: int = 1


@dataclass
class Segment:
    """What one side did in one pair. rounds: driver laps. worker: worker laps within the same time."""

    side: str
    pair: int
    rounds: list[dict[str, float]]
    worker: list[dict[str, float]]
    foreign_cores: float
    invalid: list[str] = field(default_factory=list)

    def mean(self, name: str) -> float:
        laps = self.worker if name.startswith("worker_") else self.rounds
        values = [lap.get(name.removeprefix("worker_"), 0.0) for lap in laps]
        return sum(values) / max(1, len(values))

    @property
    def round_s(self) -> float:
        return self.mean("round_wall")

    @property
    def worker_lane_s(self) -> float:
        """Load, generate and score: all that a worker does for a round."""
        return self.mean("worker_wall")

    @property
    def driver_lane_s(self) -> float:
        """All that the driver does for a round; of its wait, the CPU part (it unpacks the answer)."""
        return self.round_s - self.mean("wait_wall") + self.mean("wait_cpu")


def run_segment(side: Side, pair: int, rounds: int) -> Segment:
    torch.set_num_threads(side.learner_threads)
    side.algorithm.iterate()
    start, before = time.time(), Reading.take()
    laps = [side.algorithm.iterate() for _ in range(rounds)]
    end, after = time.time(), Reading.take()
    drain(side.algorithm)
    worker = [
        lap
        for laps_of_one in on_workers(side.algorithm, "take_laps")
        for lap in laps_of_one
        if lap["start"] >= start and lap["start"] + lap["wall"] <= end
    ]
    segment = Segment(side.name, pair, laps, worker, before.foreign_cores(after))
    busy = {
        "driver": (segment.mean("learn_wall"), segment.mean("learn_cpu")),
        "worker": (segment.worker_lane_s, segment.mean("worker_cpu")),
    }
    segment.invalid = reasons_against(busy, segment.foreign_cores)
    return segment


def drain(algorithm: Any) -> None:
    """Wait until the workers are idle; their answers stay where they are."""
    pending = [ref for worker in algorithm.pool._workers for ref in worker.requests]
    if pending:
        ray.wait(pending, num_returns=len(pending), timeout=_DRAIN_TIMEOUT_S, fetch_local=False)


def alternate(sides: Sequence[Side], pairs: int, rounds: int) -> list[Segment]:
    """``pairs`` times one segment of every side, in turn."""
    return [run_segment(side, pair, rounds) for pair in range(pairs) for side in sides]


def of(segments: Sequence[Segment], side: str) -> list[Segment]:
    return [segment for segment in segments if segment.side == side]


def valid_pairs(segments: Sequence[Segment], sides: Collection[str]) -> list[int]:
    """Pairs in which the segments of all these sides are valid."""
    invalid = {segment.pair for segment in segments if segment.side in sides and segment.invalid}
    return sorted({segment.pair for segment in segments} - invalid)


def usable(segments: Sequence[Segment], sides: Collection[str], least: int = 3) -> list[Segment]:
    """The segments of valid pairs; all, where fewer than ``least`` pairs are valid (``reached`` is then null)."""
    kept = valid_pairs(segments, sides)
    return [s for s in segments if s.pair in kept] if len(kept) >= least else list(segments)


def pair_ratios(segments: Sequence[Segment], slow: str, fast: str) -> list[float]:
    """Round time of ``slow`` over that of ``fast``, pair by pair."""
    pairs = zip(of(segments, slow), of(segments, fast), strict=True)
    return [first.round_s / second.round_s for first, second in pairs]


def phases(segments: Sequence[Segment]) -> dict[str, float]:
    """Medians over segments of one side, seconds a round."""
    names = {
        "round": lambda s: s.round_s,
        "worker_lane": lambda s: s.worker_lane_s,
        "driver_lane": lambda s: s.driver_lane_s,
        "generate": lambda s: s.mean("worker_generate"),
        "score": lambda s: s.mean("worker_score"),
        "load_weights": lambda s: s.mean("worker_publish"),
        "publish": lambda s: s.mean("publish_wall"),
        "learn": lambda s: s.mean("learn_wall"),
        "wait": lambda s: s.mean("wait_wall"),
        "driver_cpu": lambda s: s.mean("round_cpu"),
        "worker_cpu": lambda s: s.mean("worker_cpu"),
    }
    return {f"{name}_s": median([read(segment) for segment in segments]) for name, read in names.items()}


def rows(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """One row a round and role for the CSV: wall and process CPU seconds, and whether the sample counts."""
    table = []
    for segment in segments:
        for role, laps in (("driver", segment.rounds), ("worker", segment.worker)):
            for number, lap in enumerate(laps):
                table.append(
                    {
                        "side": segment.side,
                        "pair": segment.pair,
                        "round": number,
                        "role": role,
                        "valid": not segment.invalid,
                        "foreign_cores": segment.foreign_cores,
                        "wall_s": lap.get("round_wall", lap.get("wall")),
                        "cpu_s": lap.get("round_cpu", lap.get("cpu")),
                        **{f"{key}_s": lap[key] for key in ("generate", "score", "publish") if key in lap},
                        **{
                            f"{key}_s": lap[f"{key}_wall"]
                            for key in ("learn", "wait")
                            if f"{key}_wall" in lap
                        },
                    }
                )
    return table
