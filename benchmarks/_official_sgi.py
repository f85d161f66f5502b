"""The update of SGI's released pretraining code, in its cost structure: what is computed, how often, over which tensors.

Written from a description of it (the specification of this package), none of its code is here. Where it says less, the
cheaper way is taken. What it has and ours has not:

* windows of 64 frames, of which 13 are looked at;
* noisy linear layers: weights made of means, deviations and new noise for every use, deviations trained;
* a second head, of reward, whose weight in the loss is zero but which is in every copy and whose noise is drawn;
* two copies of the whole model, both averaged with every update, tensor by tensor: SPR's targets and G's target network;
* Adam one tensor at a time, gradients' norms likewise;
* the goal's conditioning made again for every network and state that it is asked for.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rllib_ext.functional.augmentation import augment
from rllib_ext.functional.categorical import cross_entropy, dueling, support
from rllib_ext.functional.goal_conditioned import (
    double_q_target,
    draw_goals,
    progress_reward,
    synthetic_goals,
)
from rllib_ext.functional.self_predictive import inverse_dynamics, self_prediction
from rllib_ext.sgi.dynamics import LatentDynamics
from rllib_ext.sgi.encoders import AtariEncoder

WINDOW, ATOMS, HIDDEN, GAMMA, TAU = 64, 51, 512, 0.99, 0.01


class MaterialisedNoise(nn.Module):
    """A noisy linear layer that makes its weights anew for every use."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_sigma, self.bias_sigma = (
            nn.Parameter(torch.zeros_like(p)) for p in (self.weight, self.bias)
        )
        self.register_buffer("weight_noise", torch.zeros(outputs, inputs))
        self.register_buffer("bias_noise", torch.zeros(outputs))

    def sample(self) -> None:
        inputs, outputs = (torch.randn(size) for size in reversed(self.weight.shape))
        inputs, outputs = (noise.sign() * noise.abs().sqrt() for noise in (inputs, outputs))
        self.weight_noise.copy_(torch.outer(outputs, inputs))
        self.bias_noise.copy_(outputs)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight + self.weight_sigma * self.weight_noise
        return F.linear(x, weight, self.bias + self.bias_sigma * self.bias_noise)


class NoisyHead(nn.Module):
    """A dueling C51 head of noisy layers."""

    def __init__(self, latent: int, actions: int) -> None:
        super().__init__()
        self.actions = actions
        self.advantage, self.value = (MaterialisedNoise(latent, HIDDEN) for _ in range(2))
        self.advantage_out, self.value_out = (
            MaterialisedNoise(HIDDEN, actions * ATOMS),
            MaterialisedNoise(HIDDEN, ATOMS),
        )

    def forward(self, flat: Tensor, film: tuple[Tensor, ...] | None = None) -> Tensor:
        a, v = self.advantage(flat).relu(), self.value(flat).relu()
        if film is not None:
            a, v = a * film[0] + film[1], v * film[2] + film[3]
        advantage = self.advantage_out(a).unflatten(-1, (self.actions, ATOMS))
        return dueling(self.value_out(v), advantage)

    def project(self, flat: Tensor) -> Tensor:
        return torch.cat(
            [F.linear(flat, one.weight, one.bias) for one in (self.advantage, self.value)], dim=-1
        )


class WholeModel(nn.Module):
    """Everything, of which two more copies are kept."""

    def __init__(self, encoder: str, actions: int) -> None:
        super().__init__()
        self.encoder = AtariEncoder(encoder)
        channels, latent = self.encoder.channels, self.encoder.latent_dim
        self.goal_head, self.reward_head = NoisyHead(latent, actions), NoisyHead(latent, actions)
        self.condition = nn.Sequential(
            nn.Unflatten(-1, (channels, 7, 7)), nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(2 * latent, 4 * HIDDEN),
        )  # fmt: skip
        self.dynamics = LatentDynamics(channels, actions)
        self.predictor = nn.Linear(2 * HIDDEN, 2 * HIDDEN)
        self.inverse = nn.Sequential(nn.Linear(4 * HIDDEN, 256), nn.ReLU(), nn.Linear(256, actions))

    def goal_logits(self, latents: Tensor, goals: Tensor) -> Tensor:
        return self.goal_head(latents.flatten(1), self.condition(goals).chunk(4, dim=-1))

    def sample(self) -> None:
        for layer in self.modules():
            if isinstance(layer, MaterialisedNoise):
                layer.sample()


class OfficialUpdate:
    """``step()`` is one update on a random batch of ``frames`` (N, 84, 84) and ``actions`` (N,)."""

    def __init__(
        self, frames: np.ndarray, actions_N: np.ndarray, actions: int, encoder: str, batch: int, horizon: int
    ) -> None:
        self.frames, self.actions_N, self.batch, self.horizon = frames, actions_N, batch, horizon
        torch.manual_seed(0)
        self.model = WholeModel(encoder, actions)
        self.momentum, self.target = (copy.deepcopy(self.model).requires_grad_(False) for _ in range(2))
        self.adam = torch.optim.Adam(self.model.parameters(), lr=1e-4, eps=1.5e-4, foreach=False, fused=False)
        self.draw, self.random = torch.Generator().manual_seed(0), np.random.default_rng(0)
        self.values = support(-10.0, 10.0, ATOMS)

    def step(self) -> dict[str, float]:
        """S, G and I of this update."""
        start_B = self.random.integers(0, len(self.frames) - WINDOW, self.batch)
        windows = torch.from_numpy(self.frames[start_B[:, None] + np.arange(WINDOW)])
        actions_BK = torch.from_numpy(self.actions_N[start_B[:, None] + 3 + np.arange(self.horizon)]).long()
        stacks = windows.unfold(1, 4, 1).movedim(-1, 2)
        for model in (self.model, self.target):
            model.sample()
        predicted, seen, loss_S, loss_I = self._self_predicted(stacks, actions_BK)
        loss_G = self._goals(stacks, actions_BK[:, 0], predicted, seen)
        (loss_S + loss_G + loss_I).backward()
        self._apply()
        return {"S": float(loss_S), "G": float(loss_G), "I": float(loss_I)}

    def _view(self, stacks: Tensor) -> Tensor:
        return augment(stacks.reshape(-1, 4, 84, 84), self.draw)

    def _self_predicted(self, stacks: Tensor, actions_BK: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        model, horizon = self.model, self.horizon
        first = model.encoder(self._view(stacks[:, 0]))
        rolled = torch.stack(model.dynamics.roll_out(first, actions_BK), dim=1)
        with torch.no_grad():
            _follow(self.momentum, model)
            seen = self.momentum.encoder(self._view(stacks[:, : horizon + 1])).unflatten(
                0, (self.batch, horizon + 1)
            )
            targets = self.momentum.goal_head.project(seen.flatten(0, 1).flatten(1)).unflatten(
                0, (self.batch, -1)
            )
        projected = model.goal_head.project(rolled.flatten(0, 1).flatten(1)).unflatten(
            0, (self.batch, horizon + 1)
        )
        valid = torch.ones_like(actions_BK)
        loss_S = self_prediction(model.predictor(projected)[:, 1:], targets[:, 1:], valid)[0].mean()
        logits = model.inverse(torch.cat([projected[:, :-1], targets[:, 1:]], dim=-1))
        return first, seen, loss_S, inverse_dynamics(logits, actions_BK, valid)[0].mean()

    def _goals(self, stacks: Tensor, actions_B: Tensor, first: Tensor, seen: Tensor) -> Tensor:
        with torch.no_grad():
            ahead = torch.from_numpy(self.random.integers(2, 50, self.batch))
            latents = self.momentum.encoder(self._view(stacks[torch.arange(self.batch), ahead])).flatten(1)
            goals = synthetic_goals(latents, draw_goals(torch.ones(self.batch), latents.shape[-1], self.draw))
            reward = GAMMA * progress_reward(seen[:, 0].flatten(1), seen[:, 1].flatten(1), goals)
            following = self._view(stacks[:, 1])
            online = self.model.goal_logits(self.model.encoder(following), goals)
            target = self.target.goal_logits(self.target.encoder(following), goals)
            wanted = double_q_target(reward, torch.full_like(reward, GAMMA), online, target, self.values)
        logits = self.model.goal_logits(first, goals)[torch.arange(self.batch), actions_B]
        return cross_entropy(logits, wanted).mean()

    def _apply(self) -> None:
        model = self.model
        heads = [*model.encoder.parameters(), *model.goal_head.parameters()]
        for part in (heads, list(model.dynamics.parameters())):
            nn.utils.clip_grad_norm_(part, 10.0, foreach=False)
        for (
            parameter
        ) in model.reward_head.parameters():  # its loss has weight zero; its gradient is there all the same
            parameter.grad = torch.zeros_like(parameter)
        self.adam.step()
        self.adam.zero_grad()
        with torch.no_grad():
            _follow(self.target, model)


def _follow(average: nn.Module, model: nn.Module) -> None:
    """Tensor by tensor, noise and unused heads too."""
    for kept, given in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.copy_((1 - TAU) * kept + TAU * given)
