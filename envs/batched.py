"""Many copies of one multi-agent environment as arrays: what a fast rollout steps, whatever environment lies under it.

A `BatchedEnv` holds B copies with A agents each. Agents have fixed places, in the order of ``possible_agents``; an agent
that has left, or has not come yet, keeps its place and is not *active*. One `step` moves all copies; a copy whose episode
ended begins the next one in the same step, so that nothing is spent on resets. Observations are flat float32 vectors and
actions are integers; where agents differ, rows are padded with zeros to the widest, and actions that an agent does not
have are masked.

Two kinds: environments of this package written on arrays (``envs.grid``), and `envs.looped.LoopedEnv` around B
PettingZoo environments. Left out: continuous actions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Moment:
    """What the agents see now, of B copies and A agents.

    observations_BAO  (B, A, O) float32; zeros of an agent that is not active
    active_BA         (B, A): the agent acts now and is learnt from. Not active: it has left, has not come yet, or its
                      place is empty for the moment; its action is ignored, its message is zeros
    first_BA          (B, A): the agent's episode begins with this observation; whatever it remembers is of another one
    masks_BAN         (B, A, N) actions that are legal now, or None where all of them always are
    """

    observations_BAO: Floats
    active_BA: Bools
    first_BA: Bools
    masks_BAN: Bools | None = None


@dataclass(frozen=True)
class Step:
    """What an action has brought, of B copies and A agents.

    now               what is seen next; of a copy that is ``done_B``, the first moment of its next episode
    rewards_BA        (B, A) float32, 0 for agents that were not active
    terminated_BA     (B, A): the agent's episode ended here, by the rules of the environment: no value after it
    truncated_BA      (B, A): the agent's episode was cut off here; its value goes on. Never both
    done_B            (B,): nobody is left, the copy was begun anew
    last              the last moment of the episodes that ended or were cut off for anybody, None where there was none;
                      rows of agents that neither ended nor were cut off mean nothing
    measures          of the episodes that ended: name -> (B,) float64, NaN where not ``done_B`` (the environment's own
                      measures, such as ``success``; returns and lengths are counted by whoever rolls out)
    """

    now: Moment
    rewards_BA: Floats
    terminated_BA: Bools
    truncated_BA: Bools
    done_B: Bools
    last: Moment | None = None
    measures: dict[str, NDArray[np.float64]] = field(default_factory=dict)


class BatchedEnv(ABC):
    """B copies of one environment; see the module.

    num_envs              B, 1 or more
    possible_agents       names of the A agents; their order is that of the arrays
    observation_sizes     length of each agent's observation; O is the largest
    action_counts         how many actions each agent has; N is the largest
    """

    num_envs: int
    possible_agents: tuple[str, ...]
    observation_sizes: tuple[int, ...]
    action_counts: tuple[int, ...]

    @abstractmethod
    def reset(self, seed: int | None = None) -> Moment:
        """Begin an episode in every copy. The same seed and the same actions give the same arrays; copies differ.

        None goes on with the randomness there is. All agents that are there have ``first_BA``.
        """

    @abstractmethod
    def step(self, actions_BA: Ints) -> Step:
        """One step of every copy. actions_BA: (B, A) int64, 0 to the agent's count - 1; ignored where not active.

        Raises BadEnv where an active agent's action is none of its own.
        """

    def close(self) -> None:  # noqa: B027  (most hold nothing)
        """Release what is held; calling it again does nothing."""

    def render(self, copy: int = 0) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 picture of one copy. Raises NotImplementedError where there is none."""
        raise NotImplementedError(f"{type(self).__name__} draws no pictures")
