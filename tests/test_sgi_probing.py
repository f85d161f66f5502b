"""Linear probes against closed forms, and the monitor of collapse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sgi_pretraining_fixture import data, learner_of, small, update

from rllib_ext.sgi.pretraining.diagnostics import Spread, baselines
from rllib_ext.sgi.pretraining.probing import encode, explained, probe_learner, ram_of, ridge


@pytest.mark.parametrize("rows", [30, 400])
def test_both_systems_give_the_answer_of_the_normal_equations(rows: int) -> None:
    draw = np.random.default_rng(0)
    features, wanted, judged = (
        draw.normal(size=(rows, 60)) * 3 + 1,
        draw.normal(size=(rows, 2)),
        draw.normal(size=(9, 60)),
    )
    mean, deviation = features.mean(0), features.std(0)
    fit, centre = (features - mean) / deviation, wanted.mean(0)
    weights = np.linalg.solve(fit.T @ fit + 6.0 * np.eye(60), fit.T @ (wanted - centre))
    np.testing.assert_allclose(
        ridge(features, wanted, judged), (judged - mean) / deviation @ weights + centre, atol=1e-6
    )


def test_a_linear_map_is_found_and_noise_is_not() -> None:
    draw = np.random.default_rng(1)
    features = draw.normal(size=(600, 10))
    wanted = np.stack([features @ np.arange(10.0), draw.normal(size=600), np.ones(600)], axis=1)
    scores = explained(ridge(features[:500], wanted[:500], features[500:]), wanted[500:])
    assert scores[0] > 0.99 and abs(scores[1]) < 0.2 and np.isnan(scores[2])


def test_latents_are_encoded_without_moving_statistics(tmp_path: Path) -> None:
    networks = learner_of(small(data(tmp_path / "d"), encoder="S-BN")).networks
    before = {name: tensor.clone() for name, tensor in networks.encoder.state_dict().items()}
    flat, pooled = encode(networks.encoder, np.zeros((300, 4, 84, 84), np.uint8))
    assert flat.shape == (300, 3136) and pooled.shape == (300, 64) and networks.encoder.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in networks.encoder.state_dict().items())


def test_a_learner_is_probed_for_the_memory_and_the_action(tmp_path: Path) -> None:
    learner = learner_of(small(data(tmp_path / "d"), probe_samples=64))
    update(learner)
    found, again = probe_learner(learner), probe_learner(learner)
    assert found == again  # the same rows every time, and the stream of windows is not touched
    assert ram_of("Pong")["player_y"] == 51 and ram_of("Seaquest") == {}
    # Byte 51 is the brightness of the frame, which pooled features of any encoder show.
    assert found["player_y_pooled"] > 0.5
    assert 0 <= found["action_flat"] <= 1
    assert "ball_x_flat" not in found  # constant in these data: no variance to explain


def test_the_monitor_says_collapse_once_states_are_one_point() -> None:
    spread = Spread(0.1)
    assert spread.note({"spread": 0.5})["collapsed"] == 0.0
    assert spread.note({"spread": 0.06})["collapsed"] == 0.0
    found = spread.note({"spread": 0.04, "target_spread": 0.4, "self_prediction_loss": 0.1})
    assert found["collapsed"] == 1.0 and found["spread_share"] == pytest.approx(0.08)
    assert found["self_prediction_relative"] == pytest.approx(0.25)
    assert spread.note({"spread": 0.09})["collapsed"] == 1.0  # stays until it is well above
    assert spread.note({"spread": 0.11})["collapsed"] == 0.0


def test_baselines_of_the_inverse_model() -> None:
    actions = torch.tensor([[1, 1, 2], [0, 3, 3]])
    valid = torch.tensor([[True, True, True], [True, True, False]])
    found = baselines(actions, valid)
    assert found["majority_accuracy"] == pytest.approx(2 / 5)
    assert found["repeat_accuracy"] == pytest.approx(1 / 3)
