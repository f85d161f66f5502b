"""Sweeps that cannot be lost: same command, same table, whatever ended the driver; and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rllib_ext.errors import BadConfig
from rllib_ext.runtime.sweep import STOP_KEYS, Sweep
from rllib_ext.runtime.sweep_snapshot import keep, numbered, recover

STEPS, TRIALS = 12, 2


def begin(home: Path) -> subprocess.Popen:
    script = Path(__file__).with_name("counting_sweep.py")
    return subprocess.Popen(
        [sys.executable, str(script), str(home), str(STEPS)], start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def reported(home: Path) -> dict[str, int]:
    """Trial -> the largest step that its snapshot or its result file knows."""
    found: dict[str, int] = {}
    for file in (home / "counting").glob("*/result.json"):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            found[record["trial_id"]] = max(found.get(record["trial_id"], 0), record["steps"])
    return found


@pytest.mark.fault("A8")
@pytest.mark.timeout(240)
@pytest.mark.slow
@pytest.mark.parametrize(
    "after", [pytest.param(0, id="at its first trial"), pytest.param(4, id="in the middle")]
)
def test_kill_9_of_the_driver_costs_no_reported_step(tmp_path: Path, after: int) -> None:
    driver = begin(tmp_path)
    deadline = time.monotonic() + 120
    while sum(reported(tmp_path).values()) <= after:
        assert driver.poll() is None and time.monotonic() < deadline, "the driver ended or never began"
        time.sleep(0.02)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    before = reported(tmp_path)
    known = (tmp_path / "lines").read_text().splitlines()

    assert begin(tmp_path).wait(timeout=120) == 0
    table = json.loads((tmp_path / "table.json").read_text())
    assert [row[:3] for row in table] == [[1.0, STEPS, STEPS], [2.0, STEPS, 2.0 * STEPS]]
    assert {row[3] for row in table} >= before.keys() and len({row[3] for row in table}) == TRIALS
    repeated = [line for line in (tmp_path / "lines").read_text().splitlines()[len(known) :] if line in known]
    # What had been computed but not reported when the driver died may be computed again: one step a trial.
    assert all(int(line.split()[1]) >= before.get(line.split()[0], 0) for line in repeated), (
        repeated,
        before,
    )
    assert len(repeated) <= 2 * TRIALS


def test_a_torn_state_is_replaced_by_the_last_whole_snapshot(tmp_path: Path) -> None:
    written, folder = tmp_path / "written", tmp_path / "sweep"
    (written / "a_trial").mkdir(parents=True)
    folder.mkdir()
    torn = folder / "experiment_state-1.json"
    torn.write_text('{"trial_data": [')
    assert not recover(folder)  # nothing whole: the sweep has not begun
    for results in range(4):
        (written / "experiment_state-1.json").write_text(json.dumps({"results": results}))
        keep(written, folder)
    (folder / ".snapshots" / "draft-1").mkdir()  # of a driver that died while it wrote one
    torn.write_text('{"trial_data": [')
    assert recover(folder) and json.loads(torn.read_text()) == {"results": 3}
    assert [place.name for place in numbered(folder / ".snapshots")] == ["00000003", "00000004"]


def sweep(home: Path, **changes: object) -> Sweep:
    space = {"lr": 1e-3, "seed": {"grid_search": [1, 2]}, **changes}
    return Sweep("one", "PPO", space, storage=str(home))


def test_a_sweep_goes_on_with_its_own_settings_only(tmp_path: Path) -> None:
    from ray import tune

    first = sweep(tmp_path, beta=tune.loguniform(1e-3, 1.0))
    first.tuner()
    (tmp_path / "one" / "experiment_state-0.json").write_text("{}")
    again = sweep(tmp_path, beta=tune.loguniform(1e-3, 1.0))
    assert again.fingerprint == first.fingerprint
    again._compare()
    with pytest.raises(BadConfig, match=r"other settings \(beta, lr\)"):
        sweep(tmp_path, beta=tune.loguniform(1e-3, 2.0), lr=1e-4)._compare()


def test_resuming_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="no sweep to resume"):
        sweep(tmp_path).tuner(must_exist=True)
    assert not (tmp_path / "one").exists()


def test_iterations_are_no_measure_of_progress(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="training_iteration"):
        Sweep("one", "PPO", {}, stop={"training_iteration": 5})
    for key in STOP_KEYS:
        Sweep("one", "PPO", {}, stop={key: 5})


@pytest.mark.parametrize("name", ["", "a/b", "..", "/tmp"])
def test_a_name_stays_inside_its_storage(name: str) -> None:
    with pytest.raises(BadConfig, match="plain folder name"):
        Sweep(name, "PPO", {})


def test_every_result_is_kept_and_trials_are_tried_again(tmp_path: Path) -> None:
    config = sweep(tmp_path)._run_config()
    assert config.failure_config.max_failures == 3
    assert config.checkpoint_config.num_to_keep == 2 and config.checkpoint_config.checkpoint_frequency == 1
    sweep(tmp_path).tuner()
    assert os.environ["TUNE_GLOBAL_CHECKPOINT_S"] == "0"
