"""From pretraining to finetuning (SGI, section 3; spec of the released code).

    encoder           as pretrained
    first layers      those of the pretrained goal head; their noise begins at its first size
    dynamics,
    predictor         as pretrained, where pretraining had the SPR loss; else drawn anew, and said so
    averages          the pretrained averages
    last layers       drawn anew: nothing was learnt about rewards
    optimizers        begin anew

So the features of a frame, and SPR's projections of it, are the same numbers before and after.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from rllib_ext.errors import BadConfig
from rllib_ext.sgi.noisy import noisy_layers
from rllib_ext.sgi.pretrained import Card, Pretrained, load_pretrained

logger = logging.getLogger(__name__)


def card_of(folder: str | Path) -> Card:
    """The card of a pretrained folder; read again only where the folder was written again."""
    written = [path.stat().st_mtime_ns for path in Path(folder).glob("step_*/manifest.json")]
    return _card(str(folder), max(written, default=0))


@lru_cache(maxsize=8)
def _card(folder: str, written: int) -> Card:
    return load_pretrained(folder).card


def take_pretrained(networks: Any, folder: str | Path) -> Card:
    """Copy a pretrained folder's networks into a RainbowModule. Raises BadConfig, by name, where they do not fit."""
    pretrained = load_pretrained(folder)
    pretrained.require(
        encoder=networks.encoder.size, hidden=networks.head.first.hidden, actions=networks.actions
    )
    pretrained.load_into("encoder", networks.encoder)
    pretrained.load_into("target_encoder", networks.average_encoder)
    pretrained.load_into("target_first_layers", networks.average_first)
    _take_first_layers(pretrained, networks)
    for name in ("dynamics", "predictor"):
        if name in pretrained.tensors:
            pretrained.load_into(name, getattr(networks, name))
        else:
            logger.warning("%s has no %s (losses=%s): it is drawn anew", folder, name, pretrained.card.losses)
    if networks.has_target:
        networks.restart_target()
    return pretrained.card


@torch.no_grad()
def _take_first_layers(pretrained: Pretrained, networks: Any) -> None:
    first, given = networks.head.first, pretrained.group("first_layers")
    own = dict(first.named_parameters())
    means = {name for name in own if not name.endswith("_sigma")}
    if set(given) != means:
        raise BadConfig(
            f"first layers of {pretrained.path} are {sorted(given)}; expected {sorted(means)}. Pretrain again"
        )
    for name in means:
        own[name].copy_(given[name])
    for layer in noisy_layers(first):
        layer.reset_sigma()
