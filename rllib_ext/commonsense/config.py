"""The configuration of CommonsenseKBC. There is no environment: it learns from triples."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_ext.commonsense.data import KBData, data_of
from rllib_ext.commonsense.knobs import KNOBS
from rllib_ext.errors import BadConfig
from rllib_ext.runtime.knob_options import KnobOptions


class CommonsenseKBCConfig(KnobOptions, AlgorithmConfig):
    """CommonsenseKBCConfig().training(data="conceptnet", scorer="factorized", split="random")

    Without ``data`` it learns a synthetic base. Defaults of RLlib's own settings: lr 0.01 (of Adagrad), 200 positives an
    update, from the released configuration.
    """

    knobs = KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.commonsense.algorithm import CommonsenseKBC

        super().__init__(algo_class=algo_class or CommonsenseKBC)
        self.lr, self.train_batch_size_per_learner = 0.01, 200
        self.num_env_runners = 0
        self.torch_skip_nan_gradients = True  # the learner stops at one itself
        self._is_online = False  # nothing is played
        self.framework("torch")

    def get_default_learner_class(self) -> type:
        from rllib_ext.commonsense.learner import KBCLearner

        return KBCLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        from rllib_ext.commonsense.module import KBCModule

        return RLModuleSpec(module_class=KBCModule)

    @property
    def triples(self) -> KBData:
        """The data: read, or made, once a process."""
        return data_of(self)

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        train = self.triples.base.train
        sizes = {"words": len(train.vocabulary.words), "relations": len(train.vocabulary.relations)}
        own = {"model": self.scorer, "size": self.word_size, "hidden": self.hidden, "sparse": self.sparse}
        shape = (len(train), train.heads.shape[1], train.tails.shape[1])
        return super()._model_config_auto_includes | sizes | own | {"train_shape": shape}

    def get_multi_rl_module_spec(self, **settings: Any) -> Any:
        """RLlib's spec, with spaces that mean nothing."""
        formal = Box(0.0, 1.0, (1,), np.float32), Discrete(2)
        return super().get_multi_rl_module_spec(**settings | {"spaces": {DEFAULT_MODULE_ID: formal}})

    def validate(self) -> None:
        super().validate()
        if self.env is not None:
            raise BadConfig(
                f"env is {self.env!r}: CommonsenseKBC plays nothing; it learns from data={self.data!r}"
            )
        if self.num_learners > 1 or self.num_env_runners:
            raise BadConfig(
                f"num_learners is {self.num_learners} and num_env_runners {self.num_env_runners}: CommonsenseKBC learns "
                "in one learner (0 or 1) and plays nothing (0)"
            )
        if not isinstance(self.lr, float | int) or not 0 < self.lr <= 10:
            raise BadConfig(f"lr is {self.lr!r}; it must be a number in (0, 10], 0.01 by default")
        if self.train_batch_size_per_learner < 2:
            raise BadConfig(
                "train_batch_size_per_learner is below 2; negatives are made of the batch's own triples"
            )
        if self.synthetic_evaluation % 2:
            raise BadConfig(f"synthetic_evaluation is {self.synthetic_evaluation}; it must be even")
