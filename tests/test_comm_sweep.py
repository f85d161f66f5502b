"""The sweep over contrastive communication: its trials, what it refuses, one run through Tune."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rllib_ext.errors import BadConfig
from rllib_ext.registry import config_class
from tuned_configs import contrastive_comm as sweep


def plan(*words: str) -> list[dict]:
    return sweep.trials(sweep.arguments(list(words)))


def test_every_combination_that_differs_is_a_trial_once() -> None:
    axes = [
        "--kappa",
        "0.5",
        "1",
        "--temperature",
        "0.1",
        "0.5",
        "--window",
        "0",
        "none",
        "--message-dim",
        "4",
        "10",
    ]
    points = plan("--seeds", "3", "--comm", "cacl", "aecomm", "positive_listening", "none", *axes)
    of = {comm: [p for p in points if p["comm"] == comm and p["seed"] == 1] for comm in sweep.METHODS}
    # cacl has all four axes, aecomm kappa and size, positive listening the size alone, "none" nothing.
    assert {comm: len(rows) for comm, rows in of.items() if rows} == {
        "cacl": 16, "aecomm": 4, "positive_listening": 2, "none": 1,
    }  # fmt: skip
    assert len(points) == 3 * (16 + 4 + 2 + 1) == len({json.dumps(point) for point in points})
    assert {p["window"] for p in of["cacl"]} == {0, None} and {p["window"] for p in of["aecomm"]} == {5}


@pytest.mark.parametrize("env", sweep.SETTINGS)
def test_the_settings_of_every_environment_are_ones_that_train(env: str) -> None:
    """Every setting is known and valid, the environment takes its arguments, and the evaluation is at the end."""
    args = sweep.arguments(["--env", env, "--seeds", "1"])
    own = sweep.fixed(args)
    config = config_class("ContrastiveComm")().update_from_dict({**own, **sweep.trials(args)[0]})
    config.validate()
    a_round = config.num_envs_per_env_runner * config.rollout_steps
    assert (own["evaluation_interval"] - 1) * a_round < args.steps <= own["evaluation_interval"] * a_round
    if env != "Beacon":
        paper = (config.lr, config.grad_clip, config.entropy_coeff, config.vf_loss_coeff, config.gamma)
        assert paper == (3e-4, 2500.0, 0.01, 0.5, 0.99)
        assert (config.temperature, config.message_dim, config.num_envs_per_env_runner) == (0.1, 4, 12)
        from rllib_ext.contrastive_comm.environments import batched_environment

        core = batched_environment(env, own["env_config"], 1)
        agents, length = {"PredatorPrey": (4, 200), "TrafficJunction": (5, 20), "FindGoal": (3, 512)}[env]
        assert (len(core.possible_agents), core.max_steps) == (agents, length)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", '{"lrr": 1e-4}'], "lrr"),
        (["--kappa", "-1"], "comm_coeff"),
        (["--message-dim", "0"], "message_dim"),
        (["--temperature", "0"], "temperature"),
        (["--steps", "0"], "--steps is 0"),
        (["--seeds", "0"], "--seeds 0"),
    ],
)
def test_values_that_no_trial_can_have_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        plan(*words)


def test_dry_run_and_words_that_are_none(capsys, tmp_path: Path) -> None:
    assert sweep.main(["--smoke", "--dry-run", "--comm", "cacl", "random", "--window", "none"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(p["comm"], p["window"], p["seed"]) for p in found["trials"]] == [
        ("cacl", None, 1),
        ("random", 5, 1),
    ]
    assert found["stop"] == {"num_env_steps_sampled_lifetime": sweep.SMOKE_STEPS}
    for words in (["--comm", "talk"], ["--window", "soon"], ["--env", "Beacn"]):
        with pytest.raises(SystemExit):
            sweep.arguments(words)
    with pytest.raises(BadConfig, match="no sweep to resume"):
        sweep.build(sweep.arguments(["--smoke", "--resume", "--storage-path", str(tmp_path)]))


def test_it_runs_stops_at_its_steps_and_is_complete_when_asked_again(
    ray_session, tmp_path: Path, capsys
) -> None:
    small = {"num_envs_per_env_runner": 8, "rollout_steps": 8, "num_epochs": 1, "evaluation_duration": 8}
    words = ["--smoke", "--comm", "cacl", "none", "--steps", "250", "--storage-path", str(tmp_path)]
    words += ["--set", json.dumps(small)]
    assert sweep.main(words) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["errors"] == 0 and [row["comm"] for row in line["rows"]] == ["cacl", "none"]
    for row in line["rows"]:
        assert row["num_env_steps_sampled_lifetime"] == 256
        assert 0 <= row["evaluation/env_runners/success_mean"] <= 1
    assert Path(line["report"]).stat().st_size > 0
    assert sweep.main([*words, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == line["rows"]
