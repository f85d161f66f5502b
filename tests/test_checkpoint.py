"""The checkpoint format: what goes in comes out, the newest whole one is found, old ones go only when they
may."""

from __future__ import annotations

import json
import math
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rllib_ext.errors import BadConfig, CheckpointCorrupt, RllibExtError, Untrusted
from rllib_ext.runtime import manifest as manifests
from rllib_ext.runtime.checkpoint import NotStorable, UnknownFormat, latest, load, save, verify
from rllib_ext.runtime.tensor_files import DTYPES


def small(value: float = 1.0) -> dict[str, dict[str, torch.Tensor]]:
    return {"policy": {"w": torch.full((3,), value)}}


def put(folder: Path, step: int, **kwargs: int) -> Path:
    return save(folder, step=step, tensors=small(step), state={"cursor": {"step": step}}, **kwargs)


def steps_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "LATEST")


def random_tensor(dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """Random *bytes* of a type, NaN payloads and subnormals among them: a round trip must not touch bits."""
    if dtype is torch.bool:
        return torch.rand(shape) > 0.5
    count = math.prod(shape) * dtype.itemsize
    return torch.randint(0, 256, (count,), dtype=torch.uint8).view(dtype).reshape(shape)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("name", DTYPES)
def test_every_type_comes_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    shapes = {"matrix": (4, 6), "vector": (5,), "scalar": (), "empty": (0, 3)}
    tensors = {key: random_tensor(DTYPES[name], shape) for key, shape in shapes.items()}
    found = load(save(tmp_path, step=1, tensors={"g": tensors, "none": {}}, state={})).tensors
    assert found["none"] == {} and list(found["g"]) == list(tensors)
    for key, tensor in tensors.items():
        assert found["g"][key].dtype == tensor.dtype and found["g"][key].shape == tensor.shape
        assert bits(found["g"][key]) == bits(tensor)


def test_awkward_memory_layouts_come_back_as_values(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    tied = torch.nn.Parameter(torch.randn(3, 2))
    complex_ = torch.randn(3, dtype=torch.complex64)
    tensors = {
        "transposed": base.t(),
        "strided": base[:, ::2],
        "slice": base[1:3],
        "expanded": torch.ones(1, 3).expand(4, 3),
        "whole": base,
        "embed": tied,
        "head": tied,
        "conjugated": complex_.conj(),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    found = load(save(tmp_path, step=1, tensors={"g": tensors}, state={})).tensors["g"]
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert all(found[name].is_contiguous() and not found[name].requires_grad for name in tensors)
    found["embed"].zero_()  # fresh and writable: nothing else changes with it
    assert torch.equal(found["head"], tied) and torch.equal(
        load(tmp_path / "step_000001").tensors["g"]["head"], tied
    )


def test_other_programs_can_read_the_files(tmp_path: Path) -> None:
    path = save(tmp_path, step=7, tensors=small(), state={"cursor": {"row": 3}, "note": "é\ud800"})
    assert torch.equal(load_file(path / "policy.safetensors")["w"], torch.ones(3))
    assert json.loads((path / "cursor.json").read_text()) == {"row": 3}
    assert load(path).state == {"cursor": {"row": 3}, "note": "é\ud800"}
    assert {"manifest.json", "policy.safetensors", "cursor.json", "note.json"} == set(os.listdir(path))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "cursor is nan"),
        ({"a": [1.0, math.inf]}, r"cursor.a\[1\] is inf"),
        ({"a": (1, 2)}, "cursor.a is a tuple"),
        ({1: 2}, "cursor has the key 1"),
        ([torch.ones(1)], r"cursor\[0\] is a torch.Tensor"),
    ],
)
def test_state_that_json_would_change_is_refused_before_anything_is_written(
    tmp_path: Path, value: object, words: str
) -> None:
    with pytest.raises(NotStorable, match=words):
        save(tmp_path / "run", step=1, tensors=small(), state={"cursor": value})
    assert not (tmp_path / "run").exists()


def test_cyclic_state_is_refused(tmp_path: Path) -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(NotStorable, match="cursor"):
        save(tmp_path, step=1, tensors={}, state={"cursor": cycle})


@pytest.mark.parametrize(
    "tensor",
    [torch.eye(2).to_sparse(), torch.empty(2, device="meta"), torch.ones(1, dtype=torch.complex128), [1.0]],
)
def test_tensors_that_the_format_cannot_hold_are_refused_by_name(tmp_path: Path, tensor: object) -> None:
    put(tmp_path, 1)
    with pytest.raises(NotStorable, match="'bad' of group 'g'"):
        save(tmp_path, step=2, tensors={"g": {"bad": tensor}}, state={})  # type: ignore[dict-item]
    assert steps_in(tmp_path) == ["step_000001"]


@pytest.mark.fault("G5")
@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\0", "C:x", "~", "x" * 200])
def test_names_of_groups_and_states_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(Untrusted):
        save(tmp_path, step=1, tensors={name: {}}, state={})
    with pytest.raises(Untrusted):
        save(tmp_path, step=1, tensors={}, state={name: 1})


def test_clashing_names_and_impossible_settings_are_refused(tmp_path: Path) -> None:
    for bad in (
        {"state": {"Manifest": 1}},
        {"state": {"a": 1, "A": 1}},
        {"step": -1},
        {"step": True},
        {"keep": 0},
    ):
        with pytest.raises(BadConfig):
            save(tmp_path, **{"step": 1, "tensors": {}, "state": {}, **bad})  # type: ignore[arg-type]


def test_the_newest_are_kept_and_latest_says_which(tmp_path: Path) -> None:
    assert latest(tmp_path) is None and latest(tmp_path / "absent") is None
    for step in (1, 2, 3):
        put(tmp_path, step, keep=2)
    assert steps_in(tmp_path) == ["step_000002", "step_000003"]
    assert latest(tmp_path) == tmp_path / "step_000003"
    assert (tmp_path / "LATEST").read_text() == "step_000003\n"
    assert verify(tmp_path / "step_000003").parent_step == 2
    put(tmp_path, 4, keep=1)
    assert steps_in(tmp_path) == ["step_000004"]


def test_a_saved_step_is_replaced(tmp_path: Path) -> None:
    put(tmp_path, 1)
    path = save(tmp_path, step=1, tensors=small(9.0), state={})
    assert load(path).tensors["policy"]["w"].tolist() == [9.0] * 3
    assert steps_in(tmp_path) == ["step_000001"]


def test_a_run_that_went_back_resumes_from_where_it_saved_last(tmp_path: Path) -> None:
    for step in (100, 200):
        put(tmp_path, step)
    put(tmp_path, 110, keep=2, parent_step=100)
    assert latest(tmp_path) == tmp_path / "step_000110"
    assert verify(tmp_path / "step_000110").parent_step == 100


def test_latest_falls_back_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, 1)
    (put(tmp_path, 2) / "cursor.json").write_text("{}")
    skipped: list[tuple[Path, RllibExtError]] = []
    assert latest(tmp_path, lambda path, error: skipped.append((path, error))) == tmp_path / "step_000001"
    assert skipped[0][0].name == "step_000002" and "cursor.json" in str(skipped[0][1])
    assert "step_000002" in caplog.text and "cursor.json" in caplog.text


def test_no_silent_start_from_nothing(tmp_path: Path) -> None:
    (put(tmp_path, 1) / "manifest.json").unlink()
    with pytest.raises(CheckpointCorrupt, match=r"none of the 1 checkpoints.*manifest\.json"):
        latest(tmp_path)


def test_a_damaged_checkpoint_does_not_count_as_kept(tmp_path: Path) -> None:
    put(tmp_path, 1)
    (put(tmp_path, 2) / "cursor.json").unlink()
    put(tmp_path, 3, keep=2)
    assert (tmp_path / "step_000001").exists()
    put(tmp_path, 4, keep=2)
    assert steps_in(tmp_path) == ["step_000003", "step_000004"]


@pytest.mark.fault("B1")
def test_leftovers_of_a_kill_are_removed_and_an_aside_copy_is_put_back(tmp_path: Path) -> None:
    mark = "0" * 32
    put(tmp_path, 1)
    os.rename(tmp_path / "step_000001", tmp_path / f"step_000001.old-{mark}")
    (tmp_path / f"step_000002.tmp-{mark}").mkdir()
    (tmp_path / f".LATEST.tmp-{mark}").touch()
    (tmp_path / "notes.txt").touch()
    assert latest(tmp_path) == tmp_path / f"step_000001.old-{mark}"
    put(tmp_path, 3)
    assert steps_in(tmp_path) == ["notes.txt", "step_000001", "step_000003"]


@pytest.mark.fault("B5")
def test_an_unknown_format_names_both_versions_and_stops_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, 1)
    monkeypatch.setattr(manifests, "FORMAT_VERSION", 7)
    put(tmp_path, 2)
    monkeypatch.undo()
    for read in (lambda: load(tmp_path / "step_000002"), lambda: latest(tmp_path)):
        with pytest.raises(UnknownFormat, match="format_version 7, and this package reads 1"):
            read()


def test_a_folder_under_another_checkpoints_name_is_refused(tmp_path: Path) -> None:
    os.rename(put(tmp_path, 1), tmp_path / "step_000005")
    with pytest.raises(CheckpointCorrupt, match="belongs to step 1"):
        load(tmp_path / "step_000005")


@pytest.mark.fault("G1")
def test_nothing_is_pickled_or_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr(torch, "save", forbidden)
    assert load(put(tmp_path, 1)).step == 1
