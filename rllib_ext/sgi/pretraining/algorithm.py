"""SGIPretrain: an Atari encoder pretrained on frames and actions, without rewards (Schwarzer et al. 2021, SGI).

An iteration is ``updates_per_iteration`` gradient steps on windows that the learner reads; nothing is played. `export`
writes the folder that finetuning starts from.
"""

from __future__ import annotations

import logging
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

from rllib_ext.errors import BadConfig
from rllib_ext.runtime.learner_calls import call_learners, learner_deaths
from rllib_ext.sgi.pretraining.config import SGIPretrainConfig
from rllib_ext.sgi.pretraining.data import about
from rllib_ext.sgi.pretraining.export import write_pretrained
from rllib_ext.sgi.pretraining.probing import probe_learner

LEARNER_TIMEOUT_S = 600.0
LOGGER = logging.getLogger(__name__)


class SGIPretrain(Algorithm):
    """See the module. Figures are means over an iteration, ``learners/default_policy/self_prediction_loss`` and such."""

    _last_return: float | None = None
    _was_collapsed = False

    @classmethod
    def get_default_config(cls) -> SGIPretrainConfig:
        return SGIPretrainConfig(algo_class=cls)

    def setup(self, config: Any) -> None:
        game = about(config.folders).get("game")
        named = str(config.env or "").rpartition("/")[2]
        if config.env is not None and named != game:
            raise BadConfig(
                f"env is {config.env!r} but the data of {config.folders[0]} are of {game!r}; give one of them"
            )
        super().setup(config)

    def training_step(self) -> None:
        """One iteration of updates, then a probe where one is due."""
        asked = SampleBatch({"updates": np.zeros(1, np.int64)})
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)), learner_deaths():
            results = self.learner_group.update(
                batch=MultiAgentBatch({DEFAULT_MODULE_ID: asked}, env_steps=1),
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 0},
                num_epochs=self.config.updates_per_iteration,
            )
            self.metrics.aggregate(results, key=LEARNER_RESULTS)
        self._warn(
            float(self.metrics.peek((LEARNER_RESULTS, DEFAULT_MODULE_ID, "collapsed"), default=0.0)) > 0
        )
        every = self.config.probe_every
        if every and (self.iteration + 1) % every == 0:
            for name, value in self.on_learners(probe_learner)[0].items():
                self.metrics.log_value(("probes", name), value, window=1)

    def _warn(self, collapsed: bool) -> None:
        if collapsed and not self._was_collapsed:
            LOGGER.warning(
                "the projection has collapsed: random states are closer than %g of what they were at first; add I or G "
                "to losses, or lower lr",
                self.config.collapse_below,
            )
        self._was_collapsed = collapsed

    @property
    def collapsed(self) -> bool:
        """Whether the monitor says so now."""
        return self._was_collapsed

    def export(self, folder: Path | str) -> Path:
        """Write the pretrained folder of the present weights; its path."""
        weights, updates = self.on_learners(_weights)[0]
        return write_pretrained(Path(folder), weights, self.config, updates)

    def step(self) -> dict[str, Any]:
        """RLlib's own, with the gradient steps of the whole run: what sweeps stop by."""
        return {**super().step(), "num_updates_lifetime": self.on_learners(_updates)[0]}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """RLlib's own (Tune's), with the pretrained folder in it."""
        super().save_checkpoint(checkpoint_dir)
        self.export(Path(checkpoint_dir) / "pretrained")

    def on_learners(self, function: Any, **arguments: Any) -> list[Any]:
        """Call ``function(learner, **arguments)`` on every learner; their answers."""
        return call_learners(self.learner_group, function, timeout_s=LEARNER_TIMEOUT_S, **arguments)

    def push_weights(self) -> None:
        """There is nobody to send weights to."""

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """RLlib's own, which would send the weights to workers that there are not."""
        Checkpointable.restore_from_path(self, path, *args, **kwargs)

    def cleanup(self) -> None:
        if getattr(self, "learner_group", None) is not None and self.learner_group.is_local:
            self.on_learners(_close)
        super().cleanup()


def _weights(learner: Any, **_: Any) -> tuple[dict[str, Any], int]:
    state = learner.networks.state_dict()
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}, learner.gradient_steps


def _updates(learner: Any, **_: Any) -> int:
    return learner.gradient_steps


def _close(learner: Any, **_: Any) -> None:
    learner.stream.close()
