"""A pool on scripted workers, and tickets to ask them with."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from scripted_worker import ScriptedWorker

from rllib_ext.llm.recruiting import Recruiter
from rllib_ext.llm.requests import Ticket
from rllib_ext.llm.rollouts import RolloutPool
from rllib_ext.llm.workers import Limits

# Generous: a busy machine must not look like a fault.
LIMITS = {"engine_start_timeout_s": 90.0, "worker_timeout_s": 90.0, "stall_timeout_s": 90.0}


class Crew:
    """A pool on scripted workers, what it reported, and what the workers were really asked.

    Workers that a test leaves alive serve the next one too: starting a process is what takes the time here.
    """

    veterans: ClassVar[dict[int, Any]] = {}

    def __init__(self, ray: ModuleType, home: Path, folder: Path) -> None:
        self.ray, self.home, self.folder = ray, home, folder
        self.handles: dict[int, Any] = {}
        self.events: list[tuple[str, str]] = []
        self.later_s = 0.0  # how far the pool's clock is ahead: waiting for deadlines would only take time
        self.pool: RolloutPool

    def hire(
        self,
        *scripts: list[str],
        births: Sequence[str] = (),
        restarts: int = -1,
        first: int | None = None,
        most: int | None = None,
        unfit: Sequence[int] = (),
        **limits: Any,
    ) -> RolloutPool:
        """One worker a script. Those who are born, or die, in a way of their own are new.

        first: how many of them are there from the beginning; the others may be recruited, up to ``most`` at a time.
        unfit: whose engines do not start.
        """
        everybody = range(1, len(scripts) + 1)
        numbers = everybody[:first]
        for number in numbers:
            if births or restarts >= 0:
                self.ray.kill(self.veterans.pop(number)) if number in self.veterans else None
        assignment = {
            "folder": str(self.folder),
            "scripts": dict(zip(everybody, scripts, strict=True)),
            "births": list(births),
            "unfit": list(unfit),
        }
        (self.home / "assignment.json").write_text(json.dumps(assignment))
        actor = self.ray.remote(num_cpus=0, max_restarts=restarts)(ScriptedWorker)
        for number in numbers:
            if number not in self.veterans:
                self.veterans[number] = actor.remote(number, str(self.home))
            self.handles[number] = self.veterans[number]
        self.ray.get([handle.ping.remote() for handle in self.handles.values()], timeout=90)
        self.first = set(self.asked("births"))
        budget = limits.pop("worker_restart_budget", 3)
        settings = Limits(**{**LIMITS, **limits}, worker_restart_budget=budget)
        self.pool = RolloutPool(
            self.handles,
            settings,
            lambda kind, detail: self.events.append((kind, detail)),
            self.clock,
            recruiter=None if most is None else Recruiter(self.recruit, most, budget, self.clock),
        )
        return self.pool

    def clock(self) -> float:
        return time.monotonic() + self.later_s

    def recruit(self, number: int) -> Any:
        """A new worker, who is there when its process is."""
        handle = self.ray.remote(num_cpus=0, max_restarts=0)(ScriptedWorker).remote(number, str(self.home))
        self.handles[number] = self.veterans[number] = handle
        return handle

    def dismiss(self) -> None:
        """Keep who is idle, end the others."""
        for number, handle in self.handles.items():
            try:
                self.ray.get(handle.ping.remote(), timeout=2)
            except self.ray.exceptions.RayError:
                self.ray.kill(self.veterans.pop(number), no_restart=True)

    def reborn(self) -> int:
        """How many processes took the place of another one since the hiring."""
        return len(set(self.asked("births")) - self.first)

    def kinds(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.events)

    def asked(self, what: str = "calls", number: int | None = None) -> list[str]:
        paths = sorted(self.folder.glob(f"{number or '*'}.{what}"))
        return [line for path in paths for line in path.read_text().splitlines()]


def tickets(round_index: int, chunks: int = 2, split: str = "train") -> list[Ticket]:
    """Two prompts a ticket; the seed tells the ticket."""
    return [
        Ticket(
            round=round_index,
            chunk=chunk,
            prompts=((0, 10 * round_index + 2 * chunk), (0, 10 * round_index + 2 * chunk + 1)),
            samples=1,
            temperature=1.0,
            seed=100 * round_index + chunk,
            split=split,
        )
        for chunk in range(chunks)
    ]


def right(answers: list[Any], asked: list[Ticket], version: int) -> bool:
    """Every ticket's own answer, in order, made with its seed and its weights."""
    return [answer.played for answer in answers] == [
        [(ticket.seed, index, version) for _, index in ticket.prompts] for ticket in asked
    ]
