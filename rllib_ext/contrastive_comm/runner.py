"""The rollout worker: many copies of a multi-agent environment, every network evaluated once a step for all of them.

RLlib's stock multi-agent worker steps one environment at a time in Python and keeps an episode object an agent; here a
step of B environments with A agents is a dozen array operations. ``sample()`` gives one stretch of ``rollout_steps``
steps of every environment (`columns`); with ``num_episodes`` it plays whole episodes and gives no columns.

A message is sent at one step and heard at the next; it never crosses from one episode into another.
"""

from __future__ import annotations

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

from envs.batched import Moment
from rllib_ext.contrastive_comm.columns import Played, Rollout
from rllib_ext.contrastive_comm.counting import log_episodes, log_steps
from rllib_ext.contrastive_comm.deciding import Decision, decide
from rllib_ext.contrastive_comm.environments import batched_environment
from rllib_ext.contrastive_comm.passing import Channel
from rllib_ext.contrastive_comm.stretch import Stretch
from rllib_ext.contrastive_comm.tally import Tally


class CommEnvRunner(EnvRunner, Checkpointable):
    """A rollout worker. ``config`` is a ContrastiveCommConfig."""

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        if (
            self.worker_index and self.config.num_env_runners
        ):  # a process of its own shares the cores with others
            torch.set_num_threads(1)
        self._weights_seq_no = 0
        self.make_env()
        self.make_module()
        self._random = np.random.default_rng(self._seed)
        self._sampler = torch.Generator().manual_seed(int(self._random.integers(2**62)))
        self._tally = self._new_tally()
        self._now: Moment | None = None
        self._episodes_begun = 0

    # ----- construction

    def make_env(self) -> None:
        if self.env is not None:
            self.env.close()
        self.num_envs = max(1, self.config.num_envs_per_env_runner)
        self.env = batched_environment(self.config.env, self.config.env_config, self.num_envs)

    def make_module(self) -> None:
        spec = self.config.get_multi_rl_module_spec(spaces=self.get_spaces(), inference_only=True)
        self.module = spec.build()
        self.policy = self.module[DEFAULT_MODULE_ID].unwrapped().eval()
        drop, noise = self.config.message_drop_prob, self.config.message_noise
        self.channel = Channel(len(self.env.possible_agents), self.policy.message_dim, drop, noise)

    def get_spaces(self) -> dict[str, tuple[gym.Space, gym.Space]]:
        """One module for all agents: observations (A, O), one action each."""
        agents, width = len(self.env.possible_agents), max(self.env.observation_sizes)
        observations = gym.spaces.Box(-np.inf, np.inf, (agents, width), np.float32)
        spaces = (observations, gym.spaces.MultiDiscrete([max(self.env.action_counts)] * agents))
        return {INPUT_ENV_SPACES: spaces, INPUT_ENV_SINGLE_SPACES: spaces, DEFAULT_MODULE_ID: spaces}

    def _new_tally(self) -> Tally:
        return Tally(self.num_envs, self.env.possible_agents, self.config.metrics_num_episodes_for_smoothing)

    # ----- playing

    def _begin(self, seed: int | None) -> None:
        """An episode in every environment; nothing is remembered and nothing was heard."""
        self._now = self.env.reset(seed)
        self._inbox, self._arrived = self.channel.empty(self.num_envs)
        self._memory = torch.zeros(len(self.env.possible_agents), self.num_envs, self.policy.memory)
        self._trajectory = self._episodes_begun + np.arange(self.num_envs)
        self._time = np.zeros(self.num_envs, dtype=np.int64)
        self._episodes_begun += self.num_envs

    def _play(self, explore: bool, hear: Any = None) -> tuple[Moment, Decision, Any]:
        """One step of every environment: what was seen, decided and brought about. hear: changes inboxes on their way."""
        now = self._now
        decision = decide(self.policy, now, self._inbox, self._memory, self._sampler if explore else None)
        step = self.env.step(decision.actions_BA)
        self._memory = decision.memory_ABH
        present = now.active_BA & step.now.active_BA
        self._inbox, self._arrived = self.channel.deliver(
            decision.said_BAD, present, step.now.first_BA, self._random
        )
        if hear is not None:
            self._inbox = hear(self._inbox)
        self._now = step.now
        return now, decision, step

    def sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        **_: Any,
    ) -> list[Rollout] | list[Played]:
        """One stretch, or whole episodes where ``num_episodes`` says how many (an evaluation)."""
        explore = self.config.explore if explore is None else explore
        if num_episodes is not None:
            _, steps, agent_steps = self.play_episodes(num_episodes, explore=explore)
            log_episodes(self.metrics, self._tally)
            return [Played(steps, agent_steps)]
        steps = self.config.rollout_steps if num_timesteps is None else -(-num_timesteps // self.num_envs)
        return [self.stretch(steps, explore)]

    def stretch(self, steps: int, explore: bool = True) -> Rollout:
        """The next ``steps`` steps of every environment."""
        if self._now is None:  # the first time, or after an evaluation
            self._begin(self._seed if self._episodes_begun == 0 else None)
        stretch = Stretch(self.policy, self._memory)
        for _ in range(steps):
            inbox, arrived, trajectory, time = (
                self._inbox,
                self._arrived,
                self._trajectory.copy(),
                self._time.copy(),
            )
            now, decision, step = self._play(explore)
            cut_off = None
            if step.truncated_BA.any():  # what is heard at the last observation is heard by nobody else
                present = now.active_BA & step.last.active_BA
                cut_off = self.channel.deliver(
                    decision.said_BAD, present, np.zeros_like(present), self._random
                )[0]
            stretch.add(now, inbox, arrived, decision, step, trajectory, time, cut_off)
            self._tally.add(step)
            self._count(step.done_B)
        rollout = Rollout(stretch.finish(self._now, self._inbox, self._memory))
        self.num_env_steps_sampled_lifetime += rollout.env_steps()
        log_steps(self.metrics, rollout, self.env.possible_agents)
        return rollout

    def _count(self, done_B: np.ndarray) -> None:
        """Number the episodes that begin, and the steps within each."""
        self._time = np.where(done_B, 0, self._time + 1)
        count = int(done_B.sum())
        self._trajectory[done_B] = self._episodes_begun + np.arange(count)
        self._episodes_begun += count

    def play_episodes(
        self, count: int, *, explore: bool = False, hear: Any = None, watch: Any = None
    ) -> tuple[list[dict[str, float]], int, int]:
        """(``count`` episodes as returns and measures, environment steps, agent steps), of episodes begun anew.

        Every environment plays its share, so that short episodes are not favoured. hear: (B, A, W) inboxes -> what is
        heard instead. watch: called with (row of environments that are counted (B,), moment, decision, step) each step.
        """
        self._tally = self._new_tally()
        self._begin(int(self._random.integers(2**31)))
        share_B = np.full(self.num_envs, count // self.num_envs)
        share_B[: count % self.num_envs] += 1
        episodes: list[dict[str, float]] = []
        steps = agent_steps = 0
        while len(episodes) < count:
            wanted_B = self._tally.ended_B < share_B
            now, decision, step = self._play(explore, hear)
            if watch is not None:
                watch(wanted_B, now, decision, step)
            steps += int(wanted_B.sum())
            agent_steps += int(now.active_BA[wanted_B].sum())
            episodes += self._tally.add(step, wanted_B)
        self._now = None  # training goes on with episodes of its own
        return episodes, steps, agent_steps

    # ----- RLlib's EnvRunner contract

    def get_metrics(self) -> Any:
        log_episodes(self.metrics, self._tally)
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
        """RLlib's weight sync: weights of a lower number than those that are there are not taken, 0 always is."""
        if COMPONENT_RL_MODULE in state:
            number = state.get(WEIGHTS_SEQ_NO, 0)
            if number == 0 or number > self._weights_seq_no:
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
        _ = self.env, self.module

    def stop(self) -> None:
        self.env.close()
