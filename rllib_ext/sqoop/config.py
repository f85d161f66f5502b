"""The configuration of SQOOP. There is no environment to play: scenes are drawn with their answers."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from envs.sqoop import SqoopGenerator
from rllib_ext.errors import BadConfig, unknown_name
from rllib_ext.runtime.knob_options import KnobOptions
from rllib_ext.sqoop.encoders import ENCODER_KNOBS
from rllib_ext.sqoop.knobs import KNOBS
from rllib_ext.sqoop.sizes import recipe

ENVIRONMENT = "SQOOP"
KEPT = {"mini": 40_000, "paper": 0}  # training scenes


class SQOOPConfig(KnobOptions, AlgorithmConfig):
    """SQOOPConfig().training(encoder="nmn", layout="tree", rhs_per_lhs=1)

    ``environment("SQOOP", env_config={...})`` may name arguments of `envs.sqoop.SqoopGenerator` that differ from the
    preset.
    """

    knobs = KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.sqoop.algorithm import SQOOP

        super().__init__(algo_class=algo_class or SQOOP)
        self.lr = None  # the recipe's, as the batch
        self.num_env_runners = 0
        self.torch_skip_nan_gradients = True  # RLlib's own check reads every gradient; the learner its norm
        self._is_online = False  # nothing is played
        self.framework("torch")

    def get_default_learner_class(self) -> type:
        from rllib_ext.sqoop.learner import SqoopLearner

        return SqoopLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        from rllib_ext.sqoop.supervised_module import SupervisedSqoop

        return RLModuleSpec(module_class=SupervisedSqoop)

    def generator(self) -> SqoopGenerator:
        """What draws the scenes. Raises BadConfig for an unknown argument, BadEnv for what cannot be drawn."""
        known = [name for name in inspect.signature(SqoopGenerator).parameters if name != "seed"]
        for name in self.env_config:
            if name not in known:
                raise unknown_name("argument of SqoopGenerator in env_config", name, known)
        return SqoopGenerator.preset(self.preset, **self.env_config)

    @property
    def encoder_settings(self) -> dict[str, Any]:
        """What `build_encoder` takes: the knobs of the model and the shapes of the data."""
        generator = self.generator()
        chosen = {name: getattr(self, name) for name in ENCODER_KNOBS} | {"size": self.size or self.preset}
        return {**chosen, "image_shape": generator.shape, "vocabulary": generator.num_tokens}

    @property
    def kept_scenes(self) -> int:
        """Training scenes that are gone through again; 0: none is."""
        return KEPT[self.preset] if self.train_scenes is None else self.train_scenes

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | self.encoder_settings

    def get_multi_rl_module_spec(self, **settings: Any) -> Any:
        """RLlib's spec, with the picture and the question of the generator as what is observed."""
        generator = self.generator()
        observed = Dict(
            image=Box(0, 255, generator.shape, np.uint8),
            question=MultiDiscrete([generator.num_tokens] * 3),
        )
        spaces = {DEFAULT_MODULE_ID: (observed, Discrete(2))}
        return super().get_multi_rl_module_spec(**settings | {"spaces": spaces})

    def validate(self) -> None:
        found = recipe(self.encoder, self.size or self.preset, module=self.module, layout=self.layout)
        if self.lr is None:
            self.lr = found.lr
        if self._train_batch_size_per_learner is None:  # the property has 32 for it, RLlib's own
            self.train_batch_size_per_learner = found.batch
        super().validate()
        if self.env is not None and self.env != ENVIRONMENT:
            raise BadConfig(
                f"env is {self.env!r}; SQOOP is trained on scenes of its own: leave it out, or give 'SQOOP'"
            )
        if not isinstance(self.lr, float | int) or not 0 < self.lr <= 1:
            raise BadConfig(
                f"lr is {self.lr!r}; it must be a number in (0, 1], or None: the recipe's, {found.lr:g}"
            )
        batch = self.train_batch_size_per_learner
        if batch < 2:
            raise BadConfig(
                f"train_batch_size_per_learner is {batch}; it must be 2 or more: BatchNorm has a batch"
            )
        if 0 < self.kept_scenes < batch or self.kept_scenes % 2 or self.eval_scenes % 2:
            raise BadConfig(
                f"train_scenes is {self.kept_scenes} and eval_scenes {self.eval_scenes}: both must be even, and the "
                f"first 0 or at least train_batch_size_per_learner={batch}"
            )
        if self.num_learners > 1 or self.num_env_runners:
            raise BadConfig(
                f"num_learners is {self.num_learners} and num_env_runners {self.num_env_runners}: SQOOP learns in one "
                "learner (0 or 1) and plays nothing (0)"
            )
        glyphs = self.generator().num_glyphs
        if not 1 <= self.rhs_per_lhs < glyphs:
            raise BadConfig(f"rhs_per_lhs is {self.rhs_per_lhs}; with {glyphs} glyphs it must be below that")
