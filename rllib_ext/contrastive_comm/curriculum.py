"""Tells environments that grow harder how far training is.

An environment with `set_epoch` (Traffic-Junction with ``curriculum``) begins its episodes at the difficulty of the epoch
it was told last; epoch = environment steps sampled // ``epoch_steps``. Rollout workers are told after every iteration, so
one that was replaced in the meantime is told too, and after a checkpoint is loaded. Evaluations are of the task itself:
their workers are at the last epoch from the start. Where the same workers train and evaluate
(``evaluation_interval=None``), an evaluation is of the difficulty that training is at.

IC3Net's epoch is 10 updates of 500 steps in each of 16 processes, 80,000 steps. Environments without `set_epoch` are left
alone, and so are PettingZoo environments that are stepped one by one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback

LAST_EPOCH = 10**9  # later than every curriculum's end


def tell(worker: Any, epoch: int) -> bool:
    """Set the epoch of a worker's environments; whether they have any."""
    if not hasattr(worker.env, "set_epoch"):
        return False
    worker.env.set_epoch(epoch)
    return True


class Curriculum(RLlibCallback):
    """ContrastiveCommConfig's callback; one's own stand beside it: ``callbacks([Curriculum, Mine])``."""

    def on_algorithm_init(self, *, algorithm: Any, **_: Any) -> None:
        self._has_epochs = self._tell_workers(algorithm)
        if algorithm.eval_env_runner_group is not None:
            _tell(algorithm.eval_env_runner_group, LAST_EPOCH, algorithm.config.sample_timeout_s)

    def on_train_result(self, *, algorithm: Any, metrics_logger: Any, result: dict, **_: Any) -> None:
        if self._has_epochs:
            result["curriculum_epoch"] = self.epoch(algorithm)
            self._tell_workers(algorithm)

    def on_checkpoint_loaded(self, *, algorithm: Any, **_: Any) -> None:
        self._tell_workers(algorithm)

    @staticmethod
    def epoch(algorithm: Any) -> int:
        """The epoch that training is in."""
        return int(algorithm.env_steps() // algorithm.config.epoch_steps)

    def _tell_workers(self, algorithm: Any) -> bool:
        return _tell(algorithm.env_runner_group, self.epoch(algorithm), algorithm.config.sample_timeout_s)


def _tell(group: Any, epoch: int, timeout_s: float) -> bool:
    return any(group.foreach_env_runner(partial(tell, epoch=epoch), timeout_seconds=timeout_s))
