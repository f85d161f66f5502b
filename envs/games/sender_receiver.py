"""SenderReceiver: two agents who talk although they want different things; one message, one answer.

| | |
|---|---|
| agents | "sender_0", then "receiver_0" |
| sender sees | its target T, an angle drawn uniformly from the circle |
| sender does | discrete channel: Discrete(vocabulary), a symbol; continuous: Box((message_size,)), numbers |
| receiver sees | the message: discrete, Discrete(vocabulary + 1), the last value where nothing was said yet; |
| | continuous, Box((message_size + 1,)), the numbers and 1.0, zeros where nothing was said yet |
| receiver does | Box((1,)): an angle in tens of degrees, any real number, taken round the circle |
| reward | minus the agent's own loss times ``reward_scale``, to both after the answer; 0 before |
| episode end | both terminated after the receiver's answer; never truncated |

The rules (`envs.games.circle`): the sender loses the distance between answer and T, the receiver that between answer and
T + bias. At bias 0 the interests are the same, at 180 opposed (the losses always sum to 180), between them both can gain.
The receiver is told neither T nor the bias, the sender never the receiver's target. An answer that says nothing costs
each 90 on average, so the sum of both losses lies between the bias and 180: the "curve of cooperation".

Arguments
    bias            degrees, 0 to 180
    channel         "discrete" or "continuous"
    vocabulary      symbols of the discrete channel, 2 or more (the paper: 64, 128 or 256)
    message_size    numbers of the continuous channel, 1 or more (the paper: 1)
    loss            "l1", degrees, or "l2", degrees squared over 180
    target_obs      how the sender sees T: "raw", tens of degrees in [0, 36) (the paper); "unit", in [0, 1); "sincos",
                    (sin T, cos T)
    compat_reflect  answers below 0 are reflected instead of taken round, as in the authors' code
    grid_eval       T is one of 100 evenly spaced angles
    reward_scale    1/90 by default: an episode in which nothing is said returns about -1 to each
    render_mode     None or "ansi"

``reset(options={"target": degrees})`` plays that target. ``infos`` say at the end, and only for measures: L_s, L_r (by
``loss``), T_s, T_r (degrees) and the message.

`SenderReceiverParallel` is the same game as a `ParallelEnv` of two steps: in each, both are asked, "active" in ``infos``
says who is listened to, and the other's action means nothing.

Source: Noukhovitch et al. 2021, "Emergent Communication under Competition" (arXiv 2101.10276). Left out: several
receivers, noise on the channel.

Version 0: as above.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from envs.errors import BadEnv
from envs.games.circle import CIRCLE, LOSSES, SILENT, losses, receiver_target, target_grid
from envs.grid.arguments import choice, flag, real, whole
from envs.signalling import SignallingGame

SENDER, RECEIVER = "sender_0", "receiver_0"
CHANNELS = ("discrete", "continuous")
TARGET_OBS = ("raw", "unit", "sincos")
UNIT = 10.0  # degrees in a unit of the receiver's action and of the raw target
Floats = NDArray[np.float32]
Seen = Any


class SenderReceiver(SignallingGame[Any, Any]):
    """The biased game on the circle; the module is the documentation page."""

    metadata = {"name": "sender_receiver_v0", "render_modes": ["ansi"], "is_parallelizable": False}
    sender, receiver = SENDER, RECEIVER

    def __init__(
        self,
        bias: float = 90.0,
        channel: str = "discrete",
        *,
        vocabulary: int = 128,
        message_size: int = 1,
        loss: str = "l1",
        target_obs: str = "raw",
        compat_reflect: bool = False,
        grid_eval: bool = False,
        reward_scale: float = 1.0 / SILENT,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self.bias = real("bias", bias, 0.0, 180.0)
        self.channel = choice("channel", channel, CHANNELS)
        self.vocabulary = whole("vocabulary", vocabulary, 2)
        self.message_size = whole("message_size", message_size, 1)
        self.loss = choice("loss", loss, LOSSES)
        self.target_obs = choice("target_obs", target_obs, TARGET_OBS)
        self.compat_reflect = flag("compat_reflect", compat_reflect)
        self.grid_eval = flag("grid_eval", grid_eval)
        self.reward_scale = real("reward_scale", reward_scale, 0.0)
        self._spaces = self._make_spaces()

    def observation_space(self, agent: str) -> Space[Any]:
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> Space[Any]:
        return self._spaces[agent][1]

    def observe(self, agent: str) -> Seen:
        """T for the sender, the message for the receiver."""
        if agent == SENDER:
            return see_target(self._target, self.target_obs)
        if self.channel == "discrete":
            return np.int64(self.vocabulary if self._message is None else self._message)
        heard = np.zeros(self.message_size + 1, np.float32)
        if self._message is not None:
            heard[:-1], heard[-1] = self._message, 1.0
        return heard

    def render(self) -> str | None:
        """Target, message and answer as text."""
        if self.render_mode is None:
            return None
        words = [f"target {self._target:.1f}, bias {self.bias:g}"]
        if self._message is not None:
            words.append(f"message {self._message}")
        if self._answered is not None:
            words.append(f"answer {self._answered:.1f}")
        return "; ".join(words)

    # ----- the rules

    def _make_spaces(self) -> dict[str, tuple[Space[Any], Space[Any]]]:
        size = 2 if self.target_obs == "sincos" else 1
        low, high = {"raw": (0.0, CIRCLE / UNIT), "unit": (0.0, 1.0), "sincos": (-1.0, 1.0)}[self.target_obs]
        message: Space[Any] = Discrete(self.vocabulary)
        heard: Space[Any] = Discrete(self.vocabulary + 1)
        if self.channel == "continuous":
            message = _reals(self.message_size)
            heard = _reals(self.message_size + 1)
        return {SENDER: (Box(low, high, (size,), np.float32), message), RECEIVER: (heard, _reals(1))}

    def _deal(self, options: Mapping[str, Any]) -> dict[str, Any]:
        self._message: Any = None
        self._answered: float | None = None
        wanted = options.get("target")
        if wanted is not None:
            self._target = real("target", wanted, 0.0, np.nextafter(CIRCLE, 0.0))
        elif self.grid_eval:
            self._target = float(self._generator.choice(target_grid()))
        else:
            self._target = float(self._generator.uniform(0.0, CIRCLE))
        return {}

    def _checked(self, agent: str, action: Any) -> Any:
        space = self._spaces[agent][1]
        if isinstance(space, Discrete):
            if np.ndim(action) != 0 or isinstance(action, bool) or not space.contains(action):
                raise BadEnv(f"the action of {agent} is {action!r}; it must be in {space}.")
            return int(action)
        given = np.asarray(action, np.float64)
        if given.shape != space.shape or not np.isfinite(given).all():
            raise BadEnv(f"the action of {agent} is {action!r}; it must be in {space}, and finite.")
        return given

    def _say(self, message: Any) -> None:
        self._message = message

    def _answer(self, action: NDArray[np.float64]) -> tuple[Mapping[str, float], Mapping[str, Any]]:
        self._answered = float(action[0]) * UNIT
        sender, receiver = losses(
            self._answered, self._target, self.bias, kind=self.loss, compat_reflect=self.compat_reflect
        )
        message = self._message if self.channel == "discrete" else self._message.tolist()
        revealed = {
            "L_s": float(sender), "L_r": float(receiver), "T_s": self._target,
            "T_r": float(receiver_target(self._target, self.bias)), "message": message,
        }  # fmt: skip
        return {
            SENDER: -float(sender) * self.reward_scale,
            RECEIVER: -float(receiver) * self.reward_scale,
        }, revealed


def see_target(targets: Any, kind: str) -> Floats:
    """(..., 1) float32, or (..., 2) for "sincos": what a sender sees of targets (...,) in degrees."""
    given = np.asarray(targets, np.float64)[..., None]
    if kind == "sincos":
        radians = np.deg2rad(given)
        both: Floats = np.concatenate([np.sin(radians), np.cos(radians)], axis=-1).astype(np.float32)
        return both
    scale = UNIT if kind == "raw" else CIRCLE
    # A target just below 360 must not become 360 in float32: the space is half open.
    largest = np.nextafter(np.float32(CIRCLE / scale), np.float32(0))
    scaled: Floats = np.minimum((given / scale).astype(np.float32), largest)
    return scaled


def _reals(size: int) -> Box:
    return Box(-np.inf, np.inf, (size,), np.float32)


class SenderReceiverParallel(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """The game in two steps, for whoever wants a `ParallelEnv`. Arguments: those of `SenderReceiver`."""

    metadata = {"name": "sender_receiver_parallel_v0", "render_modes": ["ansi"]}

    def __init__(self, bias: float = 90.0, channel: str = "discrete", **arguments: Any) -> None:
        self.game = SenderReceiver(bias, channel, **arguments)
        self.render_mode = self.game.render_mode
        self.possible_agents = list(self.game.possible_agents)
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Space[Any]:
        return self.game.observation_space(agent)

    def action_space(self, agent: str) -> Space[Any]:
        return self.game.action_space(agent)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Begin an episode; options as those of `SenderReceiver`."""
        self.game.reset(seed, options)
        self.agents = list(self.possible_agents)
        return self._seen(), self._infos(SENDER)

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """The message, or the answer. The other agent's action is asked for and means nothing."""
        if not self.agents:
            return {}, {}, {}, {}, {}
        if set(actions) != set(self.agents):
            raise BadEnv(f"actions of {sorted(actions)} were given; give one for each of {self.agents}.")
        turn = self.game.agent_selection
        self.game.step(actions[turn])
        over = turn == RECEIVER
        rewards = dict(self.game.rewards) if over else dict.fromkeys(self.possible_agents, 0.0)
        ended = dict.fromkeys(self.possible_agents, over)
        infos = self._infos(None if over else RECEIVER)
        self.agents = [] if over else self.agents
        return self._seen(), rewards, ended, dict.fromkeys(self.possible_agents, False), infos

    def render(self) -> str | None:
        return self.game.render()

    def close(self) -> None:
        """Nothing to close."""

    def _seen(self) -> dict[str, Any]:
        return {agent: self.game.observe(agent) for agent in self.possible_agents}

    def _infos(self, turn: str | None) -> dict[str, dict[str, Any]]:
        """``turn``: whose action is listened to next, None at the end."""
        return {agent: {**self.game.infos[agent], "active": agent == turn} for agent in self.possible_agents}
