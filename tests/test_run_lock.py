"""One writer per run folder (reliability.md B7): refusal while the owner lives, takeover when it does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rllib_ext.errors import RllibExtError
from rllib_ext.runtime.process_identity import this_process
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.run_lock import LOCK, RunLock, RunLocked

OWNER = """
import sys
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.run_lock import RunLocked

try:
    run = RunFolder(sys.argv[1], heartbeat_s=float(sys.argv[2])).lock()
except RunLocked as error:
    print("refused", flush=True)
else:
    print("owner", flush=True)
sys.stdin.readline()
try:
    run.append_jsonl("events", {"event": "late"})
except RunLocked:
    print("stopped", flush=True)
"""


def owner(folder: Path, heartbeat_s: float = 10.0) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", OWNER, str(folder), str(heartbeat_s)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
    }
    return subprocess.Popen(command, env=environment, text=True, **pipes)


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def forge(folder: Path, age_s: float = 0.0, **changes: Any) -> None:
    """A lock file of another owner: this process but for ``changes``, last touched ``age_s`` ago."""
    path = folder / LOCK
    path.write_text(json.dumps({**this_process(), "heartbeat_s": 10.0, "token": "other", **changes}))
    os.utime(path, (time.time() - age_s,) * 2)


@pytest.mark.fault("B7")
def test_a_second_owner_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as first:
        first.lock()  # harmless for the one who has it
        with pytest.raises(RunLocked, match=f"in use by process {os.getpid()} on ") as caught:
            RunFolder(tmp_path).lock()
        assert isinstance(caught.value, RllibExtError) and "choose another folder" in str(caught.value)
        second = owner(tmp_path)
        assert says(second) == "refused"
        second.communicate("\n", timeout=30)
        RunFolder(tmp_path).read_jsonl("events")  # reading needs no lock
    assert not (tmp_path / LOCK).exists()
    with RunFolder(tmp_path):
        pass


@pytest.mark.fault("B7")
def test_a_killed_owner_is_replaced_at_once(tmp_path: Path) -> None:
    first = owner(tmp_path)
    assert says(first) == "owner"
    with pytest.raises(RunLocked, match=f"process {first.pid} "):
        RunFolder(tmp_path).lock()
    os.kill(first.pid, signal.SIGKILL)
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie
    with RunFolder(tmp_path):
        pass
    first.communicate(timeout=30)


def eventually(holds: Callable[[], bool]) -> None:
    """Waits for a condition; a machine that is busy makes the test slow, not red."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


def takes(run: RunFolder) -> bool:
    try:
        run.lock()
    except RunLocked:
        return False
    return True


@pytest.mark.fault("B7")
def test_a_suspended_owner_is_replaced_after_two_heartbeats_and_stops(tmp_path: Path) -> None:
    first = owner(tmp_path, heartbeat_s=0.2)
    assert says(first) == "owner"
    taken = (tmp_path / LOCK).stat().st_mtime
    eventually(lambda: (tmp_path / LOCK).stat().st_mtime > taken + 0.5)  # it beats
    os.kill(first.pid, signal.SIGSTOP)
    beaten, run = (tmp_path / LOCK).stat().st_mtime, RunFolder(tmp_path)
    eventually(lambda: takes(run))
    assert time.time() - beaten > 0.4
    os.kill(first.pid, signal.SIGCONT)
    out, _ = first.communicate("\n", timeout=30)
    assert out == "stopped\n" and run.read_jsonl("events") == []
    run.append_jsonl("events", {"event": "mine"})
    run.close()


@pytest.mark.fault("B7")
@pytest.mark.parametrize(
    ("changes", "age_s", "free"),
    [
        ({}, 0.0, False),
        ({}, 19.0, False),
        ({}, 21.0, True),
        ({"host": "elsewhere", "pid": 2**22 + 1}, 0.0, False),
        ({"host": "elsewhere", "pid": 2**22 + 1}, 21.0, True),
        ({"namespace": "pid:[1]", "pid": 2**22 + 1}, 0.0, False),
        ({"pid": 2**22 + 1}, 0.0, True),
        ({"started": "1"}, 0.0, True),  # the id was given to another process
        ({"pid": "x"}, 0.0, True),
        ({"heartbeat_s": 100.0}, 150.0, False),
        ({"heartbeat_s": None}, 15.0, False),
        ({"heartbeat_s": None}, 25.0, True),
    ],
)
def test_who_counts_as_dead(tmp_path: Path, changes: dict[str, Any], age_s: float, free: bool) -> None:
    forge(tmp_path, age_s, **changes)
    lock = RunLock(tmp_path)
    if free:
        lock.acquire()
        lock.release()
    else:
        with pytest.raises(RunLocked):
            lock.acquire()


@pytest.mark.fault("B7")
@pytest.mark.parametrize("text", ["", "{", "[]", "\0"])
def test_an_unreadable_lock_is_respected_until_it_is_old(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    with pytest.raises(RunLocked):
        RunLock(tmp_path).acquire()
    os.utime(tmp_path / LOCK, (time.time() - 30,) * 2)
    RunLock(tmp_path).acquire()


@pytest.mark.fault("B7")
def test_of_many_that_find_a_dead_owner_one_wins(tmp_path: Path) -> None:
    forge(tmp_path, pid=2**22 + 1)
    contenders = [owner(tmp_path) for _ in range(6)]
    answers = [says(contender) for contender in contenders]
    for contender in contenders:
        contender.communicate("\n", timeout=30)
    assert sorted(answers) == ["owner"] + ["refused"] * 5


def test_a_lock_that_was_taken_over_is_not_given_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, heartbeat_s=0.05).lock()
    forge(tmp_path)
    time.sleep(0.3)
    for act in (lambda: run.append_jsonl("events", {}), lambda: run.write_json("run", {}), run.lock):
        with pytest.raises(RunLocked, match="taken over"):
            act()
    run.close()
    assert json.loads((tmp_path / LOCK).read_text())["token"] == "other"


def test_a_writer_that_was_away_looks_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beat may come later than the write: after a pause the write itself looks whose lock it is."""
    run = RunFolder(tmp_path, heartbeat_s=1000.0).lock()
    forge(tmp_path)
    run.append_jsonl("events", {"event": "not away for long"})
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1600.0)
    with pytest.raises(RunLocked, match="taken over"):
        run.append_jsonl("events", {"event": "late"})
    monkeypatch.undo()
    run.close()


def test_a_forked_child_leaves_its_parents_lock_alone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path).lock()
    child = os.fork()
    if child == 0:
        run.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / LOCK).exists()
    run.append_jsonl("events", {"event": "still mine"})
    run.close()
