"""Atari100k: one game, or many copies of it, as Gymnasium's Env and VectorEnv, for learners that are not this package's.

Names: ``Atari100k/Pong`` for RLlib, ``rllib_ext/Atari100k-Pong-v0`` for ``gymnasium.make`` and ``make_vec``; the other 25
games accordingly. Observations are (4, 84, 84) uint8, the last four frames, oldest first. Actions, rewards, ends and
arguments are those of `envs.atari`.

In RLlib, ``config.env_runners(gym_env_vectorize_mode="vector_entry_point", num_envs_per_env_runner=8)`` gives one
`AtariVector` a runner, on ALE's own threads; without it, one `AtariSingle` a copy.

What Gymnasium's way of ending costs. A learning episode that ended is shown with its last observation, and the next one
begins with ``reset`` or, in `AtariVector`, with the next step, whose action is ignored (`AutoresetMode.NEXT_STEP`, which
RLlib's runners expect). The other copies go on meanwhile, so the copy plays one idle step, unseen: one transition of a
copy and episode that no learner gets, and it does not count as one. `envs.atari.AtariCopies` loses none.

``info`` holds, of each copy: ``points`` (of the step, not clipped), ``life_lost``, ``game_over``, and where a whole game
ended ``game_return`` and ``game_length``, its points and steps (0 elsewhere).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.atari import SIZE, STACK, AtariCopies, AtariMoment, Bytes

NOOP = 0


def _space() -> Box:
    return Box(0, 255, (STACK, SIZE, SIZE), np.uint8)


class AtariSingle(gymnasium.Env[Bytes, np.int64]):
    """One game; the module is the documentation page. Arguments: `envs.atari.AtariCopies`, without ``num_envs``."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}

    def __init__(self, game: str = "Pong", *, render_mode: str | None = None, **flags: Any) -> None:
        self._copies = AtariCopies(game, 1, **{"num_threads": 1, **flags})
        self.render_mode = render_mode
        self.observation_space = _space()
        self.action_space = Discrete(self._copies.num_actions)
        self._begun_anew = False

    @property
    def copies(self) -> AtariCopies:
        """What is played on, with its flags and the meanings of the actions."""
        return self._copies

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Bytes, dict[str, Any]]:
        """Begin a learning episode: after a lost life the same game, without the frames before."""
        super().reset(seed=seed)
        if seed is not None or not self._begun_anew:
            self._copies.reset(seed)
        self._begun_anew = False
        return self._copies.stack_B4HW[0].copy(), {}

    def step(self, action: Any) -> tuple[Bytes, float, bool, bool, dict[str, Any]]:
        """One step; the observation of an episode's end is its last one."""
        before_4HW = self._copies.stack_B4HW[0].copy()
        moment = self._copies.step(np.array([action]))
        self._begun_anew = bool(moment.started_B[0])
        seen_4HW = self._copies.stack_B4HW[0].copy()
        if self._begun_anew:
            seen_4HW = np.concatenate([before_4HW[1:], _newest(moment)[:1]])
        info = {key: values[0] for key, values in _info(moment).items()}
        ends = bool(moment.terminated_B[0]), bool(moment.truncated_B[0])
        return seen_4HW, float(moment.reward_B[0]), *ends, info

    def render(self) -> Any:
        """(84, 84, 3) uint8: the newest frame."""
        return np.repeat(self._copies.stack_B4HW[0, -1, :, :, None], 3, axis=2)

    def close(self) -> None:
        """Stop the emulator."""
        self._copies.close()


class AtariVector(VectorEnv[Bytes, NDArray[np.int64], Any]):
    """Copies of one game; the module is the documentation page. Arguments: `envs.atari.AtariCopies`."""

    def __init__(self, game: str = "Pong", num_envs: int = 1, **flags: Any) -> None:
        self._copies = AtariCopies(game, num_envs, **flags)
        self.num_envs = self._copies.num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.render_mode = None
        self.single_observation_space = _space()
        self.single_action_space = Discrete(self._copies.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._stack_B4HW = np.zeros((num_envs, STACK, SIZE, SIZE), np.uint8)
        self._ended_B = np.zeros(num_envs, bool)

    @property
    def copies(self) -> AtariCopies:
        """What is played on, with its flags and the meanings of the actions."""
        return self._copies

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Bytes, dict[str, Any]]:
        """Begin a game in every copy. Several seeds stand for one: the copies' own follow from all of them."""
        if seed is not None and not isinstance(seed, int):
            known = [value for value in seed if value is not None]
            seed = int(np.random.SeedSequence(known).generate_state(1)[0]) if known else None
        self._stack_B4HW[:] = 0
        self._stack_B4HW[:, -1] = self._copies.reset(seed)
        self._ended_B[:] = False
        return self._stack_B4HW.copy(), {}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Bytes, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One step of every copy; a copy whose episode ended in the step before begins the next one."""
        hidden_B = self._ended_B
        moment = self._copies.step(np.where(hidden_B, NOOP, actions))
        shown_B = ~hidden_B
        newest_BHW = moment.frame_BHW.copy()
        ended_B = moment.started_B & shown_B
        if ended_B.any():
            newest_BHW[ended_B] = _newest(moment)[ended_B]
        self._stack_B4HW[:, :-1] = self._stack_B4HW[:, 1:]
        self._stack_B4HW[hidden_B, :-1] = 0
        self._stack_B4HW[:, -1] = newest_BHW
        self._ended_B = ended_B
        info = {
            key: np.where(shown_B, values, 0).astype(values.dtype) for key, values in _info(moment).items()
        }
        rewards_B = np.where(shown_B, moment.reward_B, 0).astype(np.float32)
        ends = moment.terminated_B & shown_B, moment.truncated_B & shown_B
        return self._stack_B4HW.copy(), rewards_B, *ends, info

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the emulators."""
        self._copies.close()


def _newest(moment: AtariMoment) -> Bytes:
    """(B, 84, 84): the newest frame before anything began anew."""
    if moment.last_frame_BHW is None:
        return moment.frame_BHW
    ended_B = moment.game_over_B | moment.truncated_B
    return np.where(ended_B[:, None, None], moment.last_frame_BHW, moment.frame_BHW)


def _info(moment: AtariMoment) -> dict[str, NDArray[Any]]:
    return {
        "points": moment.raw_reward_B,
        "life_lost": moment.life_lost_B,
        "game_over": moment.game_over_B,
        "game_return": moment.episode_return_B,
        "game_length": moment.episode_length_B,
    }


def create(game: str, env_config: dict[str, Any]) -> AtariSingle | AtariVector:
    """What RLlib asks for: an `AtariVector` where ``env_config`` holds ``num_envs``, else an `AtariSingle`."""
    settings = dict(env_config)
    if "num_envs" in settings:
        return AtariVector(game, settings.pop("num_envs"), **settings)
    return AtariSingle(game, **settings)
