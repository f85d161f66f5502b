"""From the weights of a run, or of its checkpoint, to a pretrained folder (`rllib_ext.sgi.pretrained`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rllib_ext.sgi.pretrained import GROUPS, Card, save_pretrained
from rllib_ext.sgi.pretraining.data import about, actions_of
from rllib_ext.sgi.pretraining.knobs import KNOBS


def write_pretrained(folder: Path, weights: Mapping[str, Tensor], config: Any, updates: int) -> Path:
    """Write the pretrained folder of an SGIModule's ``state_dict``; its path."""
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        network, _, inside = name.partition(".")
        tensors.setdefault(network, {})[inside] = tensor
    found = about(config.folders)
    meanings = tuple(found.get("action_meanings") or ())
    settings = {name: getattr(config, name) for name in KNOBS}
    settings |= {
        name: getattr(config, name) for name in ("lr", "gamma", "train_batch_size_per_learner", "seed")
    }
    card = Card(
        encoder=config.encoder,
        hidden=config.hidden,
        actions=actions_of(config.folders[0]),
        game=str(found.get("game", "")),
        losses=config.losses,
        horizon=config.horizon,
        updates=updates,
        action_meanings=meanings,
        environment=dict(found.get("flags") or {}),
        data={"folders": [str(path) for path in config.folders], "about": dict(found)},
        settings=settings,
    )
    kept = {name: group for name, group in tensors.items() if name in GROUPS}
    return save_pretrained(folder, tensors=kept, card=card)
