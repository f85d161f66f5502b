"""Who plays while frames are recorded: at random with repeated actions, or a policy that errs now and then.

A behaviour is called with the stacks (B, 4, 84, 84) uint8 and answers with actions (B,). It draws from a generator of its
own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadConfig

Policy = Callable[[NDArray[np.uint8]], NDArray[Any]]
REPEAT = 2 / 3


class RandomPlay:
    """Uniform actions that are each kept for a geometric time: kept on with probability ``repeat``, 3 steps on average.

    P(kept for n steps) = (1 - repeat) repeat^(n-1), with 1/3 the rate that SGI's random data are described with (its
    code has the option, its data were not released). Uniform actions alone cancel out and show little of a game.
    """

    def __init__(self, num_actions: int, *, repeat: float = REPEAT, seed: int = 0) -> None:
        if not 0 <= repeat < 1:
            raise BadConfig(
                f"repeat = {repeat} must be 0 or more and less than 1: the chance that an action is kept."
            )
        self._num_actions, self._repeat = num_actions, repeat
        self._draw = np.random.default_rng(seed)
        self._actions_B: NDArray[np.int64] | None = None

    def __call__(self, stack_B4HW: NDArray[np.uint8]) -> NDArray[np.int64]:
        count = len(stack_B4HW)
        fresh_B = self._draw.integers(self._num_actions, size=count)
        if self._actions_B is None or len(self._actions_B) != count:
            self._actions_B = fresh_B
        else:
            kept_B = self._draw.random(count) < self._repeat
            self._actions_B = np.where(kept_B, self._actions_B, fresh_B)
        return self._actions_B

    def about(self) -> dict[str, Any]:
        """What metadata say about it."""
        return {"kind": "random", "repeat": self._repeat}


class EpsilonGreedy:
    """A policy's actions, each replaced by a uniform one with probability ``epsilon``."""

    def __init__(
        self, policy: Policy, num_actions: int, *, epsilon: float, seed: int = 0, name: str = "policy"
    ) -> None:
        if not 0 <= epsilon <= 1:
            raise BadConfig(f"epsilon = {epsilon} must be from 0 to 1: the share of random actions.")
        self._policy, self._num_actions, self._epsilon, self._name = policy, num_actions, epsilon, name
        self._draw = np.random.default_rng(seed)

    def __call__(self, stack_B4HW: NDArray[np.uint8]) -> NDArray[np.int64]:
        chosen_B = np.asarray(self._policy(stack_B4HW), np.int64)
        random_B = self._draw.integers(self._num_actions, size=len(chosen_B))
        return np.where(self._draw.random(len(chosen_B)) < self._epsilon, random_B, chosen_B)

    def about(self) -> dict[str, Any]:
        """What metadata say about it."""
        return {"kind": "epsilon-greedy", "policy": self._name, "epsilon": self._epsilon}
