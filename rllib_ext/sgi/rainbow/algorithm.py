"""SGIRainbow: data-efficient Rainbow with the SPR loss, from scratch or from a pretrained encoder (SGI, NeurIPS 2021).

A step of training: every copy of the game takes ``rollout_steps`` steps, they go into the replay, and the learner makes
up for them with exactly ``updates_per_step`` updates a step, each on a batch drawn with the priorities that the one
before it left. Nothing is learnt in the first ``learning_starts`` steps, which are random.

With the learner in this process (``num_learners=0``, the default) the local worker acts with the learner's own tensors:
no weights are sent. Remote workers get them after every round.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)

from rllib_ext.errors import Stalled
from rllib_ext.runtime.learner_calls import call_learners, learner_deaths
from rllib_ext.sgi.rainbow import schedules
from rllib_ext.sgi.rainbow.config import SGIRainbowConfig
from rllib_ext.sgi.replay import FrameSequenceReplayBuffer
from rllib_ext.sgi.stretch import Stretch

LEARNER_TIMEOUT_S = 600.0
SILENT_ROUNDS = 3  # of sample_timeout_s each
RESTART_S = 1.0  # pause before workers that died are asked again


class SGIRainbow(Algorithm):
    """See the module. ``env_runners/episode_return_mean`` is the mean score of whole games, in points."""

    _last_return: float | None = None

    @classmethod
    def get_default_config(cls) -> SGIRainbowConfig:
        return SGIRainbowConfig(algo_class=cls)

    def setup(self, config: Any) -> None:
        super().setup(config)
        self.steps = self.updates = 0
        self._silent_since: float | None = None
        self.buffers = self._new_buffers()
        self._turn = 0
        if self._local is not None and self.learner_group.is_local:
            self._local.share(self.learner_group._learner.module[DEFAULT_MODULE_ID].unwrapped())
        else:
            self.push_weights()

    @property
    def _local(self) -> Any:
        """The worker in this process; None where there are others."""
        group = self.env_runner_group
        return group.local_env_runner if not group.num_remote_workers() else None

    def _new_buffers(self) -> list[FrameSequenceReplayBuffer]:
        """One for every worker: the copies of one advance together."""
        config = self.config
        workers = max(1, config.num_env_runners)
        copies = max(1, config.num_envs_per_env_runner)
        return [
            FrameSequenceReplayBuffer(
                config.replay_capacity // workers, games=copies, window=config.window, alpha=config.priority_exponent,
                seed=(config.seed or 0) + 104729 * worker,
            )
            for worker in range(workers)
        ]  # fmt: skip

    # ----- the step of training

    def training_step(self) -> None:
        """An iteration: ``steps_per_iteration`` steps, and the updates that go with them."""
        end = self.steps + self.config.steps_per_iteration
        while self.steps < end:
            with self._timed(ENV_RUNNER_SAMPLING_TIMER):
                stretches = self.play()
            if not stretches:
                return
            for worker, stretch in stretches:
                stretch.into(self.buffers[worker])
                self.steps += stretch.env_steps()
            with self._timed(LEARNER_UPDATE_TIMER):
                self.learn()
        self._collect_metrics()

    def play(self) -> list[tuple[int, Stretch]]:
        """(worker, stretch) of every worker that answers in time. Raises Stalled where none does for long."""
        steps, epsilon = self.config.rollout_steps, schedules.epsilon(self.config, self.steps)
        if self._local is not None:
            return [(0, self._local.stretch(steps, epsilon=epsilon))]
        answers = self.env_runner_group.foreach_env_runner(
            lambda worker: (worker.worker_index - 1, worker.stretch(steps, epsilon=epsilon)),
            local_env_runner=False, timeout_seconds=self.config.sample_timeout_s,
        )  # fmt: skip
        if answers:
            self._silent_since = None
        else:
            self._note_silence()
        return answers

    def learn(self) -> None:
        """Make the updates that are due."""
        due = schedules.updates_due(self.config, self.steps)
        before = self.updates
        while self.updates < due and self._ready():
            self.update_once()
        if self.updates > before and self._local is None:
            self.push_weights()

    def _ready(self) -> bool:
        return any(buffer.ready for buffer in self.buffers)

    def update_once(self) -> None:
        """One batch, one update, its priorities. Buffers of several workers take turns."""
        buffer = self._next_buffer()
        steps, gamma = schedules.horizon(self.config, self.updates)
        windows = buffer.sample(
            self.config.train_batch_size_per_learner,
            spr_steps=self.config.spr_steps if self.config.spr_weight else 1,
            n_step=steps,
            gamma=gamma,
            beta=schedules.importance(self.config, self.steps),
        )
        batch = MultiAgentBatch(
            {DEFAULT_MODULE_ID: SampleBatch(windows.columns())}, env_steps=len(windows.index_N)
        )
        with learner_deaths():
            results = self.learner_group.update(
                batch=batch, timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.steps}
            )
        self.metrics.aggregate(results, key=LEARNER_RESULTS)
        self.updates += 1
        for taken in self.on_learners(lambda learner, **_: learner.take_priorities()):
            for index_N, priority_N in taken:
                buffer.update_priorities(index_N, priority_N)

    def _next_buffer(self) -> FrameSequenceReplayBuffer:
        ready = [buffer for buffer in self.buffers if buffer.ready]
        self._turn += 1
        return ready[self._turn % len(ready)]

    def _collect_metrics(self) -> None:
        if self._local is not None:
            found = [self._local.get_metrics()]
        else:
            found = self.env_runner_group.foreach_env_runner(
                lambda worker: worker.get_metrics(), local_env_runner=False,
                timeout_seconds=self.config.sample_timeout_s,
            )  # fmt: skip
        self.metrics.aggregate(found, key=ENV_RUNNER_RESULTS)
        shown = {
            "replay_steps": sum(len(buffer) for buffer in self.buffers),
            "epsilon": schedules.epsilon(self.config, self.steps),
        }
        for name, value in shown.items():
            self.metrics.log_value((ENV_RUNNER_RESULTS, name), value, window=1)

    def _timed(self, name: str) -> contextlib.AbstractContextManager[Any]:
        return self.metrics.log_time((TIMERS, name))

    def _note_silence(self) -> None:
        """Workers that died answer nothing at once; time is counted, not rounds, so that they can be restarted."""
        now, limit = time.monotonic(), SILENT_ROUNDS * self.config.sample_timeout_s
        self._silent_since = now if self._silent_since is None else self._silent_since
        if now - self._silent_since >= limit:
            raise Stalled(
                f"no rollout worker answered for {now - self._silent_since:.0f} s ({SILENT_ROUNDS} times "
                f"sample_timeout_s={self.config.sample_timeout_s:g}); look at their logs for what the environment "
                "raised, or raise sample_timeout_s"
            )
        time.sleep(min(RESTART_S, limit))

    # ----- what the package's runs and checkpoints ask of an algorithm

    def push_weights(self) -> None:
        """Send the learner's weights to workers that do not share them, and wait until they have them."""
        if self._local is not None and self.learner_group.is_local:
            return
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

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """RLlib's, and what RLlib knows nothing of: replay, counters, where the games stand. Parts are RLlib's alone."""
        from rllib_ext.sgi.rainbow import persistence

        state = super().get_state(components, not_components=not_components, **kwargs)
        if components is not None:
            return state
        arrays, plain = persistence.collected(self)
        copied = {name: np.array(array) for name, array in arrays.items()}
        return {**state, persistence.OWN_STATE: {"arrays": copied, "plain": plain}}

    def set_state(self, state: dict[str, Any]) -> None:
        from rllib_ext.sgi.rainbow import persistence

        super().set_state(state)
        if persistence.OWN_STATE in state:
            own = state[persistence.OWN_STATE]
            persistence.give_back(self, own["arrays"], own["plain"])
