"""What the cores of the grid environments share: whose episode ended, what is begun anew, what is seen then.

A core writes the rules of its environment on arrays of B copies in four methods: ``_begin`` lays out new episodes,
``_move`` is one step of all copies, ``_observe`` what is seen, and, where places can be empty, ``_present``. The order of
one step is always: move, look at what has ended (``Step.last``), begin those copies anew, observe (``Step.now``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.batched import BatchedEnv, Bools, Floats, Ints, Moment, Step
from envs.errors import BadEnv
from envs.grid.arguments import whole


@dataclass(frozen=True)
class Outcome:
    """What the rules say of one step.

    rewards_BA   (B, A); those of agents that were not active are dropped
    over_B       (B,): the episode ended by the rules
    timeout_B    (B,): the episode was cut off by its step limit (where it is not over)
    left_BA      (B, A): agents whose own episode ended by the rules while the copy goes on, or None
    measures     name -> (B,), read where the episode ended
    """

    rewards_BA: NDArray[np.floating[Any]]
    over_B: Bools
    timeout_B: Bools
    left_BA: Bools | None = None
    measures: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class GridCore(BatchedEnv):
    """B copies of a grid environment as arrays; see the module.

    refills      agents' places are emptied and filled again within an episode (the cars of Traffic-Junction). The face
                 keeps such agents, inactive, because PettingZoo has no agent that comes back
    continues    whether a copy whose episode ended begins the next one by itself. The face turns it off, so that the
                 end can still be looked at; then only `reset` begins
    """

    refills: bool = False
    continues: bool = True

    def __init__(
        self, num_envs: int, possible_agents: tuple[str, ...], observation_size: int, action_count: int
    ) -> None:
        self.num_envs = whole("num_envs", num_envs, 1)
        self.possible_agents = possible_agents
        self.observation_sizes = (observation_size,) * len(possible_agents)
        self.action_counts = (action_count,) * len(possible_agents)
        self._generator = np.random.default_rng()
        self._everywhere_B = np.ones(self.num_envs, bool)
        self._everybody_BA = np.ones((self.num_envs, len(possible_agents)), bool)
        self._active_BA: Bools | None = None
        self.over_B: Bools = np.zeros(self.num_envs, bool)

    @abstractmethod
    def _begin(self, copies_K: Ints) -> None:
        """Lay out a new episode in the copies with these indices (never none), from ``self._generator``."""

    @abstractmethod
    def _move(self, actions_BA: Ints) -> Outcome:
        """One step of the rules in all copies. Actions are legal where active, and anything elsewhere."""

    @abstractmethod
    def _observe(self) -> Floats:
        """(B, A, O) float32, an array of its own at each call."""

    def _present(self) -> Bools:
        """(B, A): agents that act now; all, where the environment has no empty places."""
        return self._everybody_BA

    def _entered(self) -> Bools | None:
        """(B, A): agents that have just come into an episode under way, or None where that does not happen."""
        return None

    def facts(self) -> dict[str, NDArray[Any]]:
        """What is true now and may be probed for but is not all observed: name -> (B, A) bools, ints or floats."""
        return {}

    def reset(self, seed: int | None = None) -> Moment:
        if seed is not None:
            self._generator = np.random.default_rng(whole("seed", seed, 0))
        self._begin(np.arange(self.num_envs))
        return self._moment(self._everywhere_B)

    def step(self, actions_BA: Ints) -> Step:
        if self._active_BA is None:
            raise BadEnv(f"{type(self).__name__}.step was called before reset; call reset first.")
        active_BA = self._active_BA
        outcome = self._move(self._checked(actions_BA, active_BA))
        done_B = outcome.over_B | outcome.timeout_B
        ended_BA = outcome.over_B[:, None] & active_BA
        if outcome.left_BA is not None:
            ended_BA |= outcome.left_BA & active_BA
        cut_BA = outcome.timeout_B[:, None] & active_BA & ~ended_BA
        self.over_B = outcome.over_B
        begun_B, last = np.zeros_like(done_B), None
        if ended_BA.any() or cut_BA.any():
            last = self._moment(begun_B)
        if done_B.any() and self.continues:
            begun_B = done_B
            self._begin(np.flatnonzero(done_B))
        now = last if last is not None and not begun_B.any() else self._moment(begun_B)
        return Step(
            now=now,
            rewards_BA=np.where(active_BA, outcome.rewards_BA, 0).astype(np.float32),
            terminated_BA=ended_BA,
            truncated_BA=cut_BA,
            done_B=done_B,
            last=last,
            measures={name: np.where(done_B, of_B, np.nan) for name, of_B in outcome.measures.items()},
        )

    def _moment(self, begun_B: Bools) -> Moment:
        """What is seen now, with the copies that have just begun."""
        self._active_BA = active_BA = self._present().copy()
        first_BA = begun_B[:, None] & active_BA
        entered_BA = self._entered()
        if entered_BA is not None:
            first_BA |= entered_BA & active_BA
        return Moment(self._observe(), active_BA, first_BA)

    def _checked(self, actions_BA: Ints, active_BA: Bools) -> Ints:
        """The actions, 0 where nobody acts. Raises BadEnv where an active agent's is none of its own."""
        actions_BA = np.asarray(actions_BA)
        count = self.action_counts[0]
        if actions_BA.shape != active_BA.shape or actions_BA.dtype.kind not in "iu":
            raise BadEnv(
                f"{type(self).__name__}: actions are {actions_BA.dtype} of shape {actions_BA.shape}; they must be "
                f"integers of shape {active_BA.shape}."
            )
        wrong_BA = active_BA & ((actions_BA < 0) | (actions_BA >= count))
        if wrong_BA.any():
            copy, agent = np.argwhere(wrong_BA)[0]
            raise BadEnv(
                f"{type(self).__name__}: the action of {self.possible_agents[agent]} in copy {copy} is "
                f"{actions_BA[copy, agent]}; it must be from 0 to {count - 1}."
            )
        return np.where(active_BA, actions_BA, 0)
