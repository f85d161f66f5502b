"""Kills, full disks and failing calls during a save (reliability.md B1, B2): the previous checkpoint always
survives.

Two ways of looking. ``kill -9`` at random instants is what the world does. A process that dies, or a call
that fails, at the n-th file-system call for *every* n is what a proof would ask for; it covers each gap
between two calls once.

What neither can show is a power cut, which also loses what was not flushed; for that the order of the
flushes is recorded and checked.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chaos.inject import tries
from safetensors import SafetensorError

from rllib_ext.runtime import checkpoint, tensor_files
from rllib_ext.runtime.checkpoint import StorageError, latest, load, save, verify

KILLS = tries(12, 50)
CALLS = ("fsync", "mkdir", "open", "rename", "replace", "rmdir", "unlink")

KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from rllib_ext.runtime.checkpoint import latest, load, save, verify

folder, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
instant, report = random.Random(seed), []
for _ in range(rounds):
    found = latest(folder)
    begin = load(found).step + 1 if found else 0
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        for count in range(10**6):
            step = begin + count // 2  # every step is saved twice: a new one, then a replacement
            tensors = {name: {"w": torch.full((2000,), float(step))} for name in ("policy", "optimizer")}
            save(folder, step=step, tensors=tensors, state={"cursor": {"step": step}}, keep=2)
            os.write(tell, step.to_bytes(8, "big"))
    os.close(tell)
    promised = int.from_bytes(os.read(told, 8), "big")
    time.sleep(instant.uniform(0.0, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while chunk := os.read(told, 8):
        promised = int.from_bytes(chunk, "big")
    os.close(told)
    names = [path.name for path in folder.iterdir()]
    whole = [name for name in names if name.startswith("step_") and "-" not in name]
    for name in whole:
        verify(folder / name)
    back = load(latest(folder))
    assert back.tensors["policy"]["w"].tolist() == [float(back.step)] * 2000
    torn = len(names) - len(whole) - 1  # LATEST is neither
    report.append({"promised": promised, "found": back.step, "torn": torn})
print(json.dumps(report))
"""

FULL = """
import json, os, resource, sys
from pathlib import Path
import torch
from rllib_ext.runtime.checkpoint import StorageError, latest, load, save

folder = Path(sys.argv[1])
good = save(folder, step=1, tensors={"policy": {"w": torch.ones(10)}}, state={})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
report = []
for tensors, state in (({"policy": {"w": torch.ones(10**6)}}, {}), ({}, {"cursor": "x" * 10**6})):
    for _ in range(3):
        try:
            save(folder, step=2, tensors=tensors, state=state, keep=1)
        except StorageError as error:
            report.append([error.errno, str(error), sorted(os.listdir(folder)), latest(folder) == good])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
save(folder, step=2, tensors={"policy": {"w": torch.ones(10**6)}}, state={}, keep=1)
print(json.dumps({"report": report, "after": load(latest(folder)).step}))
"""


def run(script: str, *arguments: object) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def put(folder: Path, step: int, value: float, keep: int = 2) -> Path:
    tensors = {"policy": {"w": torch.full((4,), value)}, "optimizer": {"m": torch.full((2,), value)}}
    return save(folder, step=step, tensors=tensors, state={"cursor": value}, keep=keep)


def values(folder: Path) -> tuple[int, float]:
    """Step and value of the newest checkpoint, whose parts must all be of the same save."""
    found = load(latest(folder))  # type: ignore[arg-type]
    value = found.state["cursor"]
    assert found.tensors["policy"]["w"].tolist() == [value] * 4
    assert found.tensors["optimizer"]["m"].tolist() == [value] * 2
    return found.step, value


class Interrupt(BaseException):
    """Stands for the death of the process: nothing of the package catches it on purpose."""


def at_call(
    patch: pytest.MonkeyPatch, number: int, act: Callable[[], None], dead_after: bool
) -> Callable[[], int]:
    """Runs ``act`` at the ``number``-th file-system call; with ``dead_after``, at all later ones too."""
    made = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += 1
            if made == number or (dead_after and made > number):
                act()
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        patch.setattr(os, name, wrap(getattr(os, name)))
    patch.setattr(tensor_files, "save_file", wrap(tensor_files.save_file))
    patch.setattr(checkpoint, "write_new", wrap(checkpoint.write_new))
    return lambda: made


@pytest.mark.fault("B1", tries=KILLS)
def test_kill_9_at_random_instants(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(2), "big")
    print(f"seed {seed}")
    report = run(KILLED, tmp_path, seed, KILLS)
    assert len(report) == KILLS
    assert all(entry["found"] >= entry["promised"] for entry in report), report
    assert all(entry["torn"] <= 2 for entry in report), report  # one save's leftovers, never a heap
    assert any(entry["torn"] for entry in report), "no kill fell into a save"
    put(tmp_path, 10**6, 1.0)
    assert not [path for path in tmp_path.iterdir() if ".tmp-" in path.name or ".old-" in path.name]


@pytest.mark.fault("B2", tries=6)
def test_file_size_limit_keeps_the_old_checkpoint_and_says_what_to_do(tmp_path: Path) -> None:
    result = run(FULL, tmp_path)
    assert len(result["report"]) == 6 and result["after"] == 2
    for code, message, names, good_is_latest in result["report"]:
        assert code == errno.EFBIG and good_is_latest
        assert names == ["LATEST", "step_000001"]  # partial files are gone, which gives the space back
        assert str(tmp_path) in message and "file size limit" in message and "Training can go on" in message


def cases(tmp_path: Path) -> list[tuple[str, int]]:
    """A folder at steps 1 and 2, then: a new step (which deletes step 1) and a replacement of step 2."""
    template = tmp_path / "template"
    put(template, 1, 1.0)
    put(template, 2, 2.0)
    return [("new", 3), ("replacement", 2)]


@pytest.mark.fault("B1")
@pytest.mark.parametrize("dead_after", [True, False], ids=["death", "failure"])
def test_stopping_at_every_single_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead_after: bool
) -> None:
    """Death: nothing after the call happens. Failure: the call says ENOSPC, and the save tidies up."""

    def die() -> None:
        raise Interrupt

    def refuse() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # A process that dies loses nothing it wrote, flushed or not: flushes are only counted, which is quick.
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    for kind, step in cases(tmp_path):
        outcomes = set()
        for number in range(1, 1000):
            folder = tmp_path / f"{kind}{number}"
            shutil.copytree(tmp_path / "template", folder)
            with pytest.MonkeyPatch.context() as patch:
                made = at_call(patch, number, die if dead_after else refuse, dead_after)
                try:
                    put(folder, step, 9.0)
                except (Interrupt, StorageError) as error:
                    # a read-back that fails is the storage's fault (EIO), not a damaged checkpoint
                    assert dead_after or error.errno in (errno.ENOSPC, errno.EIO)  # type: ignore[union-attr]
            outcomes.add(values(folder))
            put(folder, 4, 4.0, keep=3)
            assert values(folder) == (4, 4.0)
            assert not [path for path in folder.iterdir() if ".tmp-" in path.name or ".old-" in path.name]
            shutil.rmtree(folder)
            if made() < number:
                break
        assert number > 20 and outcomes == {(2, 2.0), (step, 9.0)}  # both are seen, nothing else ever


@pytest.mark.fault("B2")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_storage_errors_of_the_tensor_library_are_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: object) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: something (os error {code})")

    good = put(tmp_path, 1, 1.0)
    monkeypatch.setattr(tensor_files, "save_file", fail)
    with pytest.raises(StorageError, match="Nothing older was deleted") as caught:
        put(tmp_path, 2, 2.0, keep=1)
    assert caught.value.errno == code and latest(tmp_path) == good and verify(good).step == 1


def test_everything_is_flushed_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 1, 1.0)
    log: list[tuple[str, str]] = []
    real_fsync, real_rename, real_replace = os.fsync, os.rename, os.replace

    def fsync(handle: int) -> None:
        log.append(("fsync", Path(os.readlink(f"/proc/self/fd/{handle}")).name))
        real_fsync(handle)

    def rename(source: Path, target: Path) -> None:
        log.append(("rename", Path(target).name))
        real_rename(source, target)

    def replace(source: Path, target: Path) -> None:
        log.append(("rename", Path(target).name))
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "replace", replace)
    put(tmp_path, 2, 2.0, keep=1)
    order = [name.split("-")[0].lstrip(".") for _, name in log]
    folder = tmp_path.resolve().name.split("-")[0]
    contents = {"cursor.json", "policy.safetensors", "optimizer.safetensors"}
    assert set(order[:3]) == contents and order[3:5] == ["manifest.json", "step_000002.tmp"]
    assert order[5:] == ["step_000002", folder, "LATEST.tmp", "LATEST", folder, "step_000001.tmp"]
