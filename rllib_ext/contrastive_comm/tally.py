"""Returns, lengths and the environment's own measures of the episodes that a worker plays, under RLlib's names."""

from __future__ import annotations

from collections import deque

import numpy as np
from ray.rllib.utils.metrics import (
    EPISODE_AGENT_RETURN_MEAN,
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MEAN,
)

from envs.batched import Step


class Tally:
    """Counts along B environments; means are over the last ``window`` episodes that ended."""

    def __init__(self, rows: int, agents: tuple[str, ...], window: int) -> None:
        self._agents = agents
        self._returns_BA = np.zeros((rows, len(agents)))
        self._lengths_B = np.zeros(rows, dtype=np.int64)
        self.episodes: deque[dict[str, float]] = deque(maxlen=window)
        self.ended = 0
        self.ended_B = np.zeros(rows, dtype=np.int64)

    def add(self, step: Step, wanted_B: np.ndarray | None = None) -> list[dict[str, float]]:
        """Count one step; the episodes that ended with it. wanted_B: rows whose episodes are still kept, all if None."""
        self._returns_BA += step.rewards_BA
        self._lengths_B += 1
        finished = []
        for row in np.flatnonzero(step.done_B):
            if wanted_B is None or wanted_B[row]:
                finished.append(self._episode(int(row), step))
            self._returns_BA[row], self._lengths_B[row] = 0.0, 0
        self.ended += len(finished)
        self.ended_B += step.done_B
        self.episodes.extend(finished)
        return finished

    def _episode(self, row: int, step: Step) -> dict[str, float]:
        own = {name: float(values_B[row]) for name, values_B in step.measures.items()}
        each = {
            f"{EPISODE_AGENT_RETURN_MEAN}/{agent}": float(value)
            for agent, value in zip(self._agents, self._returns_BA[row], strict=True)
        }
        return {
            EPISODE_RETURN_MEAN: float(self._returns_BA[row].sum()),
            EPISODE_LEN_MEAN: float(self._lengths_B[row]), **each, **own,
        }  # fmt: skip

    def means(self) -> dict[str, float]:
        """Of the window: RLlib's names, ``<measure>_mean`` for the environment's own; empty before an episode ended."""
        if not self.episodes:
            return {}
        known = (EPISODE_RETURN_MEAN, EPISODE_LEN_MEAN)
        rows: dict[str, list[float]] = {}
        for episode in self.episodes:
            for name, value in episode.items():
                title = (
                    name if name in known or name.startswith(EPISODE_AGENT_RETURN_MEAN) else f"{name}_mean"
                )
                if not np.isnan(value):  # a measure that this episode does not have
                    rows.setdefault(title, []).append(value)
        return {name: float(np.mean(values)) for name, values in rows.items()}
