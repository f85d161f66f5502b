"""The layers of several agents' networks side by side: one weight with an agent axis, one matrix product for all.

Independent agents have parameters of their own (S = A); agents that share have one set (S = 1). Either way activations
are ``(A, rows, features)``, and the cost of an agent more is a longer product, not another pass of Python. With separate
parameters no output of an agent depends on another's parameters, which is what makes them independent.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class AgentLinear(nn.Module):
    """x W + b for every agent: (A, rows, inputs) -> (A, rows, outputs).

    Weights begin orthogonal with ``gain``, an agent at a time, biases at 0: with the square root of 2 for hidden layers,
    what agents see still differs in what they say after four layers. (torch.nn.Linear's own draw shrinks it to a few
    hundredths: all messages begin alike, and contrasting them is slow. The paper does not say how its weights begin.)
    """

    def __init__(self, sets: int, inputs: int, outputs: int, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sets, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(sets, 1, outputs))
        for one in self.weight.data:
            nn.init.orthogonal_(one, gain)

    def matrix(self) -> Tensor:
        """The weights that are multiplied with, (S, inputs, outputs)."""
        return self.weight

    def forward(self, x_ARI: Tensor) -> Tensor:
        weight = self.matrix()
        if len(weight) == 1:  # shared: one product over all rows of all agents
            return F.linear(x_ARI, weight[0].T, self.bias[0, 0])
        return torch.baddbmm(self.bias, x_ARI, weight)


class SpectralAgentLinear(AgentLinear):
    """The same with every agent's weights divided by their largest singular value (Miyato et al. 2018).

    Estimated by one step of power iteration each training forward, from where the last one stopped; elsewhere the
    estimate stays as it is, so that a rollout worker computes with exactly the numbers that were published.
    """

    def __init__(self, sets: int, inputs: int, outputs: int) -> None:
        super().__init__(sets, inputs, outputs)
        left, _, right = torch.linalg.svd(self.weight.detach())
        self.register_buffer("left", left[:, :, :1].clone())
        self.register_buffer("right", right[:, :1].transpose(1, 2).clone())

    def matrix(self) -> Tensor:
        if self.training and torch.is_grad_enabled():
            with torch.no_grad():
                self.left = F.normalize(self.weight @ self.right, dim=1)
                self.right = F.normalize(self.weight.transpose(1, 2) @ self.left, dim=1)
        left, right = self.left.clone(), self.right.clone()
        return self.weight / (left.transpose(1, 2) @ self.weight @ right)


class AgentGRU(nn.Module):
    """A gated recurrent unit an agent (Cho et al. 2014, torch.nn.GRU's gates), over stretches with resets in them."""

    def __init__(self, sets: int, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.from_input = AgentLinear(sets, inputs, 3 * hidden, gain=math.sqrt(3))
        self.from_state = AgentLinear(sets, hidden, 3 * hidden, gain=math.sqrt(3))

    def forward(self, x_ABTI: Tensor, state_ABH: Tensor, first_ABT: Tensor) -> tuple[Tensor, Tensor]:
        """(states before each step, states after it), both (A, B, T, H).

        state_ABH: what was remembered before the stretch; first_ABT: steps at which an agent begins anew, from zeros.
        """
        agents, rows, steps, inputs = x_ABTI.shape
        gates_ABTG = self.from_input(x_ABTI.reshape(agents, rows * steps, inputs)).view(
            agents, rows, steps, -1
        )
        keep_ABT1 = (~first_ABT).to(x_ABTI.dtype).unsqueeze(-1)
        before, after = [], []
        for t in range(steps):
            state_ABH = state_ABH * keep_ABT1[:, :, t]
            before.append(state_ABH)
            state_ABH = self.step(gates_ABTG[:, :, t], state_ABH)
            after.append(state_ABH)
        return torch.stack(before, dim=2), torch.stack(after, dim=2)

    def step(self, gates_ARG: Tensor, state_ARH: Tensor) -> Tensor:
        """One step, from the input's share of the gates."""
        width = self.hidden
        recalled_ARG = self.from_state(state_ARH)
        both = (gates_ARG[..., : 2 * width] + recalled_ARG[..., : 2 * width]).sigmoid()
        reset, update = both[..., :width], both[..., width:]
        candidate = (gates_ARG[..., 2 * width :] + reset * recalled_ARG[..., 2 * width :]).tanh()
        return torch.lerp(candidate, state_ARH, update)


def two_layers(sets: int, inputs: int, hidden: int, outputs: int, activation: str) -> nn.Sequential:
    """An encoder: linear, activation, linear, activation."""
    act = ACTIVATIONS[activation]
    return nn.Sequential(AgentLinear(sets, inputs, hidden), act(), AgentLinear(sets, hidden, outputs), act())


def head(
    sets: int, inputs: int, hidden: int, outputs: int, activation: str, spectral: bool, gain: float
) -> nn.Sequential:
    """Three linear layers; the one before the last is spectrally normalised (Gogianu et al. 2021)."""
    act = ACTIVATIONS[activation]
    middle = SpectralAgentLinear if spectral else AgentLinear
    return nn.Sequential(
        AgentLinear(sets, inputs, hidden), act(), middle(sets, hidden, hidden), act(),
        AgentLinear(sets, hidden, outputs, gain),
    )  # fmt: skip
