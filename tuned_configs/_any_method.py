"""One trainable for several algorithms, so that the method can be an axis of a sweep like any other setting.

Tune gives a Tuner one trainable. This one has the setting ``algorithm``, a public name; everything else is that
algorithm's, which does all the work: results, checkpoints and resources are its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune import PlacementGroupFactory, Trainable

from rllib_ext.registry import algorithm
from rllib_ext.runtime.trial_folder import trial_folder

_INSIDE = "algorithm"  # in a checkpoint: the folder of the algorithm's own


class AnyMethod(Trainable):
    """Trains ``config["algorithm"]`` on the rest of ``config``."""

    @classmethod
    def default_resource_request(cls, config: Mapping[str, Any]) -> PlacementGroupFactory:
        name, settings = _split(config)
        return algorithm(name).default_resource_request(settings)

    def setup(self, config: dict[str, Any]) -> None:
        import rllib_ext

        rllib_ext.register()  # environments by their names, in this process
        name, settings = _split(config)
        self.inner = algorithm(name)(config={**settings, "run_folder": str(trial_folder(self))})

    def step(self) -> dict[str, Any]:
        return self.inner.train()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.inner.save(str(Path(checkpoint_dir) / _INSIDE))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.inner.restore(str(Path(checkpoint_dir) / _INSIDE))

    def cleanup(self) -> None:
        self.inner.stop()


def _split(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    settings = dict(config)
    return settings.pop("algorithm"), settings
