"""The sweep over games and agents, and what the command line knows of SGIRainbow."""

from __future__ import annotations

import argparse
import json

import pytest
from sgi_fixture import pretrained_folder

from envs.atari_games import NAMES
from envs.errors import BadEnv
from rllib_ext.cli import atari_runs, knob_help
from rllib_ext.cli.settings import kind_of, refuse_without_model
from rllib_ext.errors import BadConfig
from rllib_ext.registry import config_class
from tuned_configs import sgi_finetune as sweep


def plan(*words: str) -> list[dict]:
    return sweep.trials(sweep.arguments(list(words)))


def test_all_games_agents_and_seeds_are_a_trial_once() -> None:
    points = plan("--games", "all", "--agents", "scratch", "sr_spr", "--seeds", "10")
    assert len(points) == 26 * 2 * 10 == len({json.dumps(point, sort_keys=True) for point in points})
    assert {point["env"].removeprefix("Atari100k/") for point in points} == set(NAMES)
    assert {frozenset(point) for point in points} == {frozenset(points[0])}  # every point has the same knobs


def test_an_agent_s_settings_are_its_own_and_no_other_s() -> None:
    points = plan("--agents", "scratch", "sr_spr", "bbf", "--seeds", "1")
    of = dict(zip(("scratch", "sr_spr", "bbf"), points, strict=True))
    assert (of["scratch"]["updates_per_step"], of["scratch"]["noisy"], of["scratch"]["reset_every"]) == (
        2,
        True,
        None,
    )
    assert (of["sr_spr"]["updates_per_step"], of["sr_spr"]["target_tau"], of["sr_spr"]["noisy"]) == (
        8,
        0.005,
        False,
    )
    assert (of["bbf"]["gamma"], of["bbf"]["gamma_last"], of["bbf"]["n_step_last"]) == (0.97, 0.997, 3)
    assert of["sr_spr"]["gamma"] == 0.99 and of["sr_spr"]["weight_decay"] == 0.0
    config = config_class("SGIRainbow")().update_from_dict({**sweep.fixed(sweep.arguments([])), **of["bbf"]})
    config.validate()
    assert config.hidden_width == 2048 and config.encoder_size == "L"


def test_the_evaluation_is_at_the_end_on_a_hundred_games() -> None:
    own = sweep.fixed(sweep.arguments([]))
    config = config_class("SGIRainbow")()
    assert own["evaluation_interval"] * config.steps_per_iteration == 100_000
    assert (config.evaluation_interval, config.evaluation_duration) == (100, 100)


def test_pretrained_folders_are_one_a_game_and_are_looked_at_first(tmp_path) -> None:
    pretrained_folder(tmp_path / "Pong")
    pretrained_folder(tmp_path / "Breakout", actions=4)
    words = ["--games", "Pong", "Breakout", "--agents", "pretrained", "frozen", "--seeds", "2"]
    points = plan(*words, "--pretrained", str(tmp_path / "{game}"))
    assert len(points) == 8
    assert {(p["env"], p["pretrained"]) for p in points} == {
        (f"Atari100k/{game}", str(tmp_path / game)) for game in ("Pong", "Breakout")
    }
    assert [p["freeze_encoder"] for p in points[::2]] == [False, True, False, True]
    with pytest.raises(BadConfig, match="actions is 6 there and 4 here"):
        plan(*words, "--pretrained", str(tmp_path / "Pong"))
    with pytest.raises(BadConfig, match="add --pretrained FOLDER"):
        plan(*words)


def test_wrong_words_answer_with_the_right_ones() -> None:
    with pytest.raises(BadEnv, match="Did you mean 'Pong'"):
        plan("--games", "Pnog")
    with pytest.raises(BadConfig, match="Did you mean 'updates_per_step'"):
        plan("--set", '{"update_per_step": 2}')


# ----- the command line


def test_the_command_line_s_defaults_are_the_config_s() -> None:
    config = config_class("SGIRainbow")()
    for name, knob in atari_runs.knobs_of("SGIRainbow").items():
        if name not in ("seed", "total_iterations", "checkpoint_every", "evaluation_interval"):
            assert getattr(config, name) == knob.default, name


def test_dry_run_says_what_a_run_would_be(tmp_path, capsys) -> None:
    folder, _ = pretrained_folder(tmp_path / "p")
    options = argparse.Namespace(
        algorithm="SGIRainbow", env="Atari100k/Pong", smoke=False, set=[f"pretrained={folder}", "updates_per_step=4"],
        env_set=["sticky=0.25"], seed=3, checkpoint_every=None, evaluate_every=None, storage_path=str(tmp_path),
        name=None, dry_run=True, words=[],
    )  # fmt: skip
    assert atari_runs.train(options) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["updates_per_step"], said["evaluation_interval"], said["seed"]) == (4, 100, 3)
    assert said["pretrained"] == str(folder) and said["env_config"] == {"sticky": 0.25}


def test_a_run_without_a_language_model_is_told_as_such(tmp_path) -> None:
    assert kind_of({"algorithm": "SGIRainbow"}) == "atari"
    with pytest.raises(BadConfig, match="trains no language model"):
        refuse_without_model(tmp_path, {"algorithm": "SGIRainbow"})
    text = knob_help.knob_help("SGIRainbow")
    assert "first_layers_lr = none" in text and "train_batch_size_per_learner = 32" in text
