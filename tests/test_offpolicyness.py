"""The off-policyness sweep: which trials its axes make, and that killing its driver changes nothing in its table."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rllib_ext.errors import BadConfig
from tuned_configs import offpolicyness as sweep

KILLS = 5


def plan(*words: str) -> tuple[list[dict], list[str]]:
    return sweep.trials(sweep.arguments(["--model", "some/model", "--seeds", "2", *words]))


def test_every_combination_of_the_axes_that_can_hold_is_a_trial() -> None:
    words = [
        "--n",
        "1",
        "4",
        "--t",
        "1",
        "2",
        "--k",
        "2",
        "4",
        "--max-staleness",
        "none",
        "3",
        "--updates",
        "8",
    ]
    points, left_out = plan(*words, "--algorithm", "AsyncOnlineDPO", "BestOfN")
    # max_staleness=3 holds unless N * T - 1 > 3, which N = 4, T = 2 is: 2 methods x 2 K of 32 combinations.
    assert len(points) == 2 * (32 - 4) and len(left_out) == 4
    assert all("n=4 t=2" in line and "allowed: >= 7" in line for line in left_out)
    assert {tuple(point) for point in points} == {(*sweep.AXES.values(), "seed")}
    assert len({json.dumps(point) for point in points}) == len(points)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k", "1"], "no trial can run; .* needs at least 2"),
        (["--k", "1", "2", "--n", "1"], "samples_per_prompt=1 is in no trial"),
        (["--n", "0"], "minibatches_per_generation is 0"),
        (["--max-staleness", "soon"], "must be none or a number"),
        (["--set", '{"lrr": 1e-4}'], "Did you mean 'lr'"),
        (["--sizes", "64"], "starts that --smoke makes"),
    ],
)
def test_values_that_no_trial_can_have_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        plan(*words)


def begin(home: Path) -> subprocess.Popen:
    settings = {"mode": "sync", "engine": "hf", "evaluation_prompts": 32, "prompts_per_minibatch": 8}
    words = ["sweep", "offpolicyness", "--smoke", "--storage-path", str(home), "--set", json.dumps(settings)]
    return subprocess.Popen(
        [sys.executable, "-m", "rllib_ext.cli", *words], start_new_session=True, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def finish(driver: subprocess.Popen) -> list[dict]:
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, output
    return json.loads(output.splitlines()[-1])["rows"]


def reported(home: Path) -> dict[str, list[tuple[int, float]]]:
    """Trial -> (iteration, reward) of every whole line of its result file."""
    found = {}
    for file in (home / "offpolicyness").glob("*/result.json"):
        records = [json.loads(line) for line in file.read_text().split("\n")[:-1]]
        if records:
            found[records[0]["trial_id"]] = [(r["training_iteration"], r["reward"]["mean"]) for r in records]
    return found


def _once(rows: list[tuple[int, float]]) -> list[tuple[int, float]]:
    return sorted(dict(rows).items())


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_five_kills_of_the_driver_lose_no_result_and_change_no_number(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", time.time()))
    print(f"CHAOS_SEED={seed}")  # the instants can be had again
    draw = random.Random(seed)
    undisturbed = finish(begin(tmp_path / "whole"))
    home, known = tmp_path / "killed", {}
    for kill in range(KILLS):
        driver = begin(home)
        time.sleep(draw.uniform(0.5, 10) if kill == 0 else draw.uniform(5, 45))
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
        for trial, rows in reported(home).items():
            known.setdefault(trial, {}).update(rows)
    assert finish(begin(home)) == undisturbed
    final = reported(home)
    expected = reported(tmp_path / "whole")
    assert sorted(map(_once, final.values())) == sorted(
        map(_once, expected.values())
    )  # no trial twice, none missing
    assert known.keys() <= final.keys()
    for trial, rows in final.items():
        assert (
            known.get(trial, {}).items() <= dict(rows).items()
        )  # every reported number is in the final result
        # What was computed when the driver died, and not yet in its snapshot, is done again: one result a kill.
        assert len(rows) - len(dict(rows)) <= KILLS
