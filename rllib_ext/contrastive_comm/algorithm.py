"""ContrastiveComm: independent agents that learn to act by PPO and to speak by contrasting messages (CACL, ICLR 2024).

A round: every rollout worker plays ``rollout_steps`` steps of all its environments, the learner makes ``num_epochs``
passes over them, the workers get the new weights. Other ways to learn messages are values of the knob ``comm``.
"""

from __future__ import annotations

import time
from typing import Any

from ray.rllib.algorithms.ppo import PPO
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)

from rllib_ext.contrastive_comm.columns import Rollout, as_batch, joined
from rllib_ext.contrastive_comm.config import ContrastiveCommConfig
from rllib_ext.errors import Stalled
from rllib_ext.runtime.learner_calls import call_learners, learner_deaths

LEARNER_TIMEOUT_S = 600.0
SILENT_ROUNDS = 3  # of sample_timeout_s each
RESTART_S = 1.0  # pause before workers that died are asked again


class ContrastiveComm(PPO):
    """See the module. Results have RLlib's names; ``learners/default_policy/cacl_loss`` and such are agents' means."""

    _silent_since: float | None = None
    _last_return: float | None = None

    @classmethod
    def get_default_config(cls) -> ContrastiveCommConfig:
        return ContrastiveCommConfig(algo_class=cls)

    def training_step(self) -> None:
        """Play, learn, send the weights."""
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            rollouts = self.sample_round()
        if not rollouts:
            return
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)), learner_deaths():
            results = self.learner_group.update(
                batch=as_batch(joined(rollouts)),
                timesteps={
                    NUM_ENV_STEPS_SAMPLED_LIFETIME: self.env_steps(),
                    NUM_MODULE_STEPS_TRAINED_LIFETIME: self.metrics.peek(
                        (LEARNER_RESULTS, ALL_MODULES, NUM_MODULE_STEPS_TRAINED_LIFETIME), default=0
                    ),
                },
                num_epochs=self.config.num_epochs,
            )
            self.metrics.aggregate(results, key=LEARNER_RESULTS)
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            self.push_weights()

    def sample_round(self) -> list[Rollout]:
        """A stretch of every worker that answers in time. Raises Stalled where none does for long."""
        group = self.env_runner_group
        remote = group.num_remote_workers() > 0
        answers = group.foreach_env_runner(
            lambda worker: (worker.sample(), worker.get_metrics()),
            local_env_runner=not remote,
            timeout_seconds=self.config.sample_timeout_s,
        )
        if not answers:
            self._note_silence(group.num_remote_workers())
            return []
        self._silent_since = None
        self.metrics.aggregate([metrics for _, metrics in answers], key=ENV_RUNNER_RESULTS)
        return [rollout for rollouts, _ in answers for rollout in rollouts]

    def _note_silence(self, workers: int) -> None:
        """Workers that died answer nothing at once; time is counted, not rounds, so that they can be restarted."""
        now, limit = time.monotonic(), SILENT_ROUNDS * self.config.sample_timeout_s
        self._silent_since = now if self._silent_since is None else self._silent_since
        if now - self._silent_since >= limit:
            raise Stalled(
                f"no rollout worker of {workers} answered for {now - self._silent_since:.0f} s ({SILENT_ROUNDS} times "
                f"sample_timeout_s={self.config.sample_timeout_s:g}); look at their logs for what the environment "
                "raised, or raise sample_timeout_s"
            )
        time.sleep(min(RESTART_S, limit))

    def env_steps(self) -> int:
        """Environment steps sampled so far."""
        return int(self.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))

    def push_weights(self) -> None:
        """Send the learner's weights to the rollout workers and wait, within a deadline, until they have them."""
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group,
            timeout_seconds=self.config.sample_timeout_s,
            inference_only=True,
        )

    def on_learners(self, function: Any, **arguments: Any) -> list[Any]:
        """Call ``function(learner, **arguments)`` on every learner; their answers."""
        return call_learners(self.learner_group, function, timeout_s=LEARNER_TIMEOUT_S, **arguments)

    def step(self) -> dict[str, Any]:
        result = super().step()
        self._last_return = result.get(ENV_RUNNER_RESULTS, {}).get("episode_return_mean")
        return result
