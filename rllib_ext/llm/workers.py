"""One rollout worker as the driver sees it: its actor, what it has been asked, whether it answers, its
restarts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray

from rllib_ext.llm.requests import Ticket
from rllib_ext.llm.weights import PublishedWeights

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Request:
    """A ticket on its way, with the weights it must be played with."""

    ticket: Ticket
    weights: PublishedWeights


@dataclass
class Worker:
    """States: serving (takes requests), returning (its actor restarts), gone (given up)."""

    number: int
    handle: Any
    clock: Callable[[], float] = time.monotonic
    requests: dict[Any, Request] = field(default_factory=dict)
    state: str = "serving"
    started: bool = False
    lost_at: float = 0.0
    last_error: str = ""
    _head_since: float = 0.0
    _ping: Any = None
    _ping_at: float = 0.0
    _restarts: deque[float] = field(default_factory=deque)

    def ask(self, request: Request) -> None:
        """Send a request; it queues behind the ones before it."""
        if not self.requests:
            self._head_since = self.clock()
        self.requests[self.handle.rollout.remote(request.ticket, request.weights)] = request

    def answered(self, ref: Any) -> Request:
        """Take a finished request off the list; the next one's time starts to count."""
        self._head_since = self.clock()
        return self.requests.pop(ref)

    def overdue(self, start_timeout_s: float, timeout_s: float) -> bool:
        """Whether the request at the head has taken longer than it may (the first one includes the engine's
        start).
        """
        allowed = timeout_s if self.started else start_timeout_s + timeout_s
        return bool(self.requests) and self.clock() - self._head_since > allowed

    def lose(self, why: str) -> list[Request]:
        """The actor died or is being killed: hand back everything it was asked."""
        self.last_error = why
        orphans = list(self.requests.values())
        self.requests.clear()
        self.state, self.started, self.lost_at, self._ping = "returning", False, self.clock(), None
        self._restarts.append(self.lost_at)
        while self._restarts and self.lost_at - self._restarts[0] > _HOUR_S:
            self._restarts.popleft()
        return orphans

    @property
    def restarts_this_hour(self) -> int:
        return len(self._restarts)

    def is_back(self) -> bool:
        """Whether the restarted actor answers. Raises RayActorError once the actor is dead for good."""
        if self._ping is None:
            if self.clock() - self._ping_at < 0.5:
                return False
            self._ping, self._ping_at = self.handle.ping.remote(), self.clock()
        ready, _ = ray.wait([self._ping], timeout=0)
        if not ready:
            return False
        ping, self._ping = self._ping, None
        try:
            ray.get(ping, timeout=1.0)
        except ray.exceptions.ActorUnavailableError:
            return False
        self.state = "serving"
        return True
