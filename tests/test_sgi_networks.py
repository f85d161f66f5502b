"""The networks of SGI: published sizes, shared first layers, FiLM, and the dynamics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rllib_ext.functional.categorical import dueling
from rllib_ext.sgi.dynamics import LatentDynamics
from rllib_ext.sgi.encoders import AtariEncoder
from rllib_ext.sgi.heads import TORSO_SCALE, DuelingC51, FirstLayers, GoalHead


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def stacks(batch: int = 2) -> torch.Tensor:
    drawn = torch.randint(0, 256, (batch, 4, 84, 84), generator=torch.Generator().manual_seed(1))
    return drawn.to(torch.uint8)


@pytest.mark.parametrize(
    ("size", "parameters", "channels"),
    [("S", 77_984, 64), ("S-BN", 78_304, 64), ("M", 136_472, 64), ("L", 893_104, 96)],
)
def test_encoders_have_the_published_sizes(size: str, parameters: int, channels: int) -> None:
    encoder = AtariEncoder(size)
    assert count(encoder) == parameters
    latents = encoder(stacks())
    assert latents.shape == (2, channels, 7, 7) and encoder.latent_dim == channels * 49
    assert latents.min() == 0.0 and 0.99 < latents.max() <= 1.0


def test_bytes_and_floats_of_one_picture_are_one_latent() -> None:
    encoder = AtariEncoder("S").eval()
    torch.testing.assert_close(encoder(stacks()), encoder(stacks().float() / 255.0))


def test_a_residual_block_begins_as_its_identity() -> None:
    block = AtariEncoder("M").layers[1].eval()
    given = torch.randn(2, 32, 28, 28)
    assert torch.equal(block(given), given)


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(ValueError, match=r"'XL'.*S, S-BN, M, L"):
        AtariEncoder("XL")


def test_dynamics_has_the_published_size_and_obeys_the_action() -> None:
    dynamics = LatentDynamics(64, 4).eval()
    assert count(dynamics) == 76_288
    latents = torch.rand(1, 64, 7, 7).expand(4, -1, -1, -1)
    after = dynamics(latents, torch.arange(4))
    assert after.shape == latents.shape
    assert min((after[i] - after[j]).abs().max() for i in range(4) for j in range(i)) > 0
    rolled = dynamics.roll_out(latents, torch.zeros(4, 3, dtype=torch.int64))
    assert len(rolled) == 4 and torch.equal(rolled[0], latents)
    torch.testing.assert_close(rolled[2], dynamics(rolled[1], torch.zeros(4)))


def test_the_projection_is_both_first_layers_side_by_side() -> None:
    first = FirstLayers(3136)
    latents = torch.rand(3, 64, 7, 7)
    torch.testing.assert_close(first.project(latents), torch.cat(first(latents), dim=-1))
    assert first.project(latents).shape == (3, 1024)


def test_the_torso_gets_less_gradient_from_the_heads_than_from_the_projection() -> None:
    first = FirstLayers(10, 4)
    latents = torch.rand(2, 10, requires_grad=True)
    (full,) = torch.autograd.grad(first.project(latents).sum(), latents)
    (scaled,) = torch.autograd.grad(torch.cat(first(latents), dim=-1).sum(), latents)
    torch.testing.assert_close(scaled, full * TORSO_SCALE)


def test_the_dueling_head_takes_other_linear_layers() -> None:
    made = []

    class Noted(nn.Linear):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    head = DuelingC51(FirstLayers(3136, 8, Noted), 4, 51, Noted)
    assert head(torch.rand(2, 64, 7, 7)).shape == (2, 4, 51) and len(made) == 4


def test_f8_05_film_scales_and_shifts_each_branch() -> None:
    head = GoalHead(64, 8, actions=3, atoms=5)
    branches = torch.randn(2, 8), torch.randn(2, 8)
    conditions = head.conditions(torch.rand(2, 3136))
    assert conditions.shape == (2, 4, 8)
    a, b, c, d = conditions.unbind(1)
    advantage = head.advantage_out(branches[0].relu() * a + b).view(2, 3, 5)
    value = head.value_out(branches[1].relu() * c + d)
    torch.testing.assert_close(head(branches, conditions), dueling(value, advantage))


def test_f8_05_with_bug_compat_the_value_branch_is_not_read() -> None:
    clean, released = (GoalHead(64, 8, actions=3, bug_compat=compat) for compat in (False, True))
    conditions = torch.rand(2, 4, 8)
    for head, reads in ((clean, True), (released, False)):
        advantage, value = torch.randn(2, 8), torch.rand(2, 8)
        moved = head((advantage, value + 1.0), conditions) - head((advantage, value), conditions)
        assert bool(moved.abs().max() > 0) == reads
