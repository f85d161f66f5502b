"""One rollout worker as the driver sees it: its actor, what it was asked, whether it answers, its deaths."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import ray

from rllib_ext.llm.requests import Ticket
from rllib_ext.llm.weights import PublishedWeights
from rllib_ext.runtime.process_end import end_process

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Limits:
    """Seconds, and restarts an hour; the knobs of the same names explain them."""

    engine_start_timeout_s: float
    worker_timeout_s: float
    stall_timeout_s: float
    worker_restart_budget: int

    @classmethod
    def of(cls, config: Any) -> Limits:
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class Request:
    """A ticket on its way, with the weights it must be played with."""

    ticket: Ticket
    weights: PublishedWeights


@dataclass
class Worker:
    """States: joining (asked for, not there yet), serving (takes requests), returning (its actor restarts), gone
    (given up). reward_worker: the actor that scores what this worker generates, or None.
    """

    number: int
    handle: Any
    clock: Callable[[], float] = time.monotonic
    reward_worker: Any = None
    requests: dict[Any, Request] = field(default_factory=dict)
    state: str = "serving"
    started: bool = False
    lost_at: float = 0.0
    last_error: str = ""
    process: dict[str, Any] | None = None
    _head_since: float = 0.0
    _end: Any = None
    _ping: Any = None
    _ping_at: float = 0.0
    _looked_at: float = 0.0
    _looked_for_s: float = 0.0
    _restarts: deque[float] = field(default_factory=deque)

    def ask(self, request: Request) -> None:
        """Send a request; it queues behind the ones before it."""
        if not self.requests:
            self._head_since = self.clock()
        scorer = {} if self.reward_worker is None else {"reward_worker": self.reward_worker}
        self.requests[self.handle.rollout.remote(request.ticket, request.weights, **scorer)] = request

    def answered(self, ref: Any) -> Request:
        """Take a finished request off the list; the next one's time starts to count."""
        self._head_since = self.clock()
        return self.requests.pop(ref)

    def overdue(self, limits: Limits) -> str | None:
        """Why it must be replaced, or None: the request at the head takes too long, or its restart does."""
        start_s = 0.0 if self.started else limits.engine_start_timeout_s
        if self.requests and self.clock() - self._head_since > start_s + limits.worker_timeout_s:
            return f"no answer within {start_s + limits.worker_timeout_s:g} s"
        if self.state == "returning" and self._looked_for_s > limits.engine_start_timeout_s:
            return f"it did not come back within {limits.engine_start_timeout_s:g} s"
        return None

    def kill(self) -> None:
        """End the process; Ray starts another one. Killing takes a moment, in which the old one still answers.

        One that does not answer may be stopped, and deaf to Ray: where its process is known its node ends it.
        """
        self._end = self.handle.__ray_call__.remote(lambda _: time.sleep(10.0))  # over when the process is
        ray.kill(self.handle, no_restart=False)
        if self.process is not None:
            end_process(self.process)
            self.process = None

    def lose(self, why: str) -> list[Request]:
        """The actor died or is being killed: hand back everything it was asked."""
        self.last_error = why
        orphans = list(self.requests.values())
        self.requests.clear()
        self.state, self.started, self.lost_at, self._ping = "returning", False, self.clock(), None
        self._looked_for_s, self._looked_at = 0.0, self.lost_at
        self._restarts.append(self.lost_at)
        while self._restarts and self.lost_at - self._restarts[0] > _HOUR_S:
            self._restarts.popleft()
        return orphans

    @property
    def restarts_this_hour(self) -> int:
        return len(self._restarts)

    def is_back(self) -> bool:
        """Whether the new or restarted actor answers; a new one, once its engine runs.

        Raises RayActorError once the actor is dead for good, RayTaskError where a new one's engine did not start.
        """
        now = self.clock()
        # While nobody looks (the driver learns), nobody has waited.
        self._looked_for_s, self._looked_at = self._looked_for_s + min(1.0, now - self._looked_at), now
        if self._end is not None:
            if not ray.wait([self._end], timeout=0)[0]:
                return False
            self._end = None
        if self._ping is None:
            if self.clock() - self._ping_at < 0.5:
                return False
            ask = self.handle.assert_healthy if self.state == "joining" else self.handle.ping
            self._ping, self._ping_at = ask.remote(), self.clock()
        ready, _ = ray.wait([self._ping], timeout=0)
        if not ready:
            return False
        ping, self._ping = self._ping, None
        try:
            ray.get(ping, timeout=1.0)
        except (ray.exceptions.ActorUnavailableError, ray.exceptions.GetTimeoutError):
            return False
        self.state = "serving"
        return True

    def __str__(self) -> str:
        return (
            f"worker {self.number} {self.state} after {self.restarts_this_hour} failures within an hour, last: "
            f"{self.last_error[-300:]}"
        )
