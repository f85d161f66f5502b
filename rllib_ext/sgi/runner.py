"""The rollout worker for Atari: copies of one game on ALE's vector environment, one batch through the policy a step.

RLlib's own worker keeps an episode object a copy and sends every step through connectors. Here a step of B copies is one
call of the emulators and one of the policy; frames stay bytes, and each is kept once (`stretch`).

Where the games stand can be kept too: ALE's vector environment has no snapshot, but a game is a function of its seed and
actions, so a restored worker plays its actions again (some 2,000 steps a second) and stands where it stood. Beyond
`REPLAYED` actions it begins new games instead, and says so to whoever stores its steps (``Stretch.follows``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME, WEIGHTS_SEQ_NO

from rllib_ext.errors import BadConfig
from rllib_ext.sgi.acting import Actor, epsilon_at
from rllib_ext.sgi.atari_names import atari_copies, count_actions
from rllib_ext.sgi.games_played import GamesPlayed
from rllib_ext.sgi.stretch import Counted, Stretch

REPLAYED = 4_000_000  # actions of all copies together


class AtariRunner(EnvRunner, Checkpointable):
    """A rollout worker. ``config``: an SGIRainbowConfig, or another with its names."""

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self._evaluates = bool(self.config.in_evaluation)
        if self.worker_index and self.num_workers:  # a process of its own shares the cores with others
            torch.set_num_threads(1)
        self._weights_seq_no = 0
        self.num_envs = self._count_copies()
        self.actions = count_actions(self.config.env, self.config.env_config)
        self.module = None
        self.make_module()
        self.actor = Actor(self.policy, self.actions, self._seed)
        self.played = GamesPlayed(self._window())
        self._copies: Any = None
        self._frame_BHW: np.ndarray | None = None
        self._begun = 0
        self._history = bytearray()

    # ----- construction

    def _count_copies(self) -> int:
        if not self._evaluates:
            return max(1, self.config.num_envs_per_env_runner)
        return -(-self.config.evaluation_duration // max(1, self.config.num_env_runners))

    def _window(self) -> int:
        """Games whose mean is reported; all of them where a worker evaluates."""
        return self.num_envs if self._evaluates else self.config.metrics_num_episodes_for_smoothing

    def make_env(self) -> Any:
        """The copies, made when they are first needed: an evaluation's hundred may never be."""
        if self._copies is None:
            purpose = "evaluate" if self._evaluates else "train"
            self._copies = atari_copies(self.config.env, self.config.env_config, self.num_envs, purpose)
        return self._copies

    def make_module(self) -> None:
        spec = self.config.get_multi_rl_module_spec(spaces=self.get_spaces(), inference_only=True)
        self.module = spec.build()
        self.policy = self.module[DEFAULT_MODULE_ID].unwrapped()

    def get_spaces(self) -> dict[str, tuple[gym.Space, gym.Space]]:
        spaces = (gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), gym.spaces.Discrete(self.actions))
        return {INPUT_ENV_SPACES: spaces, INPUT_ENV_SINGLE_SPACES: spaces, DEFAULT_MODULE_ID: spaces}

    def share(self, module: Any) -> None:
        """Act with a learner's own weights: nothing is copied, and the newest are always there.

        For a learner in this process. Noise and modes stay apart, as those are not in the tensors.
        """
        theirs = dict(module.state_dict(keep_vars=True))
        for name, tensor in self.policy.state_dict(keep_vars=True).items():
            tensor.data = theirs[name].data

    # ----- playing

    def _begin(self, seed: int | None) -> None:
        copies = self.make_env()
        self._frame_BHW = copies.reset(seed)
        self._started_B = np.ones(self.num_envs, bool)
        self._follows = False
        self._begun += 1
        self._history_seed = seed
        self._history = bytearray()

    def _next_seed(self) -> int | None:
        """The worker's own for the first games, and others after it."""
        return None if self._seed is None else self._seed + 7919 * self._begun

    def _act(self, epsilon: float, explore: bool) -> tuple[np.ndarray, Any]:
        action_B = self.actor.decide(self._copies.stack_B4HW, epsilon, explore)
        moment = self._copies.step(action_B)
        self._frame_BHW, self._started_B = moment.frame_BHW, moment.started_B
        if not self._evaluates and len(self._history) <= REPLAYED:
            self._history += action_B.astype(np.uint8).tobytes()
        return action_B, moment

    def stretch(self, steps: int, *, epsilon: float | None = None, explore: bool | None = None) -> Stretch:
        """The next ``steps`` steps of every copy. epsilon: in place of the schedule's; 1 is a random policy."""
        explore = self.config.explore if explore is None else explore
        if self._frame_BHW is None:
            self._begin(self._next_seed())
        out = Stretch.empty(steps, self.num_envs, self._follows)
        self._follows = True
        for t in range(steps):
            out.frame_TBHW[t], out.started_TB[t] = self._frame_BHW, self._started_B
            action_B, moment = self._act(self.epsilon() if epsilon is None else epsilon, explore)
            out.action_TB[t], out.reward_TB[t] = action_B, moment.reward_B
            out.terminated_TB[t], out.truncated_TB[t] = moment.terminated_B, moment.truncated_B
            self.played.add(moment)
            self.num_env_steps_sampled_lifetime += self.num_envs
        return out

    def epsilon(self) -> float:
        """Of the schedule, at the steps that all workers have taken if each took as many as this one.

        An algorithm that counts the steps of all of them says it itself.
        """
        config = self.config
        if self._evaluates:
            return config.evaluation_epsilon
        return epsilon_at(
            self.num_env_steps_sampled_lifetime * max(1, config.num_env_runners),
            random_steps=config.learning_starts, decay_steps=config.epsilon_steps, last=config.epsilon,
        )  # fmt: skip

    def play_games(self, count: int, watch: Any = None) -> int:
        """Play ``count`` games to their end with the means of the layers; the steps that took.

        Every copy plays its share from the start, one game where there are as many copies: were the first ``count`` games
        to end taken instead, short ones would be favoured. watch: called with every moment and the copies that count.
        """
        self.played = GamesPlayed(count)
        self._begin(self._next_seed())
        share_B = np.full(self.num_envs, count // self.num_envs)
        share_B[: count % self.num_envs] += 1
        done = steps = 0
        while done < count:
            wanted_B = share_B > 0
            _, moment = self._act(self.config.evaluation_epsilon, False)
            if watch is not None:
                watch(moment, wanted_B)
            done += self.played.add(moment, wanted_B)
            share_B -= (moment.episode_length_B > 0) & wanted_B
            steps += int(wanted_B.sum())
        self._frame_BHW = None
        return steps

    def sample(
        self, *, num_timesteps: int | None = None, num_episodes: int | None = None, explore: bool | None = None, **_: Any
    ) -> list[Stretch] | list[Counted]:  # fmt: skip
        """One stretch, or games where ``num_episodes`` says how many (an evaluation)."""
        if num_episodes is not None:
            if not self._evaluates:
                raise BadConfig(
                    "an evaluation needs copies of its own, without the flags of training; set evaluation_interval"
                )
            return [Counted(self.play_games(num_episodes))]
        steps = self.config.rollout_steps if num_timesteps is None else -(-num_timesteps // self.num_envs)
        return [self.stretch(steps, explore=explore)]

    # ----- where the games stand

    def play_state(self) -> dict[str, Any]:
        """What a worker needs to go on as if it had never stopped, as JSON but for ``history`` (bytes)."""
        known = self._frame_BHW is not None and len(self._history) <= REPLAYED
        return {
            "steps": self.num_env_steps_sampled_lifetime, "begun": self._begun, "actor": self.actor.state(),
            "played": self.played.state(), "seed": self._history_seed if known else None,
            "history": bytes(self._history) if known and self._history_seed is not None else None,
        }  # fmt: skip

    def restore_play(self, state: Mapping[str, Any]) -> bool:
        """The inverse: plays the recorded actions again. False where new games have to be begun instead."""
        self.num_env_steps_sampled_lifetime = state["steps"]
        self.actor.restore(state["actor"])
        self.played.restore(state["played"])
        history = state["history"]
        self._begun = state["begun"]
        if history is None or len(history) % self.num_envs:
            self._frame_BHW = None
            return False
        self._begin(state["seed"])
        self._begun = state["begun"]
        for action_B in np.frombuffer(history, np.uint8).reshape(-1, self.num_envs):
            moment = self._copies.step(action_B.astype(np.int64))
            self._frame_BHW, self._started_B = moment.frame_BHW, moment.started_B
        self._history, self._follows = bytearray(history), True
        return True

    # ----- RLlib's EnvRunner contract

    def get_metrics(self) -> Any:
        self.played.report(self.metrics)
        return self.metrics.reduce()

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        state: dict[str, Any] = {NUM_ENV_STEPS_SAMPLED_LIFETIME: self.num_env_steps_sampled_lifetime}
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            state[COMPONENT_RL_MODULE] = self.module.get_state(
                components=self._get_subcomponents(COMPONENT_RL_MODULE, components),
                not_components=self._get_subcomponents(COMPONENT_RL_MODULE, not_components), **kwargs,
            )  # fmt: skip
            state[WEIGHTS_SEQ_NO] = self._weights_seq_no
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """RLlib's weight sync: weights of a number that is known already are not taken, 0 always is."""
        if COMPONENT_RL_MODULE in state:
            number = state.get(WEIGHTS_SEQ_NO, 0)
            if number == 0 or number != self._weights_seq_no:
                weights = state[COMPONENT_RL_MODULE]
                if isinstance(weights, ray.ObjectRef):  # RLlib stores them once for all of its workers
                    weights = ray.get(weights, timeout=self.config.sample_timeout_s)
                self.module.set_state(weights)
            self._weights_seq_no = number or self._weights_seq_no
        self.num_env_steps_sampled_lifetime = state.get(
            NUM_ENV_STEPS_SAMPLED_LIFETIME, self.num_env_steps_sampled_lifetime
        )

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        return (), {"config": self.config, "worker_index": self.worker_index, "num_workers": self.num_workers}

    def assert_healthy(self) -> None:
        """Raises where the worker was not made whole."""
        _ = self.module, self.actor

    def stop(self) -> None:
        if self._copies is not None:
            self._copies.close()
