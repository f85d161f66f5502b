"""CommonsenseKBC: is (head phrase, relation, tail phrase) true? Li et al. 2016; Jastrzębski et al. 2018 (1804.09259).

Supervised learning inside, whatever RLlib calls it: an iteration is ``updates_per_iteration`` gradient steps on triples
that the learner reads, nothing is played, and there is no reward. It is an RLlib Algorithm, so that Tune, checkpoints,
the command line and reports serve it as they serve the others. What it scores highly is not therefore true: see the
warnings of `rllib_ext.commonsense.mining`.

Every ``judge_every`` iterations the threshold is fitted on dev1, and results have ``kbc/...``, the figures of the present
weights, and ``best/...``, those of the weights that dev2 has selected (names: `evaluation`).
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

from rllib_ext.commonsense.config import CommonsenseKBCConfig
from rllib_ext.commonsense.export import save_scorer
from rllib_ext.commonsense.knobs import KNOBS
from rllib_ext.commonsense.scorers import UNTRAINED
from rllib_ext.commonsense.selection import Kept
from rllib_ext.runtime.learner_calls import call_learners, learner_deaths

LEARNER_TIMEOUT_S = 3600.0  # a judgement measures 2,400 x 100,000 distances once
MODEL, QUARANTINE = "model", "quarantine.jsonl"
LOGGER = logging.getLogger(__name__)


class CommonsenseKBC(Algorithm):
    """See the module. ``learners/default_policy/bce_loss`` and such are means over an iteration."""

    _last_return: float | None = None

    @classmethod
    def get_default_config(cls) -> CommonsenseKBCConfig:
        return CommonsenseKBCConfig(algo_class=cls)

    def setup(self, config: Any) -> None:
        data = config.triples
        where = Path(config.quarantine or Path(self.logdir) / QUARANTINE).expanduser()
        if count := data.write_quarantine(where):
            LOGGER.warning(
                "%d lines of %s cannot be used; %s lists them with their reasons", count, config.data, where
            )
        super().setup(config)

    def training_step(self) -> None:
        """One iteration of updates, then a judgement where one is due."""
        if not self.untrained:
            asked = SampleBatch({"updates": np.zeros(1, np.int64)})
            with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)), learner_deaths():
                results = self.learner_group.update(
                    batch=MultiAgentBatch({DEFAULT_MODULE_ID: asked}, env_steps=1),
                    timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 0},
                    num_epochs=self.config.updates_per_iteration,
                )
                self.metrics.aggregate(results, key=LEARNER_RESULTS)
        if self.untrained or (self.iteration + 1) % self.config.judge_every == 0:
            self.judge()

    @property
    def untrained(self) -> bool:
        """Whether the scorer has nothing to learn: one iteration then says all there is to say."""
        return self.config.scorer in UNTRAINED

    def judge(self) -> dict[str, dict[str, float]]:
        """Figures of the present weights ("last") and of the selected ones ("best"); they go into the results."""
        found = self.on_learners(_judge)[0]
        for key, figures in (("kbc", found["last"]), ("best", found["best"])):
            for name, value in figures.items():
                self.metrics.log_value((key, *name.split("/")), value, window=1)
        return found

    def export(self, folder: Path | str) -> Path:
        """Write the selected weights (the present ones before any judgement) as a folder; its path."""
        return save_scorer(folder, **self.on_learners(_exported)[0])

    def step(self) -> dict[str, Any]:
        """RLlib's own, with the gradient steps of the whole run, and what became of the data's lines. An untrained
        scorer is done.
        """
        counts = [report.counts() for report in self.config.triples.reports]
        totals = {
            f"data/{name}": sum(one[name] for one in counts) for name in ("read", "quarantined") if counts
        }
        done = {"done": True} if self.untrained else {}
        return {**super().step(), "num_updates_lifetime": self.on_learners(_updates)[0], **totals, **done}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """RLlib's own (Tune's), with the exported folder in it."""
        super().save_checkpoint(checkpoint_dir)
        self.export(Path(checkpoint_dir) / MODEL)

    def on_learners(self, function: Any, **arguments: Any) -> list[Any]:
        """Call ``function(learner, **arguments)`` on every learner; their answers."""
        return call_learners(self.learner_group, function, timeout_s=LEARNER_TIMEOUT_S, **arguments)

    def push_weights(self) -> None:
        """There is nobody to send weights to."""

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """RLlib's own, which would send the weights to workers that there are not."""
        Checkpointable.restore_from_path(self, path, *args, **kwargs)


def _judge(learner: Any, **_: Any) -> dict[str, dict[str, float]]:
    return learner.judge_now()


def _updates(learner: Any, **_: Any) -> int:
    return learner.gradient_steps


def _exported(learner: Any, **_: Any) -> dict[str, Any]:
    """The arguments of `save_scorer`: all of them of the weights that are written."""
    config, selection = learner.config, learner.selection
    kept = selection.kept or Kept.of(learner.judge(learner.scorer), learner.scorer, learner.gradient_steps)
    included = config._model_config_auto_includes
    names = ("model", "words", "relations", "size", "hidden", "sparse", "train_shape")
    settings = {
        name: getattr(config, name) for name in (*KNOBS, "lr", "train_batch_size_per_learner", "seed")
    }
    return {
        "weights": kept.weights,
        "model_config": {name: included[name] for name in names},
        "train": learner.data.base.train,
        "threshold": kept.figures["threshold"],
        "dev1": (kept.dev1_scores, learner.data.base.dev1.labels),
        "updates": int(kept.figures["updates"]),
        "about": {"settings": settings, "data": learner.data.about, "figures": kept.figures},
    }
