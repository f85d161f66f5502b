"""From a pretrained folder to the agent: the same features before and after, noise as first made, misfits named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sgi_fixture import learner_of, pretrained_folder, random_windows, runner_of, small, some_stacks, update

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.sgi.noisy import noisy_layers
from rllib_ext.sgi.pretrained import load_pretrained, save_pretrained


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("encoder", ["S", "M"])
def test_f8_10_features_and_projections_are_identical_before_and_after_the_transfer(
    tmp_path, noisy, encoder
) -> None:
    folder, nets = pretrained_folder(tmp_path / "p", encoder=encoder)
    learner = learner_of(small(encoder=None, hidden=None, noisy=noisy).from_pretrained(folder))
    after, stacks = learner.networks.eval(), some_stacks()
    for net in nets.values():
        net.eval()
    with torch.no_grad():
        features = nets["encoder"](stacks)
        assert torch.equal(after.encoder(stacks), features)
        assert torch.equal(after.head.first.project(features), nets["first_layers"].project(features))
        averaged = nets["target_encoder"](stacks)
        assert torch.equal(after.average_encoder(stacks), averaged)
        assert torch.equal(
            after.average_first.project(averaged), nets["target_first_layers"].project(averaged)
        )
        actions = torch.arange(5)
        assert torch.equal(after.dynamics(features, actions), nets["dynamics"](features, actions))


def test_what_was_not_pretrained_is_drawn_and_noise_begins_at_its_first_size(tmp_path) -> None:
    folder, _ = pretrained_folder(tmp_path / "p")
    with_folder = learner_of(small(encoder=None, hidden=None).from_pretrained(folder), seed=3)
    without = learner_of(small(), seed=3)
    ours, plain = with_folder.networks, without.networks
    assert torch.equal(ours.head.value_out.weight, plain.head.value_out.weight)  # drawn as it would be anyway
    assert not torch.equal(ours.head.first.value.weight, plain.head.first.value.weight)
    for layer in noisy_layers(ours.head.first):
        assert torch.allclose(layer.weight_sigma, torch.tensor(0.5 / math.sqrt(layer.in_features)))
    assert all(not optimizer.state for optimizer in with_folder._named_optimizers.values())


def test_pretrained_networks_move_at_their_own_rates(tmp_path) -> None:
    folder, _ = pretrained_folder(tmp_path / "p")
    config = small(encoder=None, hidden=None).from_pretrained(folder)
    assert [config.rate_of(group) for group in ("encoder", "first_layers", "rest")] == [1e-6, 3e-5, 1e-4]
    assert [small().rate_of(group) for group in ("encoder", "first_layers", "rest")] == [1e-4] * 3
    learner = learner_of(config.training(adam_eps=1e-12))
    before = learner.networks.encoder.layers[0].weight.detach().clone()
    update(learner, random_windows())
    moved = (learner.networks.encoder.layers[0].weight - before).abs().max().item()
    assert moved == pytest.approx(1e-6, rel=0.1)


def test_a_worker_acts_with_what_was_pretrained(tmp_path) -> None:
    folder, nets = pretrained_folder(tmp_path / "p")
    config = small(encoder=None, hidden=None).from_pretrained(folder)
    learner, runner = learner_of(config), runner_of(config)
    runner.share(learner.networks)
    assert torch.equal(runner.policy.encoder.layers[0].weight, nets["encoder"].layers[0].weight)
    assert np.array_equal(
        runner.actor.greedy(some_stacks().numpy(), False),
        learner.networks.eval().q_values(some_stacks()).argmax(-1).numpy(),
    )


def test_dynamics_that_were_not_pretrained_are_drawn_and_said(tmp_path, caplog) -> None:
    folder, _ = pretrained_folder(tmp_path / "p")
    loaded = load_pretrained(folder)
    tensors = {name: group for name, group in loaded.tensors.items() if name not in ("dynamics", "predictor")}
    bare = save_pretrained(tmp_path / "bare", tensors=tensors, card=loaded.card)
    learner_of(small(encoder=None, hidden=None).from_pretrained(bare))
    assert "has no dynamics" in caplog.text and "has no predictor" in caplog.text


@pytest.mark.parametrize(
    ("settings", "env", "message"),
    [
        ({"encoder": "M"}, "Pong", "encoder is 'S' there and 'M' here"),
        ({"hidden": 32}, "Pong", "hidden is 16 there and 32 here"),
        ({}, "Breakout", "actions is 6 there and 4 here"),
        ({}, "Qbert", "action_meanings is"),  # six actions too, but others
    ],
)
def test_a_folder_that_does_not_fit_is_refused_by_name(tmp_path, settings, env, message) -> None:
    folder, _ = pretrained_folder(tmp_path / "p")
    config = small(f"Atari100k/{env}", encoder=None, hidden=None).from_pretrained(folder).training(**settings)
    with pytest.raises(BadConfig, match=message):
        config.validate()


def test_a_folder_of_something_else_is_refused(tmp_path) -> None:
    with pytest.raises(BadData, match="is no pretrained folder"):
        small(encoder=None, hidden=None).from_pretrained(tmp_path).validate()
