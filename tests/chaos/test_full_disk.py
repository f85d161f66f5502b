"""A disk that is really full while a run trains and saves: real files, a real limit, the real loop (B2)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# argv: run folder, "limit" (RLIMIT_FSIZE) or "tmpfs" (the folder lies on one of 8 MB), checkpoints that shall fail.
TRAINING = """
import json, resource, sys
from pathlib import Path
import torch
from rllib_ext.cli.interrupts import Interrupts
from rllib_ext.cli.settings import RunSettings
from rllib_ext.cli.training import Training
from rllib_ext.runtime import checkpoint
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.storage import StorageError

root, way, failures = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
hog = root / "somebody's file"

class Journal:
    events = []
    def event(self, kind, detail):
        self.events.append((kind, detail))

class Algorithm:
    journal, counters, saves = Journal(), {"updates": 0}, 0
    def train(self):
        self.counters["updates"] += 1
        return {"training_iteration": self.counters["updates"], "done": self.counters["updates"] >= 12}
    def evaluate(self):
        pass
    def write_checkpoint(self, folder):
        self.saves += 1
        full(2 <= self.saves < 2 + failures)
        weights = {"model": {"w": torch.full((250_000,), float(self.counters["updates"]))}}
        checkpoint.save(folder, step=self.counters["updates"], tensors=weights, state={}, keep=2)

def full(now):
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000 if now else resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    elif now and not hog.exists():
        try:
            with open(hog, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(100_000))
        except OSError:
            pass
    elif not now:
        hog.unlink(missing_ok=True)

algorithm, code = Algorithm(), 0
with Interrupts() as interrupts, RunFolder(root / "run") as run:
    interrupts.started()
    values = {"total_updates": 12, "checkpoint_every": 2, "evaluation_interval": None}
    try:
        Training(algorithm, run, RunSettings("A", "E", {}, values), interrupts, view=None).run()
    except StorageError as error:
        code = error.exit_code
full(False)
newest = checkpoint.latest(run.checkpoints)
loaded = checkpoint.load(newest)
print(json.dumps({
    "code": code, "updates": algorithm.counters["updates"], "saved": loaded.step,
    "value": float(loaded.tensors["model"]["w"][0]), "events": Journal.events,
    "names": sorted(path.name for path in run.checkpoints.iterdir()),
}))
"""


def train(folder: Path, way: str, failures: int) -> dict:
    program = [sys.executable, "-c", TRAINING, str(folder), way, str(failures)]
    if way == "tmpfs":
        mounted = f'mount -t tmpfs -o size=8m none "{folder}" && exec "$@"'
        program = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh", *program]
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def tmpfs_is_permitted() -> bool:
    if not shutil.which("unshare"):
        return False
    words = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(words, capture_output=True, timeout=20).returncode == 0


@pytest.fixture(params=["limit", pytest.param("tmpfs", marks=pytest.mark.slow)])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "tmpfs" and not tmpfs_is_permitted():
        pytest.skip("mounting a tmpfs is not permitted here")
    return request.param


@pytest.mark.fault("B2", tries=2)
def test_training_goes_on_over_two_failed_saves(tmp_path: Path, way: str) -> None:
    found = train(tmp_path, way, failures=2)
    assert (found["code"], found["updates"], found["saved"], found["value"]) == (0, 12, 12, 12.0)
    kinds, details = zip(*found["events"], strict=True)
    assert kinds == ("checkpoint_failed", "checkpoint_failed")
    reason = "file size limit" if way == "limit" else "storage full"
    assert all(reason in detail and "Training can go on" in detail for detail in details)
    assert found["names"] == ["LATEST", "step_000010", "step_000012"]


@pytest.mark.fault("B2", tries=3)
def test_the_third_failed_save_ends_the_run_and_the_first_checkpoint_is_whole(
    tmp_path: Path, way: str
) -> None:
    found = train(tmp_path, way, failures=99)
    assert (found["code"], found["updates"], found["saved"], found["value"]) == (4, 8, 2, 2.0)
    assert [kind for kind, _ in found["events"]] == ["checkpoint_failed"] * 3
    assert found["names"] == ["LATEST", "step_000002"], "partial files are gone"
