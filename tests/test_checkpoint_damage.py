"""Every way of damaging a checkpoint's bytes is noticed, and the file is named (reliability.md B3, B4)."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkpoint_fixture import small_checkpoint

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime.checkpoint import latest, load, verify

FILES = ("cursor.json", "rng.json", "policy.safetensors", "optimizer.safetensors", "manifest.json")


def truncated(path: Path, name: str) -> Iterator[str]:
    data = (path / name).read_bytes()
    for part in range(16):
        (path / name).write_bytes(data[: len(data) * part // 16])
        yield name
    (path / name).write_bytes(data)


def zeroed(path: Path, name: str) -> Iterator[str]:
    data = (path / name).read_bytes()
    (path / name).write_bytes(bytes(len(data)))
    yield name
    (path / name).write_bytes(data)


def deleted(path: Path, name: str) -> Iterator[str]:
    data = (path / name).read_bytes()
    (path / name).unlink()
    yield name
    (path / name).write_bytes(data)


def extended(path: Path, name: str) -> Iterator[str]:
    data = (path / name).read_bytes()
    for tail in (b"\0", b" ", b"\n", data):
        (path / name).write_bytes(data + tail)
        yield name
    (path / name).write_bytes(data)


def swapped(path: Path, name: str) -> Iterator[str]:
    """With a file of the same checkpoint, and with the same file of the previous one."""
    for other in (
        *(path / sibling for sibling in FILES if sibling != name),
        path.parent / "step_000001" / name,
    ):
        shutil.move(path / name, path / "aside")
        shutil.move(other, path / name)
        shutil.move(path / "aside", other)
        yield f"{name} {other.name}"
        shutil.move(path / name, path / "aside")
        shutil.move(other, path / name)
        shutil.move(path / "aside", other)


def unreadable(path: Path, name: str) -> Iterator[str]:
    data = (path / name).read_bytes()
    (path / name).unlink()
    for make in (os.mkdir, os.mkfifo):
        make(path / name)
        yield name
        shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink()
    (path / name).write_bytes(data)


@pytest.mark.fault("B3")
@pytest.mark.parametrize("damage", [truncated, zeroed, deleted, extended, swapped, unreadable])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_found_named_and_passed_over(
    tmp_path: Path, name: str, damage: object, record_property: Callable[[str, object], None]
) -> None:
    small_checkpoint(tmp_path, 1)
    path = small_checkpoint(tmp_path, 2)
    count = 0
    for culprits in damage(path, name):  # type: ignore[operator]
        count += 1
        for read in (load, verify):
            with pytest.raises(CheckpointCorrupt) as caught:
                read(path)
            assert any(culprit in str(caught.value) for culprit in culprits.split()), str(caught.value)
        if damage is swapped and count == len(FILES):
            continue  # here both checkpoints are damaged
        skipped: list[Path] = []
        found = latest(tmp_path, lambda folder, error, skipped=skipped: skipped.append(folder))
        assert found == tmp_path / "step_000001" and skipped == [path]
    assert count == {truncated: 16, extended: 4, swapped: len(FILES), unreadable: 2}.get(damage, 1)
    record_property("tries", count)
    assert load(path).step == 2  # the damage was undone, so it was the damage that was found


@pytest.mark.fault(
    "B3",
)
def test_with_both_checkpoints_damaged_there_is_no_silent_start(tmp_path: Path) -> None:
    small_checkpoint(tmp_path, 1)
    path = small_checkpoint(tmp_path, 2)
    for folder in (path, path.parent / "step_000001"):
        (folder / "rng.json").write_text("[]")
    with pytest.raises(CheckpointCorrupt, match="none of the 2"):
        latest(tmp_path)


@pytest.mark.fault("B3")
def test_an_extra_file_is_found(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path, 1)
    (path / "extra.bin").touch()
    with pytest.raises(CheckpointCorrupt, match=r"extra\.bin: it is not in the manifest"):
        load(path)


@pytest.mark.fault("B4", tries=1000)
def test_a_thousand_single_bit_flips(tmp_path: Path) -> None:
    """Bits are drawn over all files by size: manifest, headers, data and JSON all get their share."""
    path = small_checkpoint(tmp_path, 1)
    contents = {name: (path / name).read_bytes() for name in FILES}
    places = [(name, bit) for name, data in contents.items() for bit in range(8 * len(data))]
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    found, hit = 0, set()
    for name, bit in random.Random(seed).sample(places, 1000):
        damaged = bytearray(contents[name])
        damaged[bit // 8] ^= 1 << bit % 8
        (path / name).write_bytes(damaged)
        with pytest.raises(CheckpointCorrupt, match=name.replace(".", r"\.")):
            load(path)
        (path / name).write_bytes(contents[name])
        found += 1
        hit.add(name)
    assert found == 1000 and hit == set(FILES)
    assert load(path).step == 1
