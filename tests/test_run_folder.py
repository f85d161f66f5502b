"""A run's folder: records survive crashes, files are whole, names stay inside."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from rllib_ext.errors import BadData, Untrusted
from rllib_ext.runtime.events import MAX_DETAIL, Events
from rllib_ext.runtime.run_folder import RunFolder, read_json, read_jsonl
from rllib_ext.runtime.storage import StorageError

LIMITED = """
import resource, sys
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.events import Events
from rllib_ext.runtime.storage import StorageError

run, failures = RunFolder(sys.argv[1]), 0
events = Events(run)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for index in range(100):
    try:
        run.append_jsonl("rounds", {"index": index, "text": "x" * 90})
    except StorageError as error:
        failures += 1
        assert "rounds.jsonl" in str(error) and "size limit" in str(error) or "storage full" in str(error)
for index in range(100):
    events.emit("checkpoint_failed", "x" * 90)
assert events.count("checkpoint_failed") == 100 and 80 < events.unwritten < 100
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
run.append_jsonl("rounds", {"index": 100})
print(failures)
"""

WRITER = """
import sys
from rllib_ext.runtime.run_folder import RunFolder

run = RunFolder(sys.argv[1])
for index in range(10**9):
    run.append_jsonl("timeline", {"index": index, "text": "x" * (index % 5000)})
    if index == 50:
        print("ready", flush=True)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def test_the_layout_is_made_and_read_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "a")
    assert run.checkpoints.is_dir() and run.report.is_dir()
    assert run.write_json("run.json", {"seed": 7}) == run.path / "run.json"
    run.write_json("report/summary", [1, 2])
    for index in range(3):
        run.append_jsonl("events", {"event": "a", "index": index})
    run.append_jsonl("events.jsonl", {"event": "b", "index": 3})
    assert run.read_json("run") == {"seed": 7} and read_json(run.path / "report/summary.json") == [1, 2]
    assert [record["index"] for record in read_jsonl(run.path / "events.jsonl")] == [0, 1, 2, 3]
    assert run.read_jsonl("evaluations") == [] == read_jsonl(tmp_path / "absent.jsonl")
    assert {item.name for item in run.path.iterdir()} == {"checkpoints", "report", "run.json", "events.jsonl"}
    run.close()
    run.close()


def test_records_are_plain_json(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    record = {
        "numpy": np.float32(0.5),
        "count": np.int64(3),
        "array": np.arange(3),
        "torch": torch.tensor(1.5),
        "tuple": (1, [2, (3,)]),
        "nan": math.nan,
        "inf": [np.float64("inf"), torch.tensor(-math.inf)],
        "path": Path("a/b"),
        0: "key",
        "text": 'new\nline " \u2028 \ud800',
    }
    run.append_jsonl("samples", record)
    raw = (tmp_path / "samples.jsonl").read_bytes()
    assert raw.count(b"\n") == 1 and raw.isascii()
    assert json.loads(raw) == {
        "numpy": 0.5,
        "count": 3,
        "array": [0, 1, 2],
        "torch": 1.5,
        "tuple": [1, [2, [3]]],
        "nan": None,
        "inf": [None, None],
        "path": "a/b",
        "0": "key",
        "text": 'new\nline " \u2028 \ud800',
    }
    with pytest.raises(BadData, match="samples"):
        run.append_jsonl("samples", {"a": object()})
    assert (tmp_path / "samples.jsonl").read_bytes() == raw


@pytest.mark.parametrize("cut", range(1, 27))
def test_a_torn_last_line_is_skipped_and_the_next_writer_mends_it(tmp_path: Path, cut: int) -> None:
    run = RunFolder(tmp_path)
    for index in range(3):
        run.append_jsonl("rounds", {"index": index, "text": "abc"})
    run.close()
    path = tmp_path / "rounds.jsonl"
    raw = path.read_bytes()
    path.write_bytes(raw[:-cut])
    kept = [0, 1, 2] if cut == 1 else [0, 1]  # only the newline is lost: the record is whole
    assert [record["index"] for record in read_jsonl(path)] == kept
    again = RunFolder(tmp_path)
    again.append_jsonl("rounds", {"index": 9})
    assert [record["index"] for record in read_jsonl(path)] == [*kept, 9]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_torn_line_longer_than_a_block_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    for begin in (b"", b'{"index": 0}\n'):
        path.write_bytes(begin + b'{"text": "' + b"x" * 200_000)
        run = RunFolder(tmp_path)
        run.append_jsonl("rounds", {"index": 9})
        run.close()
        assert path.read_bytes() == begin + b'{"index": 9}\n'


def test_damage_inside_a_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    for bad in (b"{", b"[1]", b"\xff", b"3", b"[" * 100_000):
        path.write_bytes(b'{"a": 1}\n\n' + bad + b'\n{"a": 2}\n')
        with pytest.raises(BadData, match=r"rounds\.jsonl, line 3"):
            read_jsonl(path)
    for bad in (b"", b"{", b"[" * 100_000, b"\xff"):
        path.write_bytes(bad)
        with pytest.raises(BadData, match=r"rounds\.jsonl"):
            read_json(path)


@pytest.mark.fault("B1")
def test_kill_9_leaves_only_whole_records(tmp_path: Path) -> None:
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
            writer.kill()
    indices = [record["index"] for record in read_jsonl(tmp_path / "timeline.jsonl")]
    starts = [at for at, index in enumerate(indices) if index == 0]
    assert len(starts) == 5
    for begin, end in zip(starts, [*starts[1:], len(indices)], strict=True):
        assert indices[begin:end] == list(range(end - begin)) and end - begin > 50


@pytest.mark.fault("B2")
def test_a_full_disk_is_an_error_once_and_no_damage(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    indices = [record["index"] for record in read_jsonl(tmp_path / "rounds.jsonl")]
    assert indices == [*range(len(indices) - 1), 100]
    assert len(indices) + int(done.stdout) == 101
    assert len(read_jsonl(tmp_path / "events.jsonl")) < 20


def test_write_json_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    run.write_json("config", {"lr": 1})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(StorageError, match="storage full"):
                run.write_json("config", {"lr": 2})
        assert run.read_json("config") == {"lr": 1}
    assert [item.name for item in tmp_path.iterdir() if item.is_file()] == ["config.json"]


@pytest.mark.fault("G5")
@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "~/x", "a\\b", "C:x", "a\0", "out/x", ""])
def test_names_stay_inside(tmp_path: Path, name: str) -> None:
    run = RunFolder(tmp_path / "run")
    os.symlink(tmp_path, run.path / "out")
    for act in (run.append_jsonl, run.write_json):
        with pytest.raises(Untrusted):
            act(name, {"a": 1})
    assert {item.name for item in tmp_path.iterdir()} == {"run"}


def test_threads_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    events = Events(run)

    def write(who: int) -> None:
        for index in range(100):
            events.emit("worker_died", "x" * index, who=who)

    threads = [threading.Thread(target=write, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = read_jsonl(tmp_path / "events.jsonl")
    assert len(records) == 800 == events.count("worker_died")
    for who in range(8):
        assert [len(record["detail"]) for record in records if record["who"] == who] == list(range(100))


def test_events_are_counted_across_sessions(tmp_path: Path) -> None:
    first = Events(RunFolder(tmp_path))
    first.emit("worker_died", "worker 1", worker=1)
    first.emit("worker_died")
    second = Events(RunFolder(tmp_path))
    second.emit("worker_replaced", "y" * (MAX_DETAIL + 5))
    assert second.counts() == {"worker_died": 2, "worker_replaced": 1} and second.count("other") == 0
    records = read_jsonl(tmp_path / "events.jsonl")
    assert set(records[0]) == {"time", "event", "detail", "worker"} and records[0]["worker"] == 1
    assert records[2]["detail"].endswith("y ... (5 more characters)")
    for bad in ({"event": ""}, {"event": "a", "time": 3}):
        with pytest.raises(BadData):
            second.emit(**bad)  # type: ignore[arg-type]
