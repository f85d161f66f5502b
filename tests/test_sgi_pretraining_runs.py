"""SGIPretrain as RLlib, Tune and the command line see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune
from sgi_pretraining_fixture import data, same, small, weights

import rllib_ext
from rllib_ext.cli import main
from rllib_ext.errors import BadConfig
from rllib_ext.runtime import rllib_state
from rllib_ext.sgi.pretrained import load_pretrained
from rllib_ext.sgi.pretraining.persistence import OWN


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data(tmp_path_factory.mktemp("frames") / "pong")


def test_an_algorithm_trains_probes_exports_and_resumes_to_the_bit(
    ray_session: Any, frames: Path, tmp_path: Path
) -> None:
    rllib_ext.register()
    config = small(frames, probe_every=2, probe_samples=64).environment("Atari100k/Pong")
    straight = config.copy(copy_frozen=False).build_algo()
    first = straight.train()
    assert {"self_prediction_loss", "goal_loss", "inverse_loss", "spread"} <= set(
        first["learners"]["default_policy"]
    )
    assert "probes" not in first
    rllib_state.save(straight, tmp_path / "kept", OWN)
    straight.save_to_path(str(tmp_path / "rllib"))
    assert 0 <= straight.train()["probes"]["action_flat"] <= 1
    for restore in (
        lambda algorithm: rllib_state.restore(algorithm, tmp_path / "kept", OWN),
        lambda algorithm: algorithm.restore_from_path(str(tmp_path / "rllib")),
    ):
        resumed = config.copy(copy_frozen=False).build_algo()
        restore(resumed)
        assert resumed.iteration == 1
        resumed.train()
        assert same(_weights(straight), _weights(resumed))
        resumed.stop()
    card = load_pretrained(straight.export(tmp_path / "pretrained")).card
    assert (card.updates, card.game) == (4, "Pong")
    straight.stop()


def _weights(algorithm: Any) -> dict[str, torch.Tensor]:
    return weights(algorithm.learner_group._learner)


def test_the_game_of_the_data_is_the_game(ray_session: Any, frames: Path) -> None:
    with pytest.raises(BadConfig, match=r"'Atari100k/Breakout' but the data .* are of 'Pong'"):
        small(frames).environment("Atari100k/Breakout").build_algo()


@pytest.mark.slow
def test_tune_sweeps_losses_and_encoders(ray_session: Any, frames: Path, tmp_path: Path) -> None:
    rllib_ext.register()
    config = small(frames, updates_per_iteration=1).training(losses=tune.grid_search(["I", "SI"]))
    run = tune.RunConfig(stop={"training_iteration": 1}, storage_path=str(tmp_path), verbose=0)
    found = tune.Tuner("SGIPretrain", param_space=config, run_config=run).fit()
    assert not found.errors
    kinds = {one.config["losses"]: set(one.metrics["learners"]["default_policy"]) for one in found}
    assert "self_prediction_loss" not in kinds["I"] and "self_prediction_loss" in kinds["SI"]


def test_a_smoke_run_leaves_a_pretrained_folder_whose_path_it_prints(
    ray_session: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "SGIPretrain", "--smoke", "--json", "--storage-path", str(tmp_path), "--name", "run"]
    words += ["--set", "updates_per_iteration=1", "--set", "hidden=16"]
    assert main(words) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    made = load_pretrained(summary["pretrained"])
    assert made.card.game == "Pong" and made.card.updates == 3 and made.card.data["about"]["seed"] == 0
    assert main(["resume", summary["run"], "--quiet"]) == 0  # finished: nothing to do


def test_without_data_the_command_says_how_to_make_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "SGIPretrain", "--env", "Atari100k/Pong", "--storage-path", str(tmp_path)]) == 2
    assert "rllib-ext frames collect" in capsys.readouterr().err
    assert main(["train", "SGIPretrain", "--env", "Atari100k/Pnog", "--storage-path", str(tmp_path)]) in (
        2,
        3,
    )
    assert "Pong" in capsys.readouterr().err
