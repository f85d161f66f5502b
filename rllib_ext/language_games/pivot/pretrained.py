"""Pretrained agents that several runs begin from: kept in a folder by a digest of all that made them.

Two runs may make the same ones at once: each writes beside the place and renames, the second finds the place taken and
drops its own, which are the same to the bit on one machine. The digest covers data, seed, sizes, pretraining settings and
torch's version, so what is found is what would have been made.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rllib_ext.language_games.pivot.knobs import MODEL, PRETRAINING
from rllib_ext.language_games.stores import load_stores, stores_of
from rllib_ext.runtime import checkpoint

_MAKING = (
    *MODEL,
    *(name for name in PRETRAINING if name != "pretrained_folder"),
    "grad_clip",
    "seed",
    "num_gpus",
)


def place_of(values: Mapping[str, Any], data_digest: str) -> Path | None:
    """Where the agents of these settings are or would be; None where none are kept."""
    if values["pretrained_folder"] is None:
        return None
    made_by = {name: values[name] for name in _MAKING} | {"data": data_digest, "torch": torch.__version__}
    digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
    return Path(values["pretrained_folder"]).expanduser().absolute() / digest[:24]


def load_pretrained(place: Path, modules: Mapping[str, nn.Module]) -> bool:
    """Give the modules the agents at ``place``, verified; False where none are kept there."""
    path = checkpoint.latest(place) if place.is_dir() else None
    if path is None:
        return False
    loaded = checkpoint.load(path)
    load_stores(modules, {}, loaded.tensors, loaded.state)
    return True


def keep_pretrained(place: Path, modules: Mapping[str, nn.Module], updates: int) -> None:
    """Write the modules to ``place`` unless something is there already."""
    if place.exists():
        return
    beside = place.with_name(f"{place.name}.tmp-{uuid.uuid4().hex}")
    tensors, state = stores_of(modules, {})
    checkpoint.save(beside, step=updates, tensors=tensors, state=state)
    try:
        beside.rename(place)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        if not place.is_dir():
            raise
