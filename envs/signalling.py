"""Signalling games of one exchange as PettingZoo AEC: a sender sees something and speaks, a receiver hears it and acts,
each is paid, and the episode ends.

``SignallingGame`` keeps what PettingZoo asks of such a game: whose turn it is, rewards and their sums, endings, the dead
steps after them. A game says what is dealt, what there is to see, what an action must be and what an answer is worth to
whom. ``ItemGame`` deals one of some items (``reset(options={"index": i})``, or one drawn from the seed).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from pettingzoo import AECEnv

from envs.errors import BadEnv

Seen = TypeVar("Seen")
Action = TypeVar("Action")


class SignallingGame(AECEnv[str, Seen, Action], Generic[Seen, Action]):  # type: ignore[misc]
    """Two agents, two steps. A game names ``sender`` and ``receiver``."""

    sender: str
    receiver: str

    def __init__(self, render_mode: str | None) -> None:
        if render_mode not in (None, "ansi"):
            raise BadEnv(f"render_mode is {render_mode!r}; {type(self).__name__} has None and 'ansi'.")
        self.render_mode = render_mode
        self.possible_agents = [self.sender, self.receiver]
        self.agents: list[str] = []
        self._generator = np.random.default_rng()

    @abstractmethod
    def _deal(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Lay out what ``options`` ask for, or something drawn from ``_generator``; nothing is said yet. Returns what
        ``infos`` say of it from the start.
        """

    @abstractmethod
    def _checked(self, agent: str, action: Any) -> Action:
        """The action in the game's own form. Raises BadEnv where it is none of the agent's."""

    @abstractmethod
    def _say(self, message: Action) -> None:
        """Keep what the receiver observes."""

    @abstractmethod
    def _answer(self, action: Action) -> tuple[float | Mapping[str, float], Mapping[str, Any]]:
        """What the receiver's action is worth, to both or by agent, and what ``infos`` reveal at the end."""

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode; ``options`` are the game's."""
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        dealt = self._deal(options or {})
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: dict(dealt) for agent in self.agents}
        self.agent_selection = self.sender

    def step(self, action: Action | None) -> None:
        """The sender's message, then the receiver's answer, then None from each as PettingZoo asks."""
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        chosen = self._checked(agent, action)
        self._cumulative_rewards[agent] = 0.0
        if agent == self.sender:
            self._say(chosen)
            self.agent_selection = self.receiver
            return
        value, revealed = self._answer(chosen)
        rewards = dict(value) if isinstance(value, Mapping) else dict.fromkeys(self.agents, value)
        if not all(np.isfinite(reward) for reward in rewards.values()):
            raise BadEnv(f"the reward of {action!r} is {value}; a reward must be a finite number.")
        self.rewards = rewards
        self.terminations = dict.fromkeys(self.agents, True)
        for info in self.infos.values():
            info |= revealed
        self._accumulate_rewards()
        self.agent_selection = self.sender

    def close(self) -> None:
        """Nothing to close."""


class ItemGame(SignallingGame[Seen, Action]):
    """A game over items that are counted; ``items`` is what they are called."""

    items: str

    @property
    @abstractmethod
    def num_items(self) -> int:
        """How many items can be played."""

    @abstractmethod
    def _begin(self, index: int) -> None:
        """Lay item ``index`` out; nothing is said yet."""

    def _deal(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Item options["index"], or one drawn at random."""
        index = options.get("index")
        if index is None:
            index = int(self._generator.integers(self.num_items))
        if not 0 <= index < self.num_items:
            raise BadEnv(
                f"index is {index}; this {type(self).__name__} has the {self.items} 0 to {self.num_items - 1}."
            )
        self._begin(index)
        return {"index": index}
