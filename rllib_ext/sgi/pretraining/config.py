"""The configuration of SGIPretrain. There is no environment to play: the data say which game it is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_ext.errors import BadConfig
from rllib_ext.runtime.knob_options import KnobOptions
from rllib_ext.sgi.pretraining.data import actions_of
from rllib_ext.sgi.pretraining.knobs import KNOBS

LOSSES = "SGI"


class SGIPretrainConfig(KnobOptions, AlgorithmConfig):
    """SGIPretrainConfig().training(data="frames/pong", encoder="S")

    An ``environment("Atari100k/Pong")`` is a name to check the data against, and may be left out. Defaults of RLlib's own
    settings: lr 1e-4, 256 windows an update, gamma 0.99, all from the released configuration.
    """

    knobs = KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.sgi.pretraining.algorithm import SGIPretrain

        super().__init__(algo_class=algo_class or SGIPretrain)
        self.lr, self.gamma, self.train_batch_size_per_learner = 1e-4, 0.99, 256
        self.num_env_runners = 0
        self.torch_skip_nan_gradients = (
            True  # RLlib's own check reads every gradient; the learner looks at norms
        )
        self._is_online = False  # nothing is played
        self.framework("torch")

    def get_default_learner_class(self) -> type:
        from rllib_ext.sgi.pretraining.learner import SGILearner

        return SGILearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        from rllib_ext.sgi.pretraining.module import SGIModule

        return RLModuleSpec(module_class=SGIModule)

    @property
    def folders(self) -> list[Path]:
        """Where the frames are."""
        if not self.data:
            raise BadConfig(
                "data is not set: give a folder of frames, data=<folder>. `rllib-ext frames collect --help` says how "
                "to make one; `rllib-ext train SGIPretrain --smoke` makes a small one by itself."
            )
        return [Path(folder.strip()).expanduser() for folder in self.data.split(",") if folder.strip()]

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        names = ("encoder", "losses", "horizon", "hidden", "predictor", "atoms", "bug_compat")
        return super()._model_config_auto_includes | {name: getattr(self, name) for name in names}

    def get_multi_rl_module_spec(self, **settings: Any) -> Any:
        """RLlib's spec, with stacks of frames and as many actions as the data name."""
        found = Box(0, 255, (4, 84, 84), np.uint8), Discrete(actions_of(self.folders[0]))
        return super().get_multi_rl_module_spec(**settings | {"spaces": {DEFAULT_MODULE_ID: found}})

    def validate(self) -> None:
        super().validate()
        if not self.losses or set(self.losses) - set(LOSSES) or len(set(self.losses)) < len(self.losses):
            raise BadConfig(
                f"losses is {self.losses!r}; it must be any of S, G and I, each at most once: SGI, SI, G"
            )
        self.losses = "".join(letter for letter in LOSSES if letter in self.losses)
        if self.losses == "S":
            warnings.warn(
                "losses='S': self-prediction alone tends to forget what tells states apart; add I or G",
                stacklevel=2,
            )
        if self.goal_nearest > self.goal_farthest:
            raise BadConfig(
                f"goal_nearest is {self.goal_nearest}; it must be at most goal_farthest={self.goal_farthest}"
            )
        if self.num_learners > 1 or self.num_env_runners:
            raise BadConfig(
                f"num_learners is {self.num_learners} and num_env_runners {self.num_env_runners}: SGIPretrain learns in "
                "one learner (0 or 1) and plays nothing (0)"
            )
        if not isinstance(self.lr, float | int) or not 0 < self.lr <= 1:
            raise BadConfig(f"lr is {self.lr!r}; it must be a number in (0, 1], 1e-4 by default")
        if self.train_batch_size_per_learner < 2:
            raise BadConfig("train_batch_size_per_learner is below 2; goals are swapped within a batch")
