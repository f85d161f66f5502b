"""What an Algorithm does about Elastic Reset: reset before sampling, report, evaluate and export other weights.

A reset that an iteration made due is done at the beginning of the next one, before anything is sampled. So an evaluation
or a checkpoint of the iteration holds the weights before the reset (``er/reset_due`` is 1 there), and one that becomes
due with the last iteration of a run is never done. Returns of an iteration belong to the weights that it began with:
``er/recovering`` is 1 where those had been reset less than ``recovery`` ticks before.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from rllib_ext.runtime.learner_calls import call_learners

LEARNER_TIMEOUT_S = 600.0
_EXPORTS = {"ema": "ema", "best_pre_reset": "best"}


class ElasticResetAlgorithm:
    """Put it before the Algorithm class; its learners derive from ``ElasticResetLearner``."""

    _last_return: float | None = None

    def on_learners(self, function: Any, **arguments: Any) -> list[Any]:
        """Call ``function(learner, **arguments)`` on every learner; their answers."""
        return call_learners(self.learner_group, function, timeout_s=LEARNER_TIMEOUT_S, **arguments)

    def reset_if_due(self) -> bool:
        """Whether a reset was due; it has been done on all learners."""
        score = self._last_return
        return self.on_learners(lambda learner, **_: learner.reset_if_due(score))[0]

    def log_status(self) -> None:
        """``er/...`` of the first module."""
        for name, value in self.on_learners(lambda learner, **_: learner.elastic_status())[0].items():
            self.metrics.log_value(("er", name), value, window=1)

    def step(self) -> dict[str, Any]:
        result = super().step()
        self._last_return = result.get("env_runners", {}).get("episode_return_mean")
        return result

    @contextlib.contextmanager
    def wearing(self, which: str) -> Iterator[None]:
        """The learners carry "ema", "init" or "best" weights within."""
        self.on_learners(lambda learner, **_: learner.put_on(which))
        try:
            yield
        finally:
            self.on_learners(lambda learner, **_: learner.take_off())

    @contextlib.contextmanager
    def wearing_export(self) -> Iterator[None]:
        """The learners carry the weights that the knob ``export`` names."""
        if self.config.export == "online":
            yield
        else:
            with self.wearing(_EXPORTS[self.config.export]):
                yield

    def exported_weights(self) -> dict[str, Any]:
        """By module: the state that the knob ``export`` names, as ``LearnerGroup.get_weights`` gives it."""
        with self.wearing_export():
            return copy.deepcopy(self.learner_group.get_weights())
