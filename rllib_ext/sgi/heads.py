"""What stands on the encoder: the two first layers that every loss shares, and the distributional heads behind them.

    first layers     W_A z, W_V z          512 each; side by side, without ReLU, they are SPR's projection (1024)
    dueling C51      V(relu W_V z) + A(relu W_A z) - mean A            finetuning: reward
    goal head        the same with each hidden layer scaled and shifted by what the goal says (FiLM)     pretraining

Source: the released code of SGI, which shares these layers so that they are what finetuning starts from. The output of
the advantages has no bias: one number an atom is the same for all actions, and the dueling form takes it out again.

The class of linear layers is an argument: `nn.Linear`, or one with noise. The latter keeps the means of its weights under
the names of `nn.Linear` (``weight``, ``bias``), so that weights pass from one to the other by name, and so that the
projection, which uses no noise, finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rllib_ext.functional.categorical import dueling
from rllib_ext.sgi.encoders import LATENT

__all__ = ["TORSO_SCALE", "DuelingC51", "FirstLayers", "GoalHead", "scale_gradient"]

Linear = Callable[..., nn.Module]
TORSO_SCALE = 2.0**-0.5  # two branches reach the torso: the dueling paper's rescaling of what they send back


class FirstLayers(nn.Module):
    """The first layers of the advantage and value branches."""

    def __init__(self, latent_dim: int, hidden: int = 512, linear: Linear = nn.Linear) -> None:
        super().__init__()
        self.latent_dim, self.hidden = latent_dim, hidden
        self.advantage = linear(latent_dim, hidden)
        self.value = linear(latent_dim, hidden)

    def forward(self, latents_BX: Tensor) -> tuple[Tensor, Tensor]:
        """(advantage, value), (B, hidden) each, before their ReLU; the torso gets 1/sqrt 2 of their gradient."""
        flat_BD = scale_gradient(latents_BX.flatten(1), TORSO_SCALE)
        return self.advantage(flat_BD), self.value(flat_BD)

    def project(self, latents_BX: Tensor) -> Tensor:
        """SPR's projection (B, 2 hidden): both layers side by side, advantage first, without noise, without ReLU."""
        flat_BD = latents_BX.flatten(1)
        layers = (self.advantage, self.value)
        return torch.cat([F.linear(flat_BD, layer.weight, layer.bias) for layer in layers], dim=-1)


class DuelingC51(nn.Module):
    """Latents (B, C, 7, 7) -> logits (B, A, N) of the distribution of each action's return."""

    def __init__(self, first: FirstLayers, actions: int, atoms: int = 51, linear: Linear = nn.Linear) -> None:
        super().__init__()
        self.actions, self.atoms = actions, atoms
        self.first = first
        self.advantage_out = linear(first.hidden, actions * atoms, bias=False)
        self.value_out = linear(first.hidden, atoms)

    def forward(self, latents_BX: Tensor) -> Tensor:
        advantage_BH, value_BH = self.first(latents_BX)
        advantage_BAN = self.advantage_out(advantage_BH.relu()).unflatten(-1, (self.actions, self.atoms))
        return dueling(self.value_out(value_BH.relu()), advantage_BAN)


class GoalHead(nn.Module):
    """A dueling C51 head whose hidden layers are scaled and shifted by the goal (FiLM; Perez et al. 2018).

    `conditions` turns goals into scales and shifts; they depend on the goals alone, so they are made once for all states
    of an update. Its last layer holds nine tenths of all parameters of pretraining. ``bug_compat``: modulate the
    ADVANTAGE branch's result again where the value branch's hidden layer belongs, as the released code does (the value
    branch of the first layers then learns nothing from this loss).
    """

    def __init__(
        self, channels: int, hidden: int, actions: int, atoms: int = 51, *, bug_compat: bool = False
    ) -> None:
        super().__init__()
        self.channels, self.hidden, self.actions, self.atoms = channels, hidden, actions, atoms
        self.bug_compat = bug_compat
        self.condition = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1), nn.ReLU(inplace=True),
            nn.Flatten(), nn.Linear(2 * channels * LATENT**2, 4 * hidden),
        )  # fmt: skip
        self.advantage_out = nn.Linear(hidden, actions * atoms, bias=False)
        self.value_out = nn.Linear(hidden, atoms)

    def conditions(self, goals_BD: Tensor) -> Tensor:
        """Goals as latents (B, C 7 7) or (B, C, 7, 7) -> (B, 4, hidden): a scale and a shift for each branch."""
        goals_BCHW = goals_BD.reshape(len(goals_BD), self.channels, LATENT, LATENT)
        return self.condition(goals_BCHW).unflatten(-1, (4, self.hidden))

    def forward(self, branches: tuple[Tensor, Tensor], conditions_B4H: Tensor) -> Tensor:
        """(advantage, value) of the first layers, before their ReLU, and conditions -> logits (B, A, N)."""
        scale_A, shift_A, scale_V, shift_V = conditions_B4H.unbind(dim=1)
        advantage_BH = branches[0].relu() * scale_A + shift_A
        value_BH = advantage_BH if self.bug_compat else branches[1].relu()
        value_BN = self.value_out(value_BH * scale_V + shift_V)
        advantage_BAN = self.advantage_out(advantage_BH).unflatten(-1, (self.actions, self.atoms))
        return dueling(value_BN, advantage_BAN)


def scale_gradient(values: Tensor, factor: float) -> Tensor:
    """``values`` as they are, whose gradient comes back multiplied by ``factor``."""
    scaled: Tensor = _ScaledGradient.apply(values, factor)
    return scaled


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return slope * ctx.factor, None
