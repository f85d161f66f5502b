"""Modules and optimizers as groups of tensors for a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime.optimizer_state import flatten_optimizer, restore_optimizer

Groups = dict[str, dict[str, Tensor]]


def stores_of(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> tuple[Groups, dict[str, Any]]:
    """Tensors by group, and the optimizers' trees; a group without tensors (a fresh optimizer) is left out."""
    tensors: Groups = {f"module_{name}": dict(module.state_dict()) for name, module in modules.items()}
    trees: dict[str, Any] = {}
    for name, optimizer in optimizers.items():
        held, trees[name] = flatten_optimizer(optimizer.state_dict())
        tensors[f"optimizer_{name}"] = held
    return {name: group for name, group in tensors.items() if group}, {"optimizers": trees}


def load_stores(
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
) -> None:
    """Give modules and optimizers what ``stores_of`` took; ``CheckpointCorrupt`` where something is not there."""
    try:
        for name, module in modules.items():
            module.load_state_dict(tensors[f"module_{name}"])
        for name, optimizer in optimizers.items():
            tree = state["optimizers"][name]
            optimizer.load_state_dict(restore_optimizer(tensors.get(f"optimizer_{name}", {}), tree))
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointCorrupt(
            f"the checkpoint does not fit these agents ({error}). Restore it with the settings it was begun with."
        ) from error
