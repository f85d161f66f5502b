"""Noisy layers: the two products equal the noisy matrix, noise has the stated law, means are a plain linear layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from rllib_ext.sgi.noisy import NoisyLinear, noisy_layers, sample_noise, silence


@pytest.fixture
def layer() -> NoisyLinear:
    torch.manual_seed(0)
    return NoisyLinear(50, 30).double()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_is_the_layer_of_the_noisy_matrix(layer: NoisyLinear) -> None:
    layer.sample(generator())
    inputs, outputs = layer._noise
    x = torch.randn(7, 50, dtype=torch.float64)
    weight = layer.weight + layer.weight_sigma * torch.outer(outputs, inputs)
    bias = layer.bias + layer.bias_sigma * outputs
    torch.testing.assert_close(layer(x), nn.functional.linear(x, weight, bias))


def test_it_may_have_no_bias() -> None:
    layer = NoisyLinear(5, 4, bias=False)
    layer.sample(generator())
    inputs, outputs = layer._noise
    x = torch.randn(3, 5)
    torch.testing.assert_close(
        layer(x), x @ (layer.weight + layer.weight_sigma * torch.outer(outputs, inputs)).T
    )
    assert set(layer.state_dict()) == {"weight", "weight_sigma"}


def test_gradients_are_those_of_the_noisy_matrix(layer: NoisyLinear) -> None:
    layer.sample(generator())
    assert torch.autograd.gradcheck(layer, (torch.randn(3, 50, dtype=torch.float64, requires_grad=True),))
    layer(torch.ones(1, 50, dtype=torch.float64)).sum().backward()
    inputs, outputs = layer._noise
    torch.testing.assert_close(layer.weight_sigma.grad, torch.outer(outputs, inputs))
    torch.testing.assert_close(layer.bias_sigma.grad, outputs)


def test_the_law_of_the_noise() -> None:
    """E |f(e)| is E sqrt |e|, its variance E |e| = sqrt(2 / pi), and signs are even."""
    layer, random = NoisyLinear(1000, 1000), generator()
    drawn = []
    for _ in range(100):
        layer.sample(random)
        drawn += layer._noise
    values = torch.cat(drawn)
    assert values.mean().abs() < 0.01
    assert values.var() == pytest.approx(math.sqrt(2 / math.pi), abs=0.01)


def test_first_values_are_those_of_the_paper() -> None:
    layer = NoisyLinear(100, 25)
    assert layer.weight.abs().max() <= 0.1 and layer.bias.abs().max() <= 0.1
    assert layer.weight.abs().max() > 0.099
    assert (layer.weight_sigma == 0.05).all()
    assert torch.allclose(layer.bias_sigma, torch.tensor(0.1))


def test_eval_and_silence_are_the_means(layer: NoisyLinear) -> None:
    x = torch.randn(4, 50, dtype=torch.float64)
    means = nn.functional.linear(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), means)  # nothing drawn yet
    layer.sample(generator())
    assert not torch.allclose(layer(x), means)
    assert torch.equal(layer.eval()(x), means)
    silence(layer.train())
    assert torch.equal(layer(x), means)


def test_noise_is_drawn_on_demand_and_repeats_with_the_generator() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(NoisyLinear(5, 4), nn.ReLU(), nn.Linear(4, 4), NoisyLinear(4, 3))
    assert len(noisy_layers(net)) == 2
    x, random = torch.randn(2, 5), generator(3)
    sample_noise(net, random)
    first = net(x)
    assert torch.equal(first, net(x))
    sample_noise(net, random)
    assert not torch.equal(first, net(x))
    sample_noise(net, generator(3))
    assert torch.equal(first, net(x))


def test_noise_is_in_no_checkpoint_and_sigma_can_begin_anew(layer: NoisyLinear) -> None:
    layer.sample(generator())
    assert set(layer.state_dict()) == {"weight", "bias", "weight_sigma", "bias_sigma"}
    means = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight_sigma.zero_()
    layer.reset_sigma()
    assert torch.allclose(layer.weight_sigma, torch.tensor(0.5 / math.sqrt(50), dtype=torch.float64))
    assert torch.equal(layer.weight, means)
