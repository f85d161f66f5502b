"""SQOOP: does a model that is asked about few pairs of objects answer for all others (Bahdanau et al. 2019)?

An RLlib ``Algorithm``, and so a Tune trainable, with nothing of reinforcement learning in it: it is supervised. Scenes
are drawn with their answers, the loss is a cross-entropy, and no environment is played. It is the reference for what is
said of systematic generalization; the environment of the same name asks the same questions for a reward.

An iteration is ``updates_per_iteration`` gradient steps. Every ``evaluate_every`` iterations the model is examined on
three sets: ``acc_seen`` (training pairs, fresh scenes), ``acc_unseen_val`` and ``acc_unseen_test`` (pairs never
trained). A result also has ``loss_ema``, ``escape_step``, ``cpu_seconds`` (of the updates), ``best_*`` (the examination
with the best seen accuracy) and, of a model that learns its structure, ``p_tree`` or ``alpha_entropy``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import (
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)

from rllib_ext.runtime.learner_calls import call_learners, learner_deaths
from rllib_ext.sqoop.config import SQOOPConfig
from rllib_ext.sqoop.exporting import write_trained
from rllib_ext.sqoop.learner import examine, report, weights

LEARNER_TIMEOUT_S = 600.0


class SQOOP(Algorithm):
    """See the module."""

    _last_return: float | None = None

    @classmethod
    def get_default_config(cls) -> SQOOPConfig:
        return SQOOPConfig(algo_class=cls)

    def training_step(self) -> None:
        """One iteration of updates, then an examination where one is due; the first is, for schedulers need a metric."""
        asked = SampleBatch({"updates": np.zeros(1, np.int64)})
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)), learner_deaths():
            results = self.learner_group.update(
                batch=MultiAgentBatch({DEFAULT_MODULE_ID: asked}, env_steps=1),
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 0},
                num_epochs=self.config.updates_per_iteration,
            )
            self.metrics.aggregate(results, key=LEARNER_RESULTS)
        if self.iteration == 0 or (self.iteration + 1) % self.config.evaluate_every == 0:
            self.on_learners(examine)

    def step(self) -> dict[str, Any]:
        """RLlib's own, with the figures of the whole run."""
        return {**super().step(), **self.on_learners(report)[0]}

    def examine(self) -> dict[str, float]:
        """The accuracies of the present weights, by set."""
        self.on_learners(examine)
        found = self.on_learners(report)[0]
        return {name.removeprefix("acc_"): value for name, value in found.items() if name.startswith("acc_")}

    def export(self, folder: Path | str) -> Path:
        """Write the model as a folder that `rllib_ext.sqoop.exporting.read_trained` opens; its path."""
        last, best, updates = self.on_learners(weights)[0]
        return write_trained(
            folder,
            settings=self.config.encoder_settings,
            figures=self.on_learners(report)[0],
            weights={"last": last, "best": best},
            updates=updates,
        )

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """RLlib's own (Tune's), with the model's folder in it."""
        super().save_checkpoint(checkpoint_dir)
        self.export(Path(checkpoint_dir) / "trained")

    def on_learners(self, function: Any, **arguments: Any) -> list[Any]:
        """Call ``function(learner, **arguments)`` on every learner; their answers."""
        return call_learners(self.learner_group, function, timeout_s=LEARNER_TIMEOUT_S, **arguments)

    def push_weights(self) -> None:
        """There is nobody to send weights to."""

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """RLlib's own, which would send the weights to workers that there are not."""
        Checkpointable.restore_from_path(self, path, *args, **kwargs)
