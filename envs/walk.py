"""Walks through a PettingZoo environment under a plan of actions, every step checked; what `envs.checks` is made of."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from pettingzoo import ParallelEnv

from envs.channel import CommChannel
from envs.contract import Contract, Returned
from envs.errors import BadEnv
from envs.flattening import MASK

Trace = dict[
    str, bytes
]  # of each agent what it saw, was paid and whether it ended, as bytes that can be compared


@dataclass(frozen=True)
class Wanted:
    """What is asked of an environment beside the contract; the arguments of `check_parallel` of the same names, and
    whether ``step({})`` is called when nobody is left."""

    max_episode_steps: int | None = None
    reward_range: tuple[float, float] = (-np.inf, np.inf)
    zero_sum: bool = False
    joining: bool = False
    empty_step: bool = True


class Walker:
    """Plays one environment; a plan is "random", or the "first" or "last" action (or bounds) of every agent."""

    def __init__(self, env: ParallelEnv[str, Any, Any], wanted: Wanted) -> None:
        self.env, self.wanted = env, wanted
        self.contract = Contract(env, bounds=True)
        self._check_spaces()

    def _check_spaces(self) -> None:
        for agent in self.contract.possible_agents:
            for what in ("observation_space", "action_space"):
                ask = getattr(self.env, what)
                if ask(agent) is not ask(agent) or not isinstance(ask(agent), Space):
                    raise self.contract.wrong(agent, what, "the same Space object at each call", ask(agent))

    def walk(self, seed: int, steps: int, plan: str = "random", actions_seed: int = 0) -> Iterator[Trace]:
        """One episode, at most so many steps, as the traces of its reset and steps."""
        contract, wanted = self.contract, self.wanted
        spaces = {
            agent: copy.deepcopy(self.env.action_space(agent)) for agent in self.contract.possible_agents
        }
        for place, space in enumerate(spaces.values()):
            space.seed(1000 * actions_seed + place)
        contract.seed, contract.step = seed, 0
        observations, infos = contract.after_reset(self._call(self.env.reset, seed=seed), seed)
        self._check_infos(infos)
        self._check_messages(observations, contract.agents, contract.possible_agents, "after reset")
        yield {agent: _trace(observations[agent]) for agent in contract.agents}
        for _ in range(steps):
            actions = {
                agent: self._action(spaces[agent], agent, observations[agent], plan)
                for agent in contract.agents
            }
            returned = contract.after_step(self._call(self.env.step, actions))
            self._check_step(returned)
            observations = returned.observations
            yield {
                agent: _trace(
                    observations[agent],
                    returned.rewards[agent],
                    returned.terminated[agent],
                    returned.truncated[agent],
                )
                for agent in returned.rewards
            }
            if not returned.agents:
                if wanted.empty_step:
                    self._check_nobody_left()
                return
            if wanted.max_episode_steps is not None and contract.step >= wanted.max_episode_steps:
                raise contract.wrong(
                    str(returned.agents[0]),
                    "episode",
                    f"an end within {wanted.max_episode_steps} steps",
                    "none",
                )

    def _call(self, method: Any, *given: Any, **named: Any) -> Any:
        try:
            return method(*given, **named)
        except BadEnv:
            raise
        except Exception as error:  # whatever a user's environment may raise
            what = f"{method.__name__} after this point"
            raise self.contract.wrong(
                "everybody", what, "an answer", f"{type(error).__name__}: {error}"
            ) from error

    def _action(self, space: Space[Any], agent: str, seen: Any, plan: str) -> Any:
        mask = seen.get(MASK) if isinstance(seen, Mapping) and isinstance(space, Discrete) else None
        if mask is None:
            return space.sample() if plan == "random" else _edge(space, plan == "last")
        legal = np.flatnonzero(np.asarray(mask))
        if not isinstance(space, Discrete) or len(mask) != space.n or not len(legal):
            raise self.contract.wrong(agent, MASK, f"as many entries as {space}, one or more not 0", mask)
        if plan == "random":
            return space.sample(mask=np.asarray(mask, np.int8))
        return space.start + legal[-1 if plan == "last" else 0]

    def _check_step(self, returned: Returned) -> None:
        contract, (low, high) = self.contract, self.wanted.reward_range
        for agent, reward in returned.rewards.items():
            if not low <= reward <= high:
                raise contract.wrong(agent, "reward", f"from {low} to {high}", reward)
        total = sum(returned.rewards.values())
        if self.wanted.zero_sum and abs(total) > 1e-6 * (1 + sum(map(abs, returned.rewards.values()))):
            raise contract.wrong("everybody", "the sum of rewards", 0, total)
        if returned.joined and not self.wanted.joining:
            expected = "agents that only leave (joining=True allows others)"
            raise contract.wrong(returned.joined[0], "presence", expected, list(returned.agents))
        self._check_infos(returned.infos)
        heard = returned.agents or [agent for agent in returned.truncated if returned.truncated[agent]]
        left = tuple(agent for agent in contract.possible_agents if agent not in heard)
        if not (isinstance(self.env, CommChannel) and self.env.keep_last):
            self._check_messages(returned.observations, tuple(returned.rewards), left, "who has left")

    def _check_infos(self, infos: Mapping[str, Mapping[str, Any]]) -> None:
        for agent, info in infos.items():
            for key, value in info.items():
                try:
                    json.dumps({key: value})
                except (TypeError, ValueError) as error:
                    raise self.contract.wrong(agent, f"info {key!r}", "what JSON can hold", value) from error

    def _check_messages(
        self, observations: Mapping[str, Any], agents: tuple[str, ...], silent: tuple[str, ...], why: str
    ) -> None:
        """Of a channel: zeros in these agents' inboxes from those who must be silent."""
        if not isinstance(self.env, CommChannel):
            return
        for agent in agents:
            for sender, message in self.env.heard(agent, observations[agent]).items():
                if sender in silent and np.any(message):
                    raise self.contract.wrong(agent, "inbox", f"zeros from {sender}, {why}", message)

    def _check_nobody_left(self) -> None:
        given = self._call(self.env.step, {})
        right = isinstance(given, tuple) and len(given) == 5 and not any(map(len, given))
        if not right:
            raise self.contract.wrong("everybody", "step({}) after the end", "five empty dictionaries", given)


def _edge(space: Space[Any], last: bool) -> Any:
    """The first or last member of an action space; a sample where it has none."""
    if isinstance(space, Discrete):
        return int(space.start) + (int(space.n) - 1 if last else 0)
    if isinstance(space, MultiDiscrete):
        starts, counts = np.asarray(space.start), np.asarray(space.nvec)
        return np.add(starts, (counts - 1) * last, dtype=np.int64).astype(space.dtype)
    if isinstance(space, MultiBinary):
        return np.full(space.shape, int(last), space.dtype)
    if isinstance(space, Box):
        edge = space.high if last else space.low
        return np.where(np.isfinite(edge), edge, space.sample()).astype(space.dtype)
    if isinstance(space, Dict):
        return {key: _edge(part, last) for key, part in space.items()}
    if isinstance(space, Tuple):
        return tuple(_edge(part, last) for part in space)
    return space.sample()


def _trace(*parts: Any) -> bytes:
    """Bytes that are equal where observations (of any nesting) and numbers are."""
    found = []
    for part in parts:
        if isinstance(part, Mapping):
            found.append(b"".join(str(key).encode() + _trace(part[key]) for key in sorted(part)))
        elif isinstance(part, tuple | list):
            found.append(_trace(*part))
        else:
            found.append(part.encode() if isinstance(part, str) else np.asarray(part).tobytes())
    return b"|".join(found)
