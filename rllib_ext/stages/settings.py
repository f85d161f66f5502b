"""The settings of one stage, checked, and what they mean for the training loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_ext.errors import BadConfig
from rllib_ext.llm.supervised_settings import Training
from rllib_ext.runtime.knobs import Knob, refuse_unknown, take_knobs

_TRAINING = {  # field of Training → knob
    "lr": "lr",
    "batch_size": "batch_size",
    "epochs": "epochs",
    "max_steps": "max_updates",
    "max_seconds": "max_seconds",
    "schedule": "lr_schedule",
    "warmup_steps": "warmup_updates",
    "weight_decay": "weight_decay",
    "grad_clip": "max_grad_norm",
    "accumulation": "gradient_accumulation",
    "precision": "precision",
    "adam_eps": "adam_eps",
    "group_by_length": "group_by_length",
    "whole_batches": "whole_batches",
    "seed": "seed",
}


def checked(knobs: Mapping[str, Knob], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob's value: the defaults, over them what was chosen; an unknown name answers with the nearest."""
    settings = dict(chosen)
    taken = take_knobs(dict(knobs), settings)
    refuse_unknown(knobs, settings)
    values = {name: knob.default for name, knob in knobs.items()} | taken
    if not values["model"]:
        raise BadConfig("model is not set; give the hub name or folder of a causal LM: model=<folder>")
    training_of(values)
    return values


def training_of(values: Mapping[str, Any]) -> Training:
    """The loop's settings."""
    device = None if values["num_gpus"] else "cpu"
    return Training.of({name: values[knob] for name, knob in _TRAINING.items()} | {"device": device})
