"""A message channel over any PettingZoo environment: what agents say in one step, the others hear in the next.

| | |
|---|---|
| action | Dict: "act", the environment's own; "msg", Box(0, 1, (D,)) or, of a discrete channel, MultiDiscrete([2] * D) |
| observation | Dict: "obs", the environment's own; "msgs", Box(0, 1, ((A - 1) D,)), what the others said, in the order |
| | of ``possible_agents``, without the listener itself |
| everything else | the environment's own: agents, rewards, endings, infos, pictures |

A message is delivered with the observation that ``delay`` steps bring: with 1, that of the step in which it was said.
After reset the inbox is zeros, and no message reaches the next episode. Agents that have left, and those whose info says
``"active": False``, are heard as zeros; only where an episode is cut off for all that are left, its last observations
still hold what those said, because their value goes on. ``width=0`` gives the environment's own spaces, so that "no
communication" is the same environment.

Arguments
    env         PettingZoo environment, parallel, or AEC that is parallelizable, with two possible agents or more
    width       D, numbers in a message, 0 or more
    topology    who hears whom: "all"; "ring" (the two neighbours in the order of ``possible_agents``); or an (A, A)
                array of booleans, row listener, column sender. Who is not heard is heard as zeros
    drop_prob   probability, 0 to 1, that a message is lost on its way to one listener (zeros are heard)
    noise       standard deviation, 0 or more, of normal noise on each number that is heard, clipped to [0, 1]
    delay       1 or more
    discrete    whether messages are bits
    keep_last   whether the last message of agents that have left goes on being heard

Drops and noise come from the seed of ``reset``, apart from the environment's own randomness. A message of the wrong
width, with NaN or outside [0, 1], missing, or of an agent that has left raises BadEnv.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, MultiDiscrete, Space
from numpy.typing import ArrayLike, NDArray
from pettingzoo import ParallelEnv

from envs.batched import Bools, Floats
from envs.contract import as_parallel, name_of
from envs.errors import BadEnv
from envs.grid.arguments import flag, real, whole


class CommChannel(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """The channel; the module is the documentation page."""

    def __init__(
        self,
        env: Any,
        width: int,
        *,
        topology: str | ArrayLike = "all",
        drop_prob: float = 0.0,
        noise: float = 0.0,
        delay: int = 1,
        discrete: bool = False,
        keep_last: bool = False,
    ) -> None:
        self.env = as_parallel(env)
        self.possible_agents = list(self.env.possible_agents)
        self.agents: list[str] = []
        self.name = f"{name_of(self.env)} with a channel"
        self.metadata = {**self.env.metadata, "name": self.name}
        self.render_mode = getattr(self.env, "render_mode", None)
        if len(self.possible_agents) < 2:
            raise BadEnv(f"{self.name}: there is one agent; a channel takes two or more.")
        self.width, self.delay = whole("width", width, 0), whole("delay", delay, 1)
        self.drop_prob, self.noise = real("drop_prob", drop_prob, 0, 1), real("noise", noise, 0)
        self.discrete, self.keep_last = flag("discrete", discrete), flag("keep_last", keep_last)
        self.hears_AA = _topology(topology, len(self.possible_agents))
        self._generator = np.random.default_rng()
        self._place = {agent: place for place, agent in enumerate(self.possible_agents)}
        self._spaces = {agent: self._wrapped(agent) for agent in self.possible_agents}
        self._steps = 0
        self._seed: int | None = None
        self._clear()

    def _wrapped(self, agent: str) -> tuple[Space[Any], Space[Any]]:
        """(observation space, action space) of one agent."""
        seen, act = self.env.observation_space(agent), self.env.action_space(agent)
        if not self.width:
            return seen, act
        said: Space[Any] = Box(0.0, 1.0, (self.width,), np.float32)
        if self.discrete:
            said = MultiDiscrete([2] * self.width)
        inbox = Box(0.0, 1.0, ((len(self.possible_agents) - 1) * self.width,), np.float32)
        return Dict({"obs": seen, "msgs": inbox}), Dict({"act": act, "msg": said})

    def observation_space(self, agent: str) -> Space[Any]:
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> Space[Any]:
        return self._spaces[agent][1]

    def _clear(self) -> None:
        """Nothing has been said: neither in the last step nor on its way."""
        self._said_AD = np.zeros((len(self.possible_agents), self.width), np.float32)
        self._under_way: deque[Floats] = deque([self._said_AD.copy()] * self.delay, maxlen=self.delay)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if seed is not None:
            self._generator = np.random.default_rng((seed, 1))
        self._seed, self._steps = seed, 0
        observations, infos = self.env.reset(seed=seed, options=options)
        self.agents = list(self.env.agents)
        self._clear()
        nobody = np.zeros(len(self.possible_agents), bool)
        return self._with_inboxes(observations, nobody), infos

    def step(self, actions: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        self._steps += 1
        before = list(self.agents)
        self._check_agents(actions)
        if not self.width:
            returned = self.env.step(dict(actions))
            self.agents = list(self.env.agents)
            return tuple(returned)
        said = {agent: self._checked(agent, action) for agent, action in actions.items()}
        acts = {agent: action["act"] for agent, action in actions.items()}
        observations, rewards, terminated, truncated, infos = self.env.step(acts)
        self.agents = list(self.env.agents)
        for agent, message_D in said.items():
            self._said_AD[self._place[agent]] = message_D
        self._under_way.append(self._said_AD.copy())
        audible = self.agents or [agent for agent in before if not terminated.get(agent)]
        live_A = np.array([self.keep_last or agent in audible for agent in self.possible_agents])
        for agent, info in infos.items():
            if agent in self._place and not info.get("active", True):
                live_A[self._place[agent]] = False
        return self._with_inboxes(observations, live_A), rewards, terminated, truncated, infos

    def _with_inboxes(self, observations: Mapping[str, Any], live_A: Bools) -> dict[str, Any]:
        """Observations with what is heard; senders that are not live are heard as zeros."""
        if not self.width:
            return dict(observations)
        agents, said_AD = len(self.possible_agents), self._under_way[0]
        heard_AA = self.hears_AA & live_A
        if self.drop_prob:
            heard_AA &= self._generator.random((agents, agents)) >= self.drop_prob
        inbox_AAD = np.broadcast_to(said_AD, (agents, agents, self.width)).astype(np.float32)
        if self.noise:
            noise_AAD = self._generator.normal(0.0, self.noise, inbox_AAD.shape)
            inbox_AAD = np.clip(inbox_AAD + noise_AAD, 0.0, 1.0).astype(np.float32)
        inbox_AAD = inbox_AAD * heard_AA[..., None]
        return {
            agent: {
                "obs": seen,
                "msgs": np.delete(inbox_AAD[self._place[agent]], self._place[agent], 0).ravel(),
            }
            for agent, seen in observations.items()
        }

    def heard(self, agent: str, observation: Any) -> dict[str, Floats]:
        """The inbox of one observation by sender; empty without a channel."""
        if not self.width:
            return {}
        senders = [sender for sender in self.possible_agents if sender != agent]
        messages = np.asarray(observation["msgs"]).reshape(len(senders), self.width)
        return dict(zip(senders, messages, strict=True))

    def _check_agents(self, actions: Mapping[str, Any]) -> None:
        strangers = [agent for agent in actions if agent not in self.agents]
        missing = [agent for agent in self.agents if agent not in actions]
        if strangers or missing:
            agent = (strangers or missing)[0]
            got = "one, though it has left or was never there" if strangers else "none"
            raise self._wrong(agent, f"a message of each of {self.agents} and nobody else", got)

    def _checked(self, agent: str, action: Any) -> Floats:
        """The message in an action. Raises BadEnv where it is none."""
        if not isinstance(action, Mapping) or set(action) != {"act", "msg"}:
            raise self._wrong(agent, 'an action {"act": ..., "msg": ...}', action)
        message = np.asarray(action["msg"])
        kinds = "iub" if self.discrete else "iubf"
        if message.dtype.kind not in kinds or message.shape != (self.width,):
            expected = f"{'bits' if self.discrete else 'numbers'} of shape {(self.width,)}"
            raise self._wrong(agent, expected, f"{message.dtype} of shape {message.shape}")
        if not ((message >= 0) & (message <= 1)).all():
            raise self._wrong(agent, "numbers from 0 to 1", message)
        return message.astype(np.float32)

    def _wrong(self, agent: str, expected: str, got: Any) -> BadEnv:
        return BadEnv(
            f"{self.name}: message of {agent} at step {self._steps} (seed {self._seed}): expected {expected}, "
            f"got {got!r}."
        )

    def render(self) -> NDArray[np.uint8] | None:
        picture: NDArray[np.uint8] | None = self.env.render()
        return picture

    def state(self) -> Any:
        return self.env.state()

    def close(self) -> None:
        self.env.close()


def _topology(topology: Any, agents: int) -> Bools:
    """(A, A): row listener, column sender; nobody hears itself."""
    if isinstance(topology, str) and topology in ("all", "ring"):
        gap_AA = np.subtract.outer(np.arange(agents), np.arange(agents)) % agents
        near_AA = (gap_AA == 1) | (gap_AA == agents - 1)
        return near_AA if topology == "ring" else ~np.eye(agents, dtype=bool)
    given = np.asarray(topology)
    if given.dtype != bool or given.shape != (agents, agents):
        raise BadEnv(
            f'topology = {topology!r} must be "all", "ring" or a ({agents}, {agents}) array of booleans.'
        )
    hears_AA: Bools = given & ~np.eye(agents, dtype=bool)
    return hears_AA
