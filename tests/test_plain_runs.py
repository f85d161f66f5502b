"""Language games and ElasticResetPPO from the command line: run folder, last line, resume, dry run, reports, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pivot_fixture import LEWIS, PIVOT
from ray.rllib.algorithms.ppo import PPOConfig
from safetensors.torch import load_file

from rllib_ext.cli import main
from rllib_ext.cli.ppo_knobs import PPO_KNOBS
from rllib_ext.runtime.run_folder import read_json, read_jsonl

CARTPOLE = {
    "num_env_runners": 0, "hidden": "8", "train_batch_size_per_learner": 64, "minibatch_size": 32, "num_epochs": 2,
    "lr": 0.01, "reset_every": 3, "ema_decay": 0.5, "kl_beta": 0.1, "kl_controller": "trl", "kl_beta_target": 9.0,
    "evaluation_interval": 2, "evaluation_duration": 1,
}  # fmt: skip


def words(name: str, storage: Path, values: dict[str, Any], *more: str) -> list[str]:
    sets = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    return ["train", name, *sets, "--storage-path", str(storage), "--name", "x", "--json", "--quiet", *more]


def last_line(capsys: pytest.CaptureFixture) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def stopped_after(monkeypatch: pytest.MonkeyPatch, iterations: int) -> None:
    """The next run is asked to stop after so many iterations, as by Ctrl-C."""
    from rllib_ext.cli.training import Training

    write = Training._train

    def watched(self: Training) -> bool:
        train, count = self._algorithm.train, 0

        def one() -> Any:
            nonlocal count
            count += 1
            self._interrupts.requested = count >= iterations
            return train()

        self._algorithm.train = one
        return write(self)

    monkeypatch.setattr(Training, "_train", watched)


def newest(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    folder = max((run / "checkpoints").glob("step_*"))
    return {path.name: load_file(path) for path in folder.glob("*.safetensors")}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        one[name].keys() == other[name].keys()
        and all(torch.equal(t, other[name][n]) for n, t in group.items())
        for name, group in one.items()
    )


@pytest.mark.parametrize(
    ("name", "env", "small", "figure"),
    [
        (
            "PivotGame",
            "PivotTranslation",
            {**PIVOT, "method": "elastic_reset", "reset_every": 4},
            "game/bleu_de",
        ),
        ("LewisGame", "LewisDrift", {**LEWIS, "method": "sil"}, "game/task_accuracy"),
    ],
)
def test_a_game_that_was_stopped_and_resumed_ends_with_the_bits_of_one_that_was_not(
    name: str, env: str, small: dict, figure: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    assert main(words(name, tmp_path / "whole", small)) == 0
    whole = last_line(capsys)
    run = Path(whole["run"])
    assert (run.name, whole["env"], whole["exit_code"]) == (f"{name}-{env}-x", env, 0)
    total = whole["updates"]
    assert total == whole["checkpoint_updates"] and whole[figure] >= 0
    rows = read_jsonl(run / "result.json")
    assert rows[-1]["done"] and [row["training_iteration"] for row in rows] == list(range(1, len(rows) + 1))
    page = (run / "report" / "report.html").read_text()
    assert figure in page and (run / "report" / "figures.png").stat().st_size > 0

    with monkeypatch.context() as patch:
        stopped_after(patch, len(rows) - 2)
        assert main(words(name, tmp_path / "parts", small)) == 5
    stopped = last_line(capsys)
    assert stopped["checkpoint_updates"] < total and "resume" in stopped["resume"]
    assert main(["resume", stopped["run"], "--json", "--quiet"]) == 0
    resumed = last_line(capsys)
    assert resumed[figure] == whole[figure] and same(newest(run), newest(Path(stopped["run"])))
    assert main(["resume", stopped["run"], "--json", "--quiet"]) == 0
    assert last_line(capsys)["updates"] == total


def test_elastic_reset_ppo_trains_is_stopped_and_goes_on_with_its_stores(
    ray_session, tmp_path: Path, capsys, monkeypatch
) -> None:
    command = words("ElasticResetPPO", tmp_path, CARTPOLE | {"total_iterations": 5}, "--env", "CartPole-v1")
    with monkeypatch.context() as patch:
        stopped_after(patch, 4)
        assert main(command) == 5
    stopped = last_line(capsys)
    run = Path(stopped["run"])
    assert run.name == "ElasticResetPPO-CartPole-v1-x" and stopped["checkpoint_updates"] == 4
    before = newest(run)
    state = read_json(max((run / "checkpoints").glob("step_*")) / "elastic.json")["default_policy"]
    assert state["counts"]["resets"] == 1 and state["beta"] != state["beta_begins"] == 0.1
    assert main(["resume", str(run), "--json", "--quiet"]) == 0
    done = last_line(capsys)
    rows = read_jsonl(run / "result.json")
    assert [row["training_iteration"] for row in rows] == [1, 2, 3, 4, 5] and rows[-1]["done"]
    steps = [row["num_env_steps_sampled_lifetime"] for row in rows]
    assert steps == sorted(steps) and steps[-1] - steps[-2] == steps[0]
    assert done["updates"] == rows[-1]["num_updates_lifetime"] == 5 * rows[0]["num_updates_lifetime"]
    assert (rows[-1]["er"]["num_resets"], rows[-1]["er"]["ticks_since_reset"]) == (1, 2)
    after = newest(run)
    (init,) = (name for name in before if name.startswith("init"))
    (ema,) = (name for name in before if name.startswith("ema"))
    (module,) = (name for name in before if name.startswith("module"))
    assert same({init: before[init]}, {init: after[init]}) and not same({ema: before[ema]}, {ema: after[ema]})
    for name, value in after[ema].items():  # one tick from where it was: it has been gone on with
        assert torch.allclose(value, (before[ema][name] + after[module][name]) / 2, atol=1e-6)
    assert (run / "report" / "reward_vs_drift.png").exists() or list((run / "report").glob("*frontier*.png"))
    assert "evaluation/env_runners/episode_return_mean" in done


def test_dry_runs_resolve_every_setting_and_start_nothing(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "PivotGame", "--set", "method=s2p", "--smoke", "--dry-run", "--seed", "7"]) == 0
    game = json.loads(capsys.readouterr().out)
    assert (game["method"], game["hidden"], game["seed"], game["env"]) == ("s2p", 64, 7, "PivotTranslation")
    assert (
        main(
            ["train", "ElasticResetPPO", "--env", "CartPole-v1", "--dry-run", "--env-set", "render_mode=null"]
        )
        == 0
    )
    ppo = json.loads(capsys.readouterr().out)
    assert (ppo["reset_every"], ppo["evaluation_interval"], ppo["env_config"]) == (
        17,
        10,
        {"render_mode": None},
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "own"), [("PivotGame", "sil_every = 4000"), ("ElasticResetPPO", "reset_every = 17")]
)
def test_help_has_the_knobs_that_set_takes(name: str, own: str, capsys) -> None:
    assert main(["train", name, "--help"]) == 0
    text = capsys.readouterr().out
    assert own in text and "checkpoint_every = none" in text and "samples_per_prompt" not in text


def test_ppo_defaults_are_rllibs() -> None:
    config = PPOConfig()
    for name, knob in PPO_KNOBS.items():
        if name != "seed" and name in vars(config):
            assert getattr(config, name) == knob.default, name


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["train", "PivotGam"], "'PivotGame'"),
        (["train", "PivotGame", "--env", "TLDR"], "plays PivotTranslation"),
        (["train", "LewisGame", "--set", "metod=sil"], "'method'"),
        (["train", "PivotGame", "--set", "method=silly"], "one of"),
        (["train", "ElasticResetPPO"], "--env CartPole-v1"),
        (["train", "ElasticResetPPO", "--env", "CartPol-v1"], "'CartPole-v1'"),
        (["train", "ElasticResetPPO", "--env", "CartPole-v1", "--set", "hidden=8,x"], "64,64"),
        (
            ["train", "ElasticResetPPO", "--env", "CartPole-v1", "--set", "minibatch_size=9999"],
            "minibatch_size",
        ),
        (["train", "ElasticResetPPO", "--env", "TLDR"], "ElasticResetAsyncPPO"),
    ],
)
def test_wrong_words_are_answered(command: list[str], told: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--dry-run"]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_language_model_is_not_evaluated_or_exported(tmp_path: Path, capsys) -> None:
    assert main(words("LewisGame", tmp_path, LEWIS | {"play_updates": 5})) == 0
    run = last_line(capsys)["run"]
    for command in (["evaluate", run], ["export", run, "--to", str(tmp_path / "out")]):
        assert main(command) == 2
        assert "trains no language model" in capsys.readouterr().err
    config = read_json(Path(run) / "config.json")
    shutil.rmtree(Path(run) / "checkpoints")
    (Path(run) / "config.json").write_text(json.dumps(config | {"run_folder": "/tmp/elsewhere"}))
    assert main(["resume", run]) == 2
    assert "unknown setting" in capsys.readouterr().err
