"""Linear layers with learnt noise (Fortunato et al., 2018), for exploration without epsilon.

    y = (mu_w + sigma_w * f(e_out) f(e_in)^T) x + mu_b + sigma_b * f(e_out),    f(e) = sign(e) sqrt |e|,    e ~ N(0, 1)

Factorised noise: one number for every input and output. The noisy matrix is never made, because

    (sigma_w * f_out f_in^T) x = f_out * (sigma_w (f_in * x)),

which is a second product with a small batch instead of several passes over a matrix of millions of numbers and their
gradients. Left out: independent noise of every weight.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SIGMA_0 = 0.5  # Fortunato et al. for factorised noise; Rainbow and SGI the same


class NoisyLinear(nn.Linear):
    """``nn.Linear`` whose ``weight`` and ``bias`` are the means, with ``weight_sigma`` and ``bias_sigma`` beside them.

    Noise is drawn by `sample` alone and kept until the next one, so that a batch sees one network. In eval mode, and
    before anything was drawn, the layer is the linear layer of its means. Noise is in no checkpoint: whoever uses the
    layer draws before each use.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, sigma_0: float = SIGMA_0
    ) -> None:
        self.sigma_0 = sigma_0
        self._noise: tuple[Tensor, Tensor] | None = None
        super().__init__(in_features, out_features, bias)
        self.weight_sigma = nn.Parameter(torch.empty(out_features, in_features))
        self.register_parameter("bias_sigma", nn.Parameter(torch.empty(out_features)) if bias else None)
        self.reset_sigma()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Means uniform within 1 / sqrt(inputs), deviations as `reset_sigma` has them."""
        bound = 1 / math.sqrt(self.in_features)
        self.weight.uniform_(-bound, bound)
        if self.bias is not None:
            self.bias.uniform_(-bound, bound)
        if "weight_sigma" in self._parameters:  # nn.Linear calls this before there are any
            self.reset_sigma()

    @torch.no_grad()
    def reset_sigma(self) -> None:
        """sigma_0 / sqrt(inputs) for weights, sigma_0 / sqrt(outputs) for biases."""
        self.weight_sigma.fill_(self.sigma_0 / math.sqrt(self.in_features))
        if self.bias_sigma is not None:
            self.bias_sigma.fill_(self.sigma_0 / math.sqrt(self.out_features))

    def sample(self, generator: torch.Generator) -> None:
        """Draw noise. generator: on the CPU; the numbers go where the weights are."""
        drawn = torch.randn(self.in_features + self.out_features, generator=generator)
        shaped = (drawn.sign() * drawn.abs().sqrt()).to(self.weight)
        self._noise = shaped[: self.in_features], shaped[self.in_features :]

    def silence(self) -> None:
        """Be the layer of the means until the next draw."""
        self._noise = None

    def forward(self, x: Tensor) -> Tensor:
        mean = functional.linear(x, self.weight, self.bias)
        if not self.training or self._noise is None:
            return mean
        inputs, outputs = self._noise
        return mean + outputs * functional.linear(x * inputs, self.weight_sigma, self.bias_sigma)


def noisy_layers(module: nn.Module) -> list[NoisyLinear]:
    """Every noisy layer of a module, in its order."""
    return [layer for layer in module.modules() if isinstance(layer, NoisyLinear)]


def sample_noise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw noise in every layer of a module that has any."""
    for layer in noisy_layers(module):
        layer.sample(generator)


def silence(module: nn.Module) -> None:
    """Take the noise out of every layer of a module."""
    for layer in noisy_layers(module):
        layer.silence()
