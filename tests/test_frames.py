"""Frames on disk: round trip, order, what a kill leaves, every damage named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from frames_fixture import ABOUT, episode, frame, write

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.frames.layout import DATASET, ROW_GROUP, Dataset, FileEntry, read_dataset, write_dataset
from rllib_ext.frames.store import FrameStore
from rllib_ext.frames.writer import SCALARS, FrameWriter

ROOT = Path(__file__).resolve().parent.parent


def test_f8_09_parquet_gives_back_every_bit(tmp_path: Path) -> None:
    games = [episode(0, 100), episode(1, 37, end="truncated"), episode(2, 60, lost=(20, 41))]
    store = FrameStore(write(tmp_path / "data", *games))
    assert len(store) == 197 and store.dataset.complete and store.about == ABOUT
    assert np.array_equal(store.frames_NHW, np.concatenate([rows["frames_NHW"] for rows in games]))
    for name, kind in SCALARS.items():
        read = getattr(store.rows, f"{name}_N")
        assert read.dtype == kind
        assert np.array_equal(read, np.concatenate([rows[name] for rows in games]).astype(kind)), name
    assert store.ram_NX is None
    files = sorted((tmp_path / "data").glob("frames-*.parquet"))
    assert [pq.read_metadata(path).num_rows for path in files] == [64, 64, 64, 5]
    group = pq.read_metadata(files[0]).row_group(0)
    assert group.num_rows == ROW_GROUP and group.column(0).compression == "ZSTD"
    assert not group.column(0).is_stats_set  # they would hold two frames a group


def test_games_that_were_recorded_at_once_come_out_in_order(tmp_path: Path) -> None:
    whole = [episode(0, 50), episode(1, 40)]
    pieces = [
        {name: values[start : start + 10] for name, values in whole[game].items()}
        for start in range(0, 50, 10)
        for game in (1, 0)
        if start < len(whole[game]["t"])
    ]
    folder = write(tmp_path / "data", *pieces)
    for memory in (2**30, 0):  # in memory, and mapped
        store = FrameStore(folder, in_memory_bytes=memory)
        assert list(store.rows.episode_id_N) == [0] * 50 + [1] * 40
        assert list(store.rows.t_N) == [*range(50), *range(40)]
        assert np.array_equal(store.frames_NHW, np.concatenate([rows["frames_NHW"] for rows in whole]))


def test_ram_is_kept_beside_the_frames(tmp_path: Path) -> None:
    rows = episode(0, 70)
    ram = np.random.default_rng(0).integers(0, 256, (70, 128), dtype=np.uint8)
    store = FrameStore(write(tmp_path / "data", {**rows, "ram": ram}, ram=True))
    assert np.array_equal(store.ram_NX, ram)


def test_the_mapped_array_is_built_once_and_anew_when_the_data_grow(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", episode(0, 80))
    FrameStore(folder, in_memory_bytes=0).frames_NHW  # noqa: B018
    (cached,) = (folder / ".cache").glob("*.npy")
    stamp = cached.stat().st_mtime_ns
    assert np.array_equal(FrameStore(folder, in_memory_bytes=0).frames_NHW[33], frame(0, 33))
    assert cached.stat().st_mtime_ns == stamp
    with FrameWriter(folder, ABOUT, rows_per_file=64, resume=True) as writer:
        writer.append(**episode(1, 64))
    store = FrameStore(folder, in_memory_bytes=0)
    assert len(store.frames_NHW) == 144 and np.array_equal(store.frames_NHW[100], frame(1, 20))
    assert len(list((folder / ".cache").iterdir())) == 1
    raw = bytearray(next((folder / ".cache").iterdir()).read_bytes())
    raw[128:] = bytes(len(raw) - 128)
    next((folder / ".cache").iterdir()).write_bytes(raw)
    with pytest.raises(BadData, match="Delete it"):
        FrameStore(folder, in_memory_bytes=0).frames_NHW  # noqa: B018
    elsewhere = FrameStore(folder, in_memory_bytes=0, cache=tmp_path / "fast")
    assert np.array_equal(elsewhere.frames_NHW[79], frame(0, 79))


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from frames_fixture import ABOUT, episode
from rllib_ext.frames.writer import FrameWriter
writer = FrameWriter({folder!r}, ABOUT, rows_per_file=4096)
number = 0
while True:
    writer.append(**episode(number, 1024))
    number += 1
    print(number, flush=True)
"""


@pytest.mark.parametrize("appended", [5, 9, 14])
def test_a_killed_writer_leaves_complete_files_that_load(tmp_path: Path, appended: int) -> None:
    folder = tmp_path / "data"
    code = KILLED.format(tests=str(ROOT / "tests"), folder=str(folder))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        for _ in range(appended):
            child.stdout.readline()
        time.sleep(0.01 * appended)
        child.send_signal(signal.SIGKILL)
    store = FrameStore(folder)
    assert len(store) % 4096 == 0 and len(store) >= appended // 4 * 4096 - 4096 and not store.dataset.complete
    assert np.array_equal(store.frames_NHW[1500], frame(1, 476))
    with FrameWriter(folder, ABOUT, resume=True) as writer:
        writer.append(**episode(1000, 10))
    assert len(FrameStore(folder)) == writer.rows == len(store) + 10
    assert [path for path in folder.iterdir() if path.name.endswith(".tmp")] == []


def test_an_error_in_the_writers_block_leaves_complete_files_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(ZeroDivisionError), FrameWriter(folder, ABOUT, rows_per_file=4096) as writer:
        writer.append(**episode(0, 5000))
        raise ZeroDivisionError
    assert len(FrameStore(folder)) == 4096
    assert sorted(path.name for path in folder.iterdir()) == [DATASET, "frames-00000.parquet"]


def damages(path: Path):
    raw = path.read_bytes()
    draw = np.random.default_rng(0)
    for size in (0, 1, len(raw) // 2, len(raw) - 1):
        yield f"cut to {size}", raw[:size]
    yield "longer", raw + b"x"
    yield "zeros", bytes(len(raw))
    for place in draw.integers(0, len(raw) * 8, 60):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << (place % 8)
        yield f"bit {place}", bytes(flipped)


@pytest.mark.parametrize("name", ["frames-00000.parquet", "frames-00001.parquet", DATASET])
def test_every_damage_is_found_and_named(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "data", episode(0, 100))
    path = folder / name
    whole = path.read_bytes()
    for what, raw in damages(path):
        path.write_bytes(raw)
        with pytest.raises(BadData, match=name):
            FrameStore(folder)
            pytest.fail(what)
    path.unlink()
    with pytest.raises(BadData, match=name):
        FrameStore(folder)
    path.write_bytes(whole)
    assert len(FrameStore(folder)) == 100


def test_files_of_other_data_are_refused(tmp_path: Path) -> None:
    one, other = (
        write(tmp_path / "one", episode(0, 64)),
        write(tmp_path / "two", episode(0, 64), episode(1, 64)),
    )
    (one / "frames-00000.parquet").write_bytes((other / "frames-00001.parquet").read_bytes())
    with pytest.raises(BadData, match="frames-00000"):
        FrameStore(one)


@pytest.mark.parametrize(
    "name", ["../frames-00000.parquet", "/etc/passwd", "frames-00000.parquet\n", "x.parquet"]
)
def test_a_list_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    write_dataset(tmp_path, Dataset(ABOUT, files=[FileEntry(name, 1, 1, "0" * 64)]))
    with pytest.raises(BadData, match="no writer made"):
        read_dataset(tmp_path)


def test_parquet_of_other_columns_is_refused_even_when_it_is_sealed(tmp_path: Path) -> None:
    import pyarrow as pa

    from rllib_ext.frames.layout import sha256_of

    path = tmp_path / "frames-00000.parquet"
    pq.write_table(pa.table({"frame": [b"x"], "action": [0]}), path)
    write_dataset(
        tmp_path, Dataset(ABOUT, files=[FileEntry(path.name, 1, path.stat().st_size, sha256_of(path))])
    )
    with pytest.raises(BadData, match=r"frames-00000.*expected"):
        FrameStore(tmp_path)
    path.write_bytes(b"no parquet")
    write_dataset(
        tmp_path, Dataset(ABOUT, files=[FileEntry(path.name, 1, path.stat().st_size, sha256_of(path))])
    )
    with pytest.raises(BadData, match=r"frames-00000.*cannot be read"):
        FrameStore(tmp_path)


@pytest.mark.parametrize(
    ("games", "what"),
    [
        ([episode(0, 64), episode(0, 10)], "two rows for one step"),
        ([episode(0, 64), episode(0, 10, start=64)], "after the game's end"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(tmp_path: Path, games: list, what: str) -> None:
    with pytest.raises(BadData, match=what):
        FrameStore(write(tmp_path / "data", *games))


def test_a_folder_without_data_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="frames collect"):
        FrameStore(tmp_path)
    with FrameWriter(tmp_path / "empty", ABOUT):
        pass
    with pytest.raises(BadData, match="no complete file"):
        FrameStore(tmp_path / "empty")
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / DATASET).write_text(json.dumps({"seal": "x"}))
    with pytest.raises(BadData, match="damaged"):
        FrameStore(tmp_path / "newer")


def test_the_writer_refuses_what_is_no_row(tmp_path: Path) -> None:
    rows = episode(0, 8)
    with pytest.raises(BadConfig, match="multiple"):
        FrameWriter(tmp_path / "data", ABOUT, rows_per_file=100)
    writer = FrameWriter(tmp_path / "data", ABOUT)
    wrong = {
        "frames": {"frames_NHW": rows["frames_NHW"][:, :80]},
        "uint8": {"frames_NHW": rows["frames_NHW"].astype(np.float32)},
        "action": {"action": np.full(8, 300)},
        "life_lost": {"life_lost": np.full(8, 2)},
        "column t": {"t": rows["t"][:7]},
        "finite": {"reward": np.full(8, np.nan)},
        "columns": {"ram": np.zeros((8, 128), np.uint8)},
    }
    for what, change in wrong.items():
        with pytest.raises(BadData, match=what):
            writer.append(**{**rows, **change})
    writer.close()
    with pytest.raises(BadData, match="closed"):
        writer.append(**rows)
    with pytest.raises(BadConfig, match="already"):
        FrameWriter(tmp_path / "data", ABOUT)
    with pytest.raises(BadConfig, match="ram"):
        FrameWriter(tmp_path / "data", ABOUT, ram=True, resume=True)
    (tmp_path / "data" / DATASET).unlink()
    (tmp_path / "data" / "frames-00000.parquet").write_bytes(b"")
    with pytest.raises(BadConfig, match="another folder"):
        FrameWriter(tmp_path / "data", ABOUT)


LIMITED = """
import resource, sys
sys.path.insert(0, {tests!r})
from frames_fixture import ABOUT, episode
from rllib_ext.frames.writer import FrameWriter
from rllib_ext.runtime.storage import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (35_000_000, 35_000_000))
try:
    with FrameWriter({folder!r}, ABOUT, rows_per_file={rows}) as writer:
        for number in range(6):
            writer.append(**episode(number, 2048))
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize(("rows", "left"), [(4096, 12288), (8192, 0)])
def test_a_full_disk_is_an_error_that_leaves_complete_files(tmp_path: Path, rows: int, left: int) -> None:
    """Noise does not compress: 4,096 rows are 29 MB and fit below the limit of a file, 8,192 do not."""
    folder = tmp_path / "data"
    code = LIMITED.format(tests=str(ROOT / "tests"), folder=str(folder), rows=rows)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200, check=True
    )
    assert read_dataset(folder).rows == left
    assert ("limit" in done.stdout) == (left == 0), done.stdout
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
