"""ContrastiveComm from the command line: run folder, resume to the same counters, dry run, report, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from comm_fixture import small
from test_plain_runs import last_line, newest, stopped_after, words

from rllib_ext import ContrastiveCommConfig
from rllib_ext.cli import main
from rllib_ext.cli.comm_knobs import COMM_PPO, COMM_RUN
from rllib_ext.contrastive_comm.persistence import OWN
from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime import rllib_state
from rllib_ext.runtime.run_folder import read_json, read_jsonl

SMALL = {
    "num_envs_per_env_runner": 4, "rollout_steps": 8, "num_epochs": 1, "evaluation_duration": 4,
    "evaluation_interval": 2, "checkpoint_every": 1,
}  # fmt: skip
STEPS = 4 * 8  # environment steps of an iteration


def command(storage: Path, iterations: int) -> list[str]:
    values = SMALL | {"total_iterations": iterations}
    return words("ContrastiveComm", storage, values, "--env", "Beacon", "--env-set", "size=4")


def counters(run: Path) -> dict[str, Any]:
    newest_folder = max((run / "checkpoints").glob("step_*"))
    own = read_json(newest_folder / "comm.json")
    saved = read_json(newest_folder / "algorithm.json")
    return {"gradient_steps": own["gradient_steps"], **{n: saved[n] for n in ("iteration", "env_steps")}}


def test_a_run_is_stopped_and_goes_on_to_the_counters_of_one_that_was_not(
    ray_session, tmp_path: Path, capsys, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        stopped_after(patch, 3)
        assert main(command(tmp_path, 5)) == 5
    stopped = last_line(capsys)
    run = Path(stopped["run"])
    assert run.name == "ContrastiveComm-Beacon-x" and stopped["checkpoint_updates"] == 3
    assert counters(run) == {"gradient_steps": 6, "iteration": 3, "env_steps": 3 * STEPS}
    before = newest(run)
    assert main(["resume", str(run), "--json", "--quiet"]) == 0
    done = last_line(capsys)
    assert counters(run) == {"gradient_steps": 10, "iteration": 5, "env_steps": 5 * STEPS}
    rows = read_jsonl(run / "result.json")
    assert [row["training_iteration"] for row in rows] == [1, 2, 3, 4, 5] and rows[-1]["done"]
    assert [row["num_env_steps_sampled_lifetime"] for row in rows] == [STEPS * n for n in range(1, 6)]
    assert done["updates"] == rows[-1]["num_updates_lifetime"] == 10
    after = newest(run)
    (module,) = (name for name in after if name.startswith("module"))
    assert any(not torch.equal(after[module][name], before[module][name]) for name in after[module])
    assert "evaluation/env_runners/success_mean" in done
    page = (run / "report" / "report.html").read_text()
    assert "success" in page and (run / "report" / "figures.png").stat().st_size > 0
    assert main(["resume", str(run), "--json", "--quiet"]) == 0 and last_line(capsys)["updates"] == 10
    assert main(["evaluate", str(run)]) == 2 and "trains no language model" in capsys.readouterr().err


def test_a_checkpoint_gives_back_weights_optimizer_and_the_order_of_mini_batches(
    ray_session, tmp_path: Path
) -> None:
    first, second, third = small().build_algo(), small().debugging(seed=7).build_algo(), None
    try:
        for _ in range(2):
            first.train()
        path = rllib_state.save(first, tmp_path / "kept", OWN)
        assert not [file for file in path.rglob("*") if file.suffix in (".pkl", ".pickle", ".pt")]
        rllib_state.restore(second, tmp_path / "kept", OWN)
        learners = [algorithm.learner_group._learner for algorithm in (first, second)]
        states = [learner.networks.state_dict() for learner in learners]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        moments = [learner.get_optimizer("default_policy").state_dict()["state"] for learner in learners]
        assert all(
            torch.equal(moments[0][key]["exp_avg_sq"], moments[1][key]["exp_avg_sq"]) for key in moments[0]
        )
        assert learners[0]._shuffle.permutation(50).tolist() == learners[1]._shuffle.permutation(50).tolist()
        played = second.env_runner.policy.state_dict()
        assert all(torch.equal(states[0][name], played[name]) for name in played)
        assert (second.env_steps(), second.iteration) == (first.env_steps(), 2)
        third = small(message_dim=5).build_algo()
        with pytest.raises((CheckpointCorrupt, RuntimeError), match="message_head"):
            rllib_state.restore(third, tmp_path / "kept", OWN)
    finally:
        for algorithm in filter(None, (first, second, third)):
            algorithm.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(tmp_path: Path) -> None:
    """kill -9 once three iterations are saved; the resumed run ends with the counters of one that was never killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, "-m", "rllib_ext.cli"]
    driver = subprocess.Popen(
        [*program, *command(tmp_path, 400)], start_new_session=True, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    run, deadline = tmp_path / "ContrastiveComm-Beacon-x", time.monotonic() + 240
    while not list(run.glob("checkpoints/step_*3")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait(timeout=60)
    saved = counters(run)
    assert 3 <= saved["iteration"] < 400
    config = read_json(run / "config.json") | {"total_iterations": saved["iteration"] + 2}
    (run / "config.json").write_text(json.dumps(config))
    resumed = subprocess.run(
        [*program, "resume", str(run), "--json", "--quiet"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert resumed.returncode == 0, resumed.stderr
    whole = saved["iteration"] + 2
    assert counters(run) == {"gradient_steps": 2 * whole, "iteration": whole, "env_steps": whole * STEPS}


def test_a_dry_run_resolves_every_setting_and_starts_nothing(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "ContrastiveComm", "--smoke", "--dry-run", "--set", "window=none", "--set", "lr=3e-4"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["env"], found["window"], found["lr"], found["comm"]) == ("PredatorPrey", None, 3e-4, "cacl")
    assert (found["total_iterations"], found["evaluation_interval"]) == (16, 8)
    assert list(tmp_path.iterdir()) == []


def test_defaults_are_those_of_the_config() -> None:
    config = ContrastiveCommConfig()
    for name, knob in {**COMM_PPO, **COMM_RUN}.items():
        if name not in ("seed", "evaluation_duration", "num_learners") and hasattr(config, name):
            assert getattr(config, name) == knob.default, name


def test_help_and_list_know_it(capsys) -> None:
    assert main(["train", "ContrastiveComm", "--help"]) == 0
    text = capsys.readouterr().out
    assert "message_dim = 4" in text and "grad_clip = 2.0" in text and "total_iterations = 200" in text
    assert "kl_coeff" not in text and "samples_per_prompt" not in text
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert all(
        name in listed
        for name in ("ContrastiveComm", "Beacon", "PredatorPrey", "TrafficJunction", "FindGoal")
    )


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        ([], 2, "--env Beacon"),
        (["--env", "Becon"], 2, "'Beacon'"),
        (["--env", "Beacon", "--set", "comm=talk"], 2, "'cacl'"),
        (["--env", "Beacon", "--set", "messagedim=4"], 2, "'message_dim'"),
        (["--env", "Beacon", "--set", "comm=none", "--set", "comm_coeff=1"], 2, "no message loss"),
        (["--env", "Beacon", "--set", "num_envs_per_env_runner=1"], 2, "two trajectories"),
        (["--env", "Beacon", "--env-set", "sise=4"], 2, "'size'"),
        (["--env", "Beacon", "--env-set", "size=1"], 3, "size"),
    ],
)
def test_wrong_words_are_answered(
    more: list[str], code: int, told: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "ContrastiveComm", "--dry-run", *more]) == code
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
