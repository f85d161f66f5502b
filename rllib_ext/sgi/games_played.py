"""Returns and lengths of whole games, unclipped, under RLlib's names; and what can be played again.

A game goes on where a life is lost, whatever that is for learning: a score is the points of all its lives.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from ray.rllib.utils.metrics import (
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
)


class GamesPlayed:
    """Counts along B copies; means are over the last ``window`` games that ended."""

    def __init__(self, window: int) -> None:
        self.returns: deque[float] = deque(maxlen=window)
        self.lengths: deque[int] = deque(maxlen=window)
        self._steps = self._ended = 0

    def add(self, moment: Any, wanted_B: np.ndarray | None = None) -> int:
        """Count one step; how many games ended with it. wanted_B: copies that are counted, all if None."""
        ended_B = moment.episode_length_B > 0
        if wanted_B is not None:
            ended_B = ended_B & wanted_B
        self._steps += len(ended_B) if wanted_B is None else int(wanted_B.sum())
        self.returns.extend(moment.episode_return_B[ended_B].tolist())
        self.lengths.extend(moment.episode_length_B[ended_B].tolist())
        ended = int(ended_B.sum())
        self._ended += ended
        return ended

    def report(self, metrics: Any) -> None:
        """Log what was counted since the last report, and the means of the window."""
        metrics.log_value(NUM_ENV_STEPS_SAMPLED, self._steps, reduce="sum")
        metrics.log_value(
            NUM_ENV_STEPS_SAMPLED_LIFETIME, self._steps, reduce="lifetime_sum", with_throughput=True
        )
        metrics.log_value(NUM_EPISODES, self._ended, reduce="sum")
        metrics.log_value(NUM_EPISODES_LIFETIME, self._ended, reduce="lifetime_sum")
        if self.returns:
            metrics.log_value(EPISODE_RETURN_MEAN, float(np.mean(self.returns)), window=1)
            metrics.log_value(EPISODE_RETURN_MIN, min(self.returns), window=1)
            metrics.log_value(EPISODE_RETURN_MAX, max(self.returns), window=1)
            metrics.log_value(EPISODE_LEN_MEAN, float(np.mean(self.lengths)), window=1)
        self._steps = self._ended = 0

    def state(self) -> dict[str, Any]:
        """The window, as JSON."""
        return {"returns": list(self.returns), "lengths": list(self.lengths)}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse."""
        self.returns.clear()
        self.lengths.clear()
        self.returns.extend(state["returns"])
        self.lengths.extend(state["lengths"])
