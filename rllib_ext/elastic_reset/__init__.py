"""Elastic Reset (arXiv 2312.07551): the policy is reset to its average now and then, the average to the initial weights.

The objective is not touched; what is bounded is how far the policy can drift.

    tick:   ema <- eta ema + (1 - eta) online          reset:  online <- ema,  ema <- init

A mixin for learners (``ElasticResetLearner``) and one for algorithms, put on RLlib's PPO (any Gymnasium environment), on
AsyncPPO and AsyncOnlineDPO (language models). The variants of its ablation are one knob. The critic, the optimizer's
moments and the weight of a KL penalty stay through a reset unless a knob says otherwise.

Left out: NLPO (a baseline of the IMDB study that needs a second, masking policy).
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "PRESETS": "knobs",
    "ElasticResetLearner": "learner",
    "ElasticResetPPO": "ppo",
    "ElasticResetPPOConfig": "ppo",
    "ResetAware": "scheduler",
}

__all__ = ["PRESETS", "ElasticResetLearner", "ElasticResetPPO", "ElasticResetPPOConfig", "ResetAware"]


def __getattr__(name: str) -> Any:
    """Imported where first used: a list of names reads this package's modules without bringing in Ray."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"rllib_ext.elastic_reset.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
