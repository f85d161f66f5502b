"""Completions per second of several sides that take turns; and what each side's time is made of."""

from __future__ import annotations

import cProfile
from dataclasses import dataclass
from typing import Any

import ray
import torch

from benchmarks._load import Reading, reasons_against
from benchmarks._meter import on_workers
from benchmarks._profiles import profile_text
from benchmarks._segments import Side, run_segment
from benchmarks._statistics import bootstrap_interval, median
from rllib_ext.runtime.ray_session import available_cores

_TIMEOUT_S = 3600.0


@dataclass
class Turn:
    """One side's turn in one pair. round_s, and of it generating; cpu_s of the side's processes."""

    side: str
    pair: int
    completions: int
    round_s: float
    generate_s: float
    learn_s: float
    cpu_s: float
    invalid: list[str]

    @property
    def rate(self) -> float:
        return self.completions / self.round_s

    def row(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name != "invalid"}
        return {
            **kept,
            "completions_per_s": self.rate,
            "valid": not self.invalid,
            "why": "; ".join(self.invalid),
        }


@dataclass
class OursSide:
    """An algorithm of this package."""

    side: Side
    completions: int

    @property
    def name(self) -> str:
        return self.side.name

    @property
    def shares_cores(self) -> bool:
        """Whether engine and learner run at once on fewer cores than they have threads together."""
        config = self.side.algorithm.config
        overlapped = config.mode == "async"
        return overlapped and config.engine_threads + self.side.learner_threads > available_cores()

    def turn(self, pair: int, rounds: int) -> Turn:
        segment = run_segment(self.side, pair, rounds)
        if (
            self.shares_cores
        ):  # then its lanes wait for each other, by its own choice; only others can spoil it
            segment.invalid = reasons_against({}, segment.foreign_cores)
        return Turn(
            self.name, pair, self.completions, segment.round_s, segment.mean("worker_generate"),
            segment.mean("learn_wall"), segment.mean("round_cpu") + segment.mean("worker_cpu"), segment.invalid,
        )  # fmt: skip

    def profile(self, rounds: int = 2) -> str:
        """The driver under cProfile. Its learner is most of it; the worker shows as waiting."""
        torch.set_num_threads(self.side.learner_threads)
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(rounds):
            self.side.algorithm.iterate()
        profile.disable()
        return profile_text(profile)

    def worker_profile(self, rounds: int = 2) -> str:
        """The engine's thread of the worker under cProfile."""
        on_workers(self.side.algorithm, "start_profile")
        for _ in range(rounds):
            self.side.algorithm.iterate()
        return on_workers(self.side.algorithm, "stop_profile")[0]


@dataclass
class PeerSide:
    """TRL in its actor."""

    name: str
    actor: Any
    completions: int
    threads: int
    slow: bool = False  # one round a turn, without one before it

    def turn(self, pair: int, rounds: int) -> Turn:
        rounds = 1 if self.slow else rounds
        if not self.slow or pair <= 0:
            ray.get(self.actor.rounds.remote(1, self.threads), timeout=_TIMEOUT_S)
        before = Reading.take()
        laps = ray.get(self.actor.rounds.remote(rounds, self.threads), timeout=_TIMEOUT_S)
        foreign = before.foreign_cores(Reading.take())
        wall, cpu, generate = (sum(lap[key] for lap in laps) / rounds for key in ("wall", "cpu", "generate"))
        invalid = reasons_against({"trl": (wall, cpu)}, foreign)
        return Turn(self.name, pair, self.completions, wall, generate, wall - generate, cpu, invalid)


def take_turns(sides: list[Any], pairs: int, rounds: int) -> list[Turn]:
    return [side.turn(pair, rounds) for pair in range(pairs) for side in sides]


def turns_of(turns: list[Turn], side: str) -> list[Turn]:
    return [turn for turn in turns if turn.side == side]


def compare(turns: list[Turn], mine: str, peer: str, least: int = 3) -> tuple[float, list[float], int]:
    """(median ratio of the rates, its 95 % interval, valid pairs); all pairs where fewer than ``least`` are valid."""
    pairs = list(zip(turns_of(turns, mine), turns_of(turns, peer), strict=True))
    valid = [(a, b) for a, b in pairs if not (a.invalid or b.invalid)]
    ratios = [a.rate / b.rate for a, b in (valid if len(valid) >= least else pairs)]
    return median(ratios), bootstrap_interval(ratios), len(valid)


def summary(turns: list[Turn]) -> dict[str, dict[str, Any]]:
    """Medians of each side: rate with interval, seconds a round, and what they are made of."""
    found = {}
    for side in dict.fromkeys(turn.side for turn in turns):
        mine = turns_of(turns, side)
        rates = [turn.rate for turn in mine]
        fields = ("round_s", "generate_s", "learn_s", "cpu_s")
        found[side] = {
            "completions_per_s": median(rates), "interval": bootstrap_interval(rates),
            **{name: median([getattr(turn, name) for turn in mine]) for name in fields},
        }  # fmt: skip
    return found
