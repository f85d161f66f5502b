"""TripleMiningEnv: pick candidate triples one by one, within a budget. Experimental; not a registered environment.

Observation   Box(-inf, inf, (M, F + 1)), float32: of each of the M candidates shown its F features, and its novelty.
Actions       Discrete(M + 1): 0 .. M - 1 pick that candidate; M rejects all that are shown.
Rewards       of a pick: ``reward`` of the candidate, less ``duplicate_penalty`` where it was picked before in the episode
              or is a near-copy of training (novelty of ``near_copy`` or less). Of a rejection: 0.
Episode end   terminated after ``budget`` picks; truncated after ``horizon`` steps (4 times the budget by default).
Info          at every step ``picked`` (the candidate's row, or None) and ``bucket``; at the end ``judge``, the mean of
              ``verdict`` over the picks (None without picks or verdicts), ``near_copies`` and ``picks_by_bucket``.

The reward is a scorer's and the judge is somebody else's: a second scorer trained on a disjoint split, or labels of
positives hidden among corruptions. Only the judge says whether picking got better; a policy that raises the reward alone
has found what the scorer likes (`rllib_ext.commonsense.reward`). What is shown is drawn uniformly from the pool with the
generator of ``reset(seed=...)``.

Source: ours, after the mining experiment of Jastrzębski et al. 2018. Version 0.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rllib_ext.commonsense.buckets import NAMES
from rllib_ext.errors import BadConfig, BadData


@dataclass(frozen=True)
class Pool:
    """N candidates. features: [N, F]. reward: [N] in [0, 1]. novelty: [N]. bucket: [N] in 0..2. verdict: of another
    judge, [N] in [0, 1]; None where there is none.
    """

    features: NDArray[np.float32]
    reward: NDArray[np.float64]
    novelty: NDArray[np.float64]
    bucket: NDArray[np.int64]
    verdict: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.features)
        columns = {
            "reward": self.reward,
            "novelty": self.novelty,
            "bucket": self.bucket,
            "verdict": self.verdict,
        }
        for name, column in columns.items():
            if column is not None and (len(column) != count or not np.isfinite(column).all()):
                raise BadData(f"{name} must be {count} finite numbers, one for each row of features")
        if self.features.ndim != 2 or not np.isfinite(self.features).all():
            raise BadData(f"features must be finite numbers [N, F], not of shape {self.features.shape}")


class TripleMiningEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """See the module. shown: M."""

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(
        self,
        pool: Pool,
        *,
        shown: int = 8,
        budget: int = 10,
        horizon: int | None = None,
        duplicate_penalty: float = 1.0,
        near_copy: float = 1e-6,
    ) -> None:
        if not 1 <= shown <= len(pool.features):
            raise BadConfig(
                f"shown is {shown}; it must be in [1, {len(pool.features)}], the size of the pool"
            )
        horizon = 4 * budget if horizon is None else horizon
        if budget < 1 or horizon < budget or duplicate_penalty < 0:
            raise BadConfig(
                f"budget is {budget}, horizon {horizon}, duplicate_penalty {duplicate_penalty}: they must be 1 or more, "
                "at least the budget, and 0 or more"
            )
        self.pool, self.shown, self.budget, self.horizon = pool, shown, budget, horizon
        self.duplicate_penalty, self.near_copy = duplicate_penalty, near_copy
        self.observation_space = Box(-np.inf, np.inf, (shown, pool.features.shape[1] + 1), np.float32)
        self.action_space = Discrete(shown + 1)
        self._picks: list[int] = []
        self._steps, self._rows = 0, np.empty(0, np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._picks, self._steps = [], 0
        return self._show(), {"picked": None, "bucket": None}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise BadConfig(f"action {action!r} is none of 0 to {self.shown}")
        self._steps += 1
        reward, picked = 0.0, None
        if action < self.shown:
            picked = int(self._rows[action])
            reward = float(self.pool.reward[picked])
            if picked in self._picks or self.pool.novelty[picked] <= self.near_copy:
                reward -= self.duplicate_penalty
            self._picks.append(picked)
        terminated = len(self._picks) >= self.budget
        truncated = not terminated and self._steps >= self.horizon
        info: dict[str, Any] = {"picked": picked, "bucket": None if picked is None else self._bucket(picked)}
        if terminated or truncated:
            info |= self._summary()
        return self._show(), reward, terminated, truncated, info

    def _show(self) -> NDArray[np.float32]:
        self._rows = self.np_random.choice(len(self.pool.features), self.shown, replace=False)
        novelty = self.pool.novelty[self._rows, None].astype(np.float32)
        return np.concatenate([self.pool.features[self._rows].astype(np.float32), novelty], axis=1)

    def _bucket(self, row: int) -> str:
        return NAMES[int(self.pool.bucket[row])]

    def _summary(self) -> dict[str, Any]:
        verdicts = None if self.pool.verdict is None else self.pool.verdict[self._picks]
        counts = Counter(self._bucket(row) for row in self._picks)
        copies = int((self.pool.novelty[self._picks] <= self.near_copy).sum())
        return {
            "judge": float(verdicts.mean()) if verdicts is not None and self._picks else None,
            "near_copies": copies,
            "picks_by_bucket": {name: counts[name] for name in NAMES},
        }
