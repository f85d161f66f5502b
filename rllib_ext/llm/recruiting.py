"""Workers beyond the first ones: asked for at once, they join when the cluster has room, and are asked for again.

An actor that no node has room for waits in Ray's queue, where an autoscaler sees it and adds a node; the run goes on
meanwhile with the workers it has. A worker that is lost for good (a spot node that went) is asked for again the same
way. Such workers are scheduled outside a Tune trial's placement group, which reserves the first workers only.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rllib_ext.llm.workers import Worker

_HOUR_S = 3600.0


class Recruiter:
    """Asks for workers until there are ``most``; at most ``budget`` replacements an hour.

    hire(number) -> actor handle, at once, whether there is room for it or not.
    """

    def __init__(
        self,
        hire: Callable[[int], Any],
        most: int,
        budget: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hire, self._most, self._budget, self._clock = hire, most, budget, clock
        self._replaced: deque[float] = deque()
        self._highest = 0

    def recruit(self, workers: Sequence[Worker]) -> list[Worker]:
        """The newly asked for, in state "joining"."""
        self._highest = max([self._highest, *(worker.number for worker in workers)])
        missing = self._most - sum(worker.state != "gone" for worker in workers)
        found = []
        for _ in range(missing):
            if self._highest >= self._most and not self._may_replace():
                break
            self._highest += 1
            found.append(Worker(self._highest, self._hire(self._highest), self._clock, state="joining"))
        return found

    def _may_replace(self) -> bool:
        now = self._clock()
        while self._replaced and now - self._replaced[0] > _HOUR_S:
            self._replaced.popleft()
        if len(self._replaced) >= self._budget:
            return False
        self._replaced.append(now)
        return True
