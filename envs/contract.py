"""What a PettingZoo parallel environment owes at each reset and step, looked at while it plays.

A `Contract` goes along with one environment, is shown what `reset` and `step` returned, and gives it back in one clean
form; what is not as it must be raises BadEnv with the environment, the agent, the step, the episode's seed, what was
expected and what came. It costs a few microseconds an agent, so that it can stay on in training; `envs.checks` looks for
more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Space
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import aec_to_parallel

from envs.errors import BadEnv


@dataclass(frozen=True)
class Returned:
    """What one step brought to those who acted and those who have just come.

    agents        who acts next, in the environment's order
    joined        those of them that did not act in this step
    terminated, truncated   of those who acted; never both: an end by the rules goes before a cut
    """

    observations: Mapping[str, Any]
    rewards: Mapping[str, float]
    terminated: Mapping[str, bool]
    truncated: Mapping[str, bool]
    infos: Mapping[str, Mapping[str, Any]]
    agents: tuple[str, ...]
    joined: tuple[str, ...]


def name_of(env: ParallelEnv[str, Any, Any]) -> str:
    """What an error calls this environment."""
    named = (getattr(env, "metadata", None) or {}).get("name")
    return str(named or type(env.unwrapped).__name__)


def as_parallel(env: Any) -> ParallelEnv[str, Any, Any]:
    """A parallel environment as it is, an AEC environment through PettingZoo's conversion.

    Raises BadEnv where the conversion is not possible: agents that take turns, or no PettingZoo environment at all.
    """
    if isinstance(env, ParallelEnv):
        return env
    if not isinstance(env, AECEnv):
        raise BadEnv(f"{env!r} must be a PettingZoo ParallelEnv or AECEnv; it is a {type(env).__name__}.")
    if not env.metadata.get("is_parallelizable", False):
        raise BadEnv(
            f"{name_of(env)}: its agents take turns (its metadata do not say is_parallelizable), but all act at "
            f"once here; step it as an AEC environment, or convert it yourself (turn_based_aec_to_parallel)."
        )
    return aec_to_parallel(env)


class Contract:
    """Watches one environment; see the module.

    bounds    whether observations must lie in their spaces, strictly: bounds and dtype. Otherwise shape, numbers and
              finiteness are asked, which is what arithmetic needs
    """

    def __init__(self, env: ParallelEnv[str, Any, Any], *, bounds: bool) -> None:
        self.env, self.bounds, self.name = env, bounds, name_of(env)
        possible = getattr(env, "possible_agents", None)
        if not possible or len(set(possible)) != len(possible):
            raise BadEnv(
                f"{self.name}: possible_agents is {possible!r}; it must list every agent that can come, once."
            )
        self.possible_agents = tuple(possible)
        self.spaces: dict[str, Space[Any]] = {agent: env.observation_space(agent) for agent in possible}
        self.seed: int | None = None
        self.step = 0
        self.agents: tuple[str, ...] = ()
        self.gone: set[str] = set()

    def wrong(self, agent: str, what: str, expected: Any, got: Any) -> BadEnv:
        """The error for something of this agent, at this step of this episode."""
        where = "reset" if self.step == 0 else f"step {self.step}"
        return BadEnv(
            f"{self.name}: {what} of {agent} at {where} (seed {self.seed}): expected {expected}, got {_short(got)}."
        )

    def unfit(self, agent: str, why: str) -> BadEnv:
        """The error for an agent that cannot be served at all."""
        return BadEnv(f"{self.name}: {agent} does not fit in: {why}")

    def after_reset(
        self, returned: Any, seed: int | None
    ) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]:
        """(observations, infos) of a reset with this seed; everybody who is there has an observation."""
        self.seed, self.step, self.gone = seed, 0, set()
        observations, infos = self._mappings(returned, ("observations", "infos"))
        self.agents = self._listed()
        if not self.agents:
            raise self.wrong("everybody", "agents", "at least one agent to act", [])
        for agent in self.agents:
            self._check_observation(agent, observations)
        self._check_strangers(observations)
        return observations, self._infos(infos, self.agents)

    def after_step(self, returned: Any) -> Returned:
        """What a step brought. The environment's own ``agents`` say who acts next."""
        self.step += 1
        acted = self.agents
        parts = ("observations", "rewards", "terminations", "truncations", "infos")
        observations, rewards, terminated, truncated, infos = self._mappings(returned, parts)
        for part in (observations, rewards, terminated, truncated):
            self._check_strangers(part)
        paid = {agent: self._reward(agent, rewards) for agent in acted}
        over = {agent: self._ending(agent, terminated, "terminated") for agent in acted}
        cut = {agent: self._ending(agent, truncated, "truncated") and not over[agent] for agent in acted}
        ended = {agent for agent in acted if over[agent] or cut[agent]}
        agents = self._listed()
        joined = tuple(agent for agent in agents if agent not in acted)
        self._check_agents(acted, ended, agents)
        for agent in (*acted, *joined):
            self._check_observation(agent, observations)
        self.gone |= ended
        self.agents = agents
        return Returned(observations, paid, over, cut, self._infos(infos, (*acted, *joined)), agents, joined)

    def _mappings(self, returned: Any, parts: tuple[str, ...]) -> tuple[Mapping[str, Any], ...]:
        right = isinstance(returned, tuple) and len(returned) == len(parts)
        if not right or not all(isinstance(part, Mapping) for part in returned):
            raise self.wrong(
                "everybody", "what was returned", f"a tuple of dictionaries ({', '.join(parts)})", returned
            )
        return tuple(returned)

    def _listed(self) -> tuple[str, ...]:
        agents = tuple(self.env.agents)
        for agent in agents:
            if agent not in self.spaces:
                raise self.wrong(repr(agent), "presence", f"agents out of {self.possible_agents}", agents)
        if len(set(agents)) != len(agents):
            raise self.wrong("everybody", "agents", "each agent once", agents)
        return agents

    def _check_strangers(self, part: Mapping[str, Any]) -> None:
        for agent in part:
            if agent not in self.spaces and agent != "__all__":
                raise self.wrong(repr(agent), "presence", f"agents out of {self.possible_agents}", list(part))

    def _check_agents(self, acted: tuple[str, ...], ended: set[str], agents: tuple[str, ...]) -> None:
        for agent in acted:
            if (agent in agents) == (agent in ended):
                expected = (
                    "not in env.agents after its end" if agent in ended else "in env.agents: it has not ended"
                )
                raise self.wrong(agent, "presence", expected, list(agents))
        for agent in agents:
            if agent in self.gone:
                raise self.wrong(
                    agent, "presence", "no return within the episode that it has left", list(agents)
                )

    def _check_observation(self, agent: str, observations: Mapping[str, Any]) -> None:
        if agent not in observations:
            raise self.wrong(agent, "observation", "one", f"none; there are those of {list(observations)}")
        space, seen = self.spaces[agent], observations[agent]
        fault = _fault(space, seen, self.bounds)
        if fault is not None:
            raise self.wrong(agent, "observation", *fault)

    def _reward(self, agent: str, rewards: Mapping[str, Any]) -> float:
        value = rewards.get(agent)
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if not isinstance(value, Real) or isinstance(value, bool) or not np.isfinite(float(value)):
            raise self.wrong(
                agent, "reward", "a finite number", value if agent in rewards else "nothing at all"
            )
        return float(value)

    def _ending(self, agent: str, endings: Mapping[str, Any], what: str) -> bool:
        value = endings.get(agent)
        if not isinstance(value, bool | np.bool_):
            raise self.wrong(agent, what, "True or False", value if agent in endings else "nothing at all")
        return bool(value)

    def _infos(self, infos: Mapping[str, Any], agents: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        given = {agent: infos.get(agent, {}) for agent in agents}
        for agent, info in given.items():
            if not isinstance(info, Mapping):
                raise self.wrong(agent, "info", "a dictionary", info)
        return given


def _fault(space: Space[Any], seen: Any, bounds: bool) -> tuple[Any, Any] | None:
    """(expected, got) of the first thing that is wrong with an observation, or None."""
    if isinstance(space, Dict):
        if not isinstance(seen, Mapping) or set(seen) != set(space.spaces):
            return f"a dictionary of {list(space.spaces)}", seen
        faults = (
            (key, fault)
            for key, part in space.items()
            if (fault := _fault(part, seen[key], bounds)) is not None
        )
        return next(((f"in {key!r} {expected}", got) for key, (expected, got) in faults), None)
    if isinstance(space, Box):
        return _box_fault(space, seen, bounds)
    return None if space.contains(seen) else (f"a member of {space}", seen)


def _box_fault(space: Box, seen: Any, bounds: bool) -> tuple[str, Any] | None:
    array = np.asarray(seen)
    if array.dtype.kind not in "biuf":
        return f"numbers of dtype {space.dtype}", f"{type(seen).__name__} of dtype {array.dtype}"
    if array.shape != space.shape:
        return f"shape {space.shape}", f"shape {array.shape}"
    if not np.isfinite(array).all():
        return "finite numbers", array
    if bounds and (not isinstance(seen, np.ndarray) or array.dtype != space.dtype):
        return f"an array of dtype {space.dtype}", f"{type(seen).__name__} of dtype {array.dtype}"
    if bounds and not ((array >= space.low) & (array <= space.high)).all():
        low, high = np.min(space.low), np.max(space.high)
        return f"numbers within the space's bounds ({low} to {high})", array
    return None


def _short(value: Any) -> str:
    """A value for one line of an error."""
    text = value if isinstance(value, str) and " " in value else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 160 else text[:157] + "..."
