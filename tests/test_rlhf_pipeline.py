"""The whole chain on tiny settings: what it prints, what it skips, and that a kill in any stage changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from rllib_ext import registry
from rllib_ext.errors import BadConfig
from rllib_ext.runtime.run_folder import read_jsonl
from rllib_ext.stages.stage import completed
from tuned_configs import rlhf_pipeline
from tuned_configs._rlhf_policy import snapshot_updates
from tuned_configs._rlhf_table import standard_error

ROOT = Path(__file__).resolve().parent.parent
ALGORITHM = "AsyncPPO" if "AsyncPPO" in registry.ALGORITHMS else "AsyncRLOO"
STAGES = ("base", "sft", "reward_model")
# Dies as by `kill -9`, right after the second checkpoint, or the second file of samples, that is written below the folder
# named in the last argument.
DIE = """
import os, signal, sys
from rllib_ext.runtime import checkpoint
from tuned_configs import _rlhf_steps, rlhf_pipeline

seen = []

def deadly(write):
    def write_and_die(folder, *given, **named):
        found = write(folder, *given, **named)
        seen.extend([folder] if str(folder).startswith(sys.argv[-1]) else [])
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return write_and_die

checkpoint.save = deadly(checkpoint.save)
_rlhf_steps.write_lines = deadly(_rlhf_steps.write_lines)
rlhf_pipeline.main(sys.argv[1:-1])
"""


def words(folder: Path, until: str, **settings: Any) -> list[str]:
    more = json.dumps({"engine_threads": 1, "learner_threads": 1, "logp_probe": 0, **settings})
    given = ["--scale", "tiny", "--engine", "hf", "--algorithm", ALGORITHM, "--until", until, "--set", more]
    return [*given, "--folder", str(folder)]


def run(folder: Path, until: str, capsys: pytest.CaptureFixture) -> dict[str, Any]:
    assert rlhf_pipeline.main(words(folder, until)) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def killed(folder: Path, until: str, place: str) -> None:
    command = [sys.executable, "-c", DIE, *words(folder, until), f"{folder}/{place}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "pipeline"
    rlhf_pipeline.main(words(folder, "reward_model"))
    return folder


def same_model(a: Path, b: Path) -> bool:
    one, other = (load_file(folder / "model.safetensors") for folder in (a, b))
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def test_every_stage_hands_its_folder_to_the_next(undisturbed: Path) -> None:
    configs = {name: json.loads((undisturbed / name / "config.json").read_text()) for name in STAGES}
    assert configs["base"]["model"] == str(undisturbed / "start")
    assert configs["sft"]["model"] == str(undisturbed / "base" / "model")
    assert configs["reward_model"]["model"] == str(undisturbed / "sft" / "model")
    assert abs(completed(undisturbed / "reward_model")["metrics"]["reference_mean"]) < 1e-3
    summary = json.loads((undisturbed / "pairs" / "train.jsonl.json").read_text())
    assert summary["kept"] + summary["tied"] + summary["unscored"] + summary["quarantined"] == summary["read"]
    labels = read_jsonl(undisturbed / "pairs" / "train.jsonl")
    assert any(row["flipped"] for row in labels)
    assert all(not row["flipped"] for row in read_jsonl(undisturbed / "pairs" / "held_out.jsonl"))
    prompts = {row["prompt"] for row in labels}
    assert not prompts & {row["prompt"] for row in read_jsonl(undisturbed / "pairs" / "held_out.jsonl")}


def test_what_is_complete_is_skipped(undisturbed: Path, capsys: pytest.CaptureFixture) -> None:
    times = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.safetensors")}
    found = run(undisturbed, "reward_model", capsys)
    assert found["stage"] == "RewardModel" and found["updates"] > 2
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.safetensors")} == times
    with pytest.raises(BadConfig, match=r"other settings \(seed"):
        rlhf_pipeline.main([*words(undisturbed, "base"), "--seed", "1"])


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_kill_9_in_a_supervised_stage_changes_nothing(
    stage: str, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "pipeline"
    killed(folder, "reward_model", f"{stage}/checkpoints")
    assert completed(folder / stage) is None
    expected = completed(undisturbed / "reward_model")
    assert run(folder, "reward_model", capsys)["metrics"] == expected["metrics"]
    for name in STAGES:
        assert same_model(undisturbed / name / "model", folder / name / "model")
    events = [row["event"] for row in read_jsonl(folder / stage / "events.jsonl")]
    assert events.count("run_resumed") == 1
    for name in ("train.jsonl", "held_out.jsonl"):
        assert (folder / "pairs" / name).read_bytes() == (undisturbed / "pairs" / name).read_bytes()


@pytest.mark.slow
def test_kill_9_between_the_samples_of_pairs_changes_nothing(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(undisturbed, folder, ignore=shutil.ignore_patterns("pairs", "reward_model"))
    for name in ("base", "sft"):  # their folders and models have moved: so do the paths in their settings
        config = folder / name / "config.json"
        config.write_text(config.read_text().replace(str(undisturbed), str(folder)))
    killed(folder, "reward_model", ".pairs.half/")
    half = folder / ".pairs.half"
    assert (half / "held_out.samples.jsonl").is_file() and not (folder / "pairs").exists()
    expected = completed(undisturbed / "reward_model")
    assert run(folder, "reward_model", capsys)["metrics"] == expected["metrics"]
    assert not half.exists()
    for path in (undisturbed / "pairs").glob("*.jsonl"):
        assert (folder / "pairs" / path.name).read_bytes() == path.read_bytes()
    assert same_model(undisturbed / "reward_model" / "model", folder / "reward_model" / "model")


def test_a_dry_run_prints_every_stages_settings(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert rlhf_pipeline.main(["--smoke", "--dry-run", "--folder", str(tmp_path / "x")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["base", "sft", "reward_model", "policy"] and not (tmp_path / "x").exists()
    assert found["policy"]["value_model"] == str(tmp_path / "x" / "reward_model" / "model")


def test_snapshots_are_evenly_spaced_and_end_with_the_last_policy() -> None:
    assert snapshot_updates(96, 8) == (12, 24, 36, 48, 60, 72, 84, 96)
    assert snapshot_updates(4, 4) == (1, 2, 3, 4) and snapshot_updates(96, 0) == ()
    assert snapshot_updates(10, 3)[-1] == 10 and snapshot_updates(4, 8) == (1, 2, 3, 4)


def test_standard_errors_are_those_of_a_mean() -> None:
    wins = [True, False, True, True]
    assert standard_error(wins) == pytest.approx(np.std(wins, ddof=1) / 2)
    assert standard_error([2.0, 2.0]) == 0.0 and np.isnan(standard_error([1.0]))


def test_the_sweep_is_listed_and_runs_as_a_file() -> None:
    from rllib_ext.cli.sweep import sweeps

    assert "rlhf_pipeline" in sweeps() and "_rlhf_steps" not in sweeps()
    command = [sys.executable, "tuned_configs/rlhf_pipeline.py", "--help"]
    without = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=ROOT, env=without, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "--smoke" in done.stdout


@pytest.mark.slow
def test_kill_9_in_reinforcement_learning_ends_with_the_same_table(
    ray_session: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The killed process has a Ray session of its own, which dies with it."""
    whole = run(tmp_path / "whole", "ppo", capsys)
    wanted = {
        "rouge_l",
        "rm_accuracy",
        "rm_reference_mean",
        "gold_win_rate_before",
        "gold_win_rate_after",
        "kl",
    }
    assert wanted <= whole.keys() and abs(whole["rm_reference_mean"]) < 1e-3 and whole["updates"] == 4
    for stage in ("sft", "reward_model", "ppo"):
        assert (tmp_path / "whole" / stage / "report" / "report.html").is_file()
    killed(tmp_path / "cut", "ppo", "ppo/checkpoints")
    assert not (tmp_path / "cut" / "ppo" / "done.json").exists()
    with pytest.raises(BadConfig, match=r"other settings \(lr"):
        rlhf_pipeline.main(words(tmp_path / "cut", "ppo", lr=3e-4))
    assert run(tmp_path / "cut", "ppo", capsys) == whole
    assert same_model(tmp_path / "whole" / "ppo" / "model", tmp_path / "cut" / "ppo" / "model")
