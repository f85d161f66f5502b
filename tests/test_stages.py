"""The supervised stages: from the command line, killed and resumed, in Tune, and what they leave."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from envs.text.controlled import vocabulary
from rllib_ext.cli import main
from rllib_ext.errors import BadConfig, CheckpointCorrupt
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer
from rllib_ext.llm.reward_head import open_reward_model
from rllib_ext.registry import STAGES, stage
from rllib_ext.runtime.history import scan
from rllib_ext.runtime.run_folder import read_json, read_jsonl
from rllib_ext.stages.runner import run_stage
from rllib_ext.stages.stage import completed

SMALL: dict[str, Any] = {
    "data": "ControlledTLDR",
    "max_rows": 96,
    "eval_rows": 32,
    "batch_size": 16,
    "max_updates": 10,
    "report_every": 2,
    "checkpoint_every": 4,
    "lr": 1e-3,
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    tokenizer = word_tokenizer(vocabulary())
    config = causal_lm_config(tokenizer, hidden=32, layers=2, heads=1, max_length=64)
    return str(save_model(build_causal_lm(config, 0), tokenizer, tmp_path_factory.mktemp("start") / "model"))


def settings(name: str, start: str, **more: Any) -> dict[str, Any]:
    extra = {"reference_rows": 32} if name == "RewardModel" else {}
    return {**SMALL, **extra, "model": start, **more}


def words(name: str, start: str, storage: Path, **more: Any) -> list[str]:
    pairs = settings(name, start, **more)
    sets = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
    return ["train", name, *sets, "--name", "x", "--storage-path", str(storage), "--json", "--quiet"]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def same_weights(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module", params=sorted(STAGES))
def finished(request: pytest.FixtureRequest, start: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(name, run folder, what run_stage returned) of every stage, never interrupted."""
    run = tmp_path_factory.mktemp(request.param) / "run"
    return request.param, run, run_stage(request.param, settings(request.param, start), run)


def test_a_finished_stage_leaves_a_model_its_figures_and_every_update(finished: Any) -> None:
    name, run, found = finished
    assert found["updates"] == 10 and found["stage"] == name and Path(found["model"]).is_dir()
    assert [row["update"] for row in read_jsonl(run / "updates.jsonl")] == list(range(1, 11))
    for row in read_jsonl(run / "updates.jsonl"):
        assert all(math.isfinite(row[key]) for key in ("loss", "lr", "grad_norm", "tokens_per_s"))
    results = read_jsonl(run / "result.json")
    assert [row["num_updates_lifetime"] for row in results] == [2, 4, 6, 8, 10]
    assert [row["done"] for row in results] == [False] * 4 + [True]
    updates = [row["loss"] for row in read_jsonl(run / "updates.jsonl")]
    assert results[1]["learners"]["default_policy"]["total_loss"] == pytest.approx(sum(updates[2:4]) / 2)
    wanted = {"SFT": "eval_loss", "RewardModel": "reference_mean", "OfflineDPO": "accuracy"}
    assert math.isfinite(found["metrics"][wanted[name]])
    for account in found["rows"]:
        assert account["kept"] + account["dropped_long"] + account["quarantined"] == account["read"]


def test_a_finished_stage_is_skipped_and_keeps_its_bytes(finished: Any, start: str) -> None:
    name, run, found = finished
    before = {path: path.stat().st_mtime_ns for path in (run / "model").iterdir()}
    assert run_stage(name, settings(name, start), run) == found
    assert {path: path.stat().st_mtime_ns for path in (run / "model").iterdir()} == before
    with pytest.raises(BadConfig, match=r"other settings \(lr: 0.001, now 0.01\)"):
        run_stage(name, settings(name, start, lr=1e-2), run)


@pytest.mark.fault("B8")
def test_a_stage_that_was_stopped_ends_with_the_same_bits(finished: Any, start: str, tmp_path: Path) -> None:
    """Save to Tune's folder after two iterations, go on in a new trainable."""
    name, run, _ = finished
    first = stage(name)(config=settings(name, start, run_folder=str(tmp_path / "first")))
    for _ in range(2):
        first.train()
    first.save_checkpoint(str(tmp_path))
    first.stop()
    second = stage(name)(config=settings(name, start, run_folder=str(tmp_path / "second")))
    second.load_checkpoint(str(tmp_path))
    assert second.counters["updates"] == 4 and second.iteration == 2
    while not second.train()["done"]:
        pass
    second.stop()
    assert same_weights(run, tmp_path / "second")
    assert completed(tmp_path / "second")["metrics"] == completed(run)["metrics"]


@pytest.mark.fault("B5")
def test_a_checkpoint_is_not_gone_on_with_on_other_rows(finished: Any, start: str, tmp_path: Path) -> None:
    name, run, _ = finished
    other = stage(name)(config=settings(name, start, max_rows=80, run_folder=str(tmp_path / "other")))
    with pytest.raises(CheckpointCorrupt, match="rows="):
        other.read_checkpoint(run / "checkpoints")
    other.stop()


@pytest.mark.fault("B8")
@pytest.mark.fault("C6")
@pytest.mark.parametrize(
    "name", ["SFT", *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(STAGES) if name != "SFT")]
)
def test_kill_9_and_resume_on_the_command_line_end_with_the_same_bits(
    name: str, start: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """SIGKILL in the midst of the stage, after a checkpoint; the command that goes on reaches the undisturbed weights."""
    whole = run_stage(name, settings(name, start, max_updates=24), tmp_path / "whole")
    run = tmp_path / f"{name}-ControlledTLDR-x"
    program = [sys.executable, "-m", "rllib_ext.cli", *words(name, start, tmp_path, max_updates=24)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and not scan(run / "checkpoints"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    assert completed(run) is None
    assert main(["resume", str(run), "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["updates"] == 24 and summary["exit_code"] == 0
    assert same_weights(tmp_path / "whole", run)
    assert completed(run)["metrics"] == whole["metrics"]
    assert [row["event"] for row in read_jsonl(run / "events.jsonl")].count("run_resumed") == 1
    updates = [row["num_updates_lifetime"] for row in read_jsonl(run / "result.json")]
    assert set(updates) >= set(range(6, 25, 2)), "what was reported before the kill is still there"


@pytest.mark.fault("A11")
def test_an_interrupt_is_resumable_and_a_finished_run_stays(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from rllib_ext.cli.result_log import ResultLog

    write = ResultLog.write

    def write_and_interrupt(log: ResultLog, result: Any) -> None:
        write(log, result)
        if result["training_iteration"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(ResultLog, "write", write_and_interrupt)
        assert main(words("SFT", start, tmp_path)) == 5
    run = tmp_path / "SFT-ControlledTLDR-x"
    assert "saved up to update" in capsys.readouterr().err
    assert main(["resume", str(run), "--json", "--quiet"]) == 0
    assert (run / "report" / "report.html").is_file()
    before = (run / "result.json").read_bytes()
    assert main(["resume", str(run), "--json"]) == 0
    assert "finished: 10 of 10 updates" in capsys.readouterr().err
    assert (run / "result.json").read_bytes() == before


def test_export_evaluate_and_dry_run_know_a_stage(
    finished: Any, start: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    name, run, _ = finished
    assert main(["export", str(run), "--to", str(tmp_path / "out")]) == 0
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == weights(run).keys()
    assert main(["evaluate", str(run)]) == 2 and "stage.json" in capsys.readouterr().err
    capsys.readouterr()
    assert main([*words(name, start, tmp_path), "--dry-run"]) == 0
    config = json.loads(capsys.readouterr().out)
    assert config["lr"] == 1e-3 and config["plan"]["folder"].endswith(f"{name}-ControlledTLDR-x")
    assert config["model"] == start and config["adam_eps"] == 1e-5 and config["lr_schedule"] == "cosine"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "label_smothing=0.1"], "Did you mean 'label_smoothing'"),
        (["--set", "lr=fast"], "a number in"),
        (["--env", "TLDR"], "learns from data"),
        (["--evaluate-every", "5"], "learns from data"),
        (["--set", "run_folder=/x"], "unknown setting"),
        (["--set", "gradient_accumulation=3"], "not a multiple"),
    ],
)
def test_wrong_words_are_answered(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = ["train", "OfflineDPO", "--set", "model=m", "--storage-path", str(tmp_path)]
    assert main([*given, *more]) == 2
    assert message in capsys.readouterr().err and list(tmp_path.iterdir()) == []
    assert main(["train", "OflineDPO", "--storage-path", str(tmp_path)]) == 2
    assert "Did you mean 'OfflineDPO'" in capsys.readouterr().err


@pytest.mark.slow
def test_every_stage_trains_in_tune_by_its_name(ray_session: Any, start: str, tmp_path: Path) -> None:
    from ray import tune
    from ray.tune import CheckpointConfig, RunConfig

    import rllib_ext

    rllib_ext.register()
    tuner = tune.Tuner(
        "RewardModel",
        param_space={**settings("RewardModel", start), "seed": tune.grid_search([0, 1])},
        run_config=RunConfig(
            name="rm",
            storage_path=str(tmp_path),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=True),
            verbose=0,
        ),
    )
    results = tuner.fit()
    assert results.num_errors == 0
    for result in results:
        assert result.metrics["num_updates_lifetime"] == 10 and result.metrics["done"]
        assert abs(result.metrics["stage"]["reference_mean"]) < 1e-3
        assert any((Path(result.checkpoint.path) / "rllib_ext").glob("step_*"))


def test_the_reward_model_scores_as_its_report_says(start: str, tmp_path: Path) -> None:
    found = run_stage("RewardModel", settings("RewardModel", start), tmp_path / "rm")
    rows = read_jsonl(tmp_path / "rm" / "comparisons.jsonl")
    accuracy = sum(row["chosen"] > row["rejected"] for row in rows) / len(rows)
    assert len(rows) == 32 and accuracy == found["metrics"]["accuracy"]
    bias = open_reward_model(found["model"]).score.bias.item()
    assert bias == pytest.approx(found["metrics"]["bias"], abs=1e-7) and bias != 0
    assert read_json(tmp_path / "rm" / "config.json")["normalise"] is True
