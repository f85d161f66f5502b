"""Periodic resets: what lets a data-efficient agent learn on with many updates a step.

    head, predictor      drawn anew
    encoder, dynamics    theta <- shrink theta + perturb phi,   phi drawn anew

Averages and targets are then the networks themselves, since what they averaged is gone; batch normalisation's statistics
stay, they describe the frames. Sources: Nikishin et al. (2022); D'Oro et al. (2023, SR-SPR: 0.8, 0.2); Schwarzer et al.
(2023, BBF: 0.5, 0.5).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rllib_ext.sgi.dynamics import LatentDynamics
from rllib_ext.sgi.encoders import AtariEncoder


@torch.no_grad()
def reset(networks: Any, *, shrink: float, perturb: float) -> None:
    """Carry one out on a RainbowModule, in place. New weights are drawn with a seed from the module's own generator."""
    seed = int(torch.randint(2**62, (), generator=networks.random))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in (*networks.head.modules(), networks.predictor):
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        if not networks.model_config["freeze_encoder"]:
            _shrink(networks.encoder, AtariEncoder(networks.encoder.size), shrink, perturb)
        dynamics = networks.dynamics
        _shrink(dynamics, LatentDynamics(networks.encoder.channels, dynamics.actions), shrink, perturb)
    networks.restart_averages()


def _shrink(module: nn.Module, fresh: nn.Module, shrink: float, perturb: float) -> None:
    for ours, drawn in zip(module.parameters(), fresh.parameters(), strict=True):
        ours.mul_(shrink).add_(drawn.to(ours), alpha=perturb)
