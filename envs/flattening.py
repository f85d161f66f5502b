"""Observations of PettingZoo agents as flat vectors, with the actions that are legal beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Dict, Discrete, Space, flatdim, flatten
from numpy.typing import NDArray

from envs.batched import Bools
from envs.contract import Contract

MASK = "action_mask"


@dataclass(frozen=True)
class Flat:
    """How one agent is seen and moved as arrays.

    space     what is flattened: the observation space, or what a Dict with "action_mask" holds besides it
    size      length of the flat observation, as `gymnasium.spaces.flatten` makes it (one-hot where discrete)
    actions   how many; action 0 is ``start`` in the environment
    masked    whether the observation comes with an "action_mask"
    """

    space: Space[Any]
    size: int
    actions: int
    start: int
    masked: bool

    def split(self, contract: Contract, agent: str, seen: Any) -> tuple[NDArray[Any], Bools | None]:
        """(flat observation, legal actions or None). Raises BadEnv where the mask is none, or leaves no action."""
        if not self.masked:
            return np.asarray(flatten(self.space, seen)), None
        legal = np.asarray(seen[MASK]).astype(bool)
        if legal.shape != (self.actions,) or not legal.any():
            expected = f"{self.actions} entries, of which one or more are not 0"
            raise contract.wrong(agent, MASK, expected, seen[MASK])
        rest = {key: part for key, part in seen.items() if key != MASK}
        rest = rest if isinstance(self.space, Dict) else rest["observation"]
        return np.asarray(flatten(self.space, rest)), legal


def flat_agent(contract: Contract, agent: str) -> Flat:
    """How this agent fits in arrays. Raises BadEnv where actions are not Discrete or observations of no fixed length."""
    space, actions = contract.spaces[agent], contract.env.action_space(agent)
    if not isinstance(actions, Discrete):
        raise contract.unfit(
            agent,
            f"its action space is {actions}; only Discrete actions are stepped in batches. Wrap the environment so that "
            f"they are.",
        )
    masked = isinstance(space, Dict) and MASK in space.spaces
    if isinstance(space, Dict) and masked:
        space = Dict({key: part for key, part in space.items() if key != MASK})
        space = space["observation"] if set(space.spaces) == {"observation"} else space
    try:
        size = int(flatdim(space))
    except (NotImplementedError, ValueError) as error:
        raise contract.unfit(
            agent, f"its observation space is {space}, which has no flat form of fixed length."
        ) from error
    return Flat(space, size, int(actions.n), int(actions.start), masked)
