"""Checkpoints that somebody made on purpose (reliability.md G1, G3, G5): nothing runs, nothing leaves the
folder.

The attacker can write the folder, so the manifest fits the files wherever that helps them.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import random
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_fixture import reseal, safetensors_bytes, small_checkpoint, write_manifest

from rllib_ext.errors import CheckpointCorrupt, RllibExtError, Untrusted
from rllib_ext.runtime import manifest as manifests
from rllib_ext.runtime.checkpoint import latest, load, verify
from rllib_ext.runtime.manifest import FileRecord
from rllib_ext.runtime.tensor_files import MAX_TENSORS


class Payload:
    """Unpickled, it creates a file: the marker that something ran."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def payloads(marker: Path) -> dict[str, bytes]:
    """Pickles of every protocol, torch files of both kinds, and zips in zips."""
    made = {f"protocol{n}": pickle.dumps(Payload(marker), protocol=n) for n in range(6)}
    for kind, zip_format in (("torch_zip", True), ("torch_legacy", False)):
        buffer = io.BytesIO()
        torch.save({"w": Payload(marker)}, buffer, _use_new_zipfile_serialization=zip_format)
        made[kind] = buffer.getvalue()
    made["zip_in_zip"] = zipped("archive/data.pkl", zipped("data.pkl", made["protocol2"]))
    made["behind_header"] = safetensors_bytes(b"{}      ", made["protocol4"])
    return made


@pytest.mark.fault("G1", tries=120)
def test_pickle_payloads_are_never_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    pickle.loads(pickle.dumps(Payload(marker)))
    marker.rmdir()  # the payload works; from here on it must not
    count = 0
    names = [
        "weights.pkl",
        "model.pt",
        "policy.safetensors",
        "cursor.json",
        "manifest.json",
        "extra.safetensors",
    ]
    for kind, data in payloads(marker).items():
        for name in names:
            path = small_checkpoint(tmp_path / f"{kind}-{name}", 1)
            (path / name).write_bytes(data)
            for sealed in (False, True):
                if sealed and name != "manifest.json":
                    reseal(path, extra={})
                for read in (load, verify):
                    with pytest.raises((CheckpointCorrupt, Untrusted)):
                        read(path)
                count += 1
            (path.parent / "LATEST").write_bytes(data)
            with pytest.raises(CheckpointCorrupt):
                latest(path.parent)
    assert count == 120 and not marker.exists()


def entry(shape: object, offsets: object, dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HEADERS: dict[str, object] = {
    "overlap": {"a": entry([4], [0, 16]), "b": entry([4], [8, 24])},
    "same span twice": {"a": entry([6], [0, 24]), "b": entry([6], [0, 24])},
    "gap": {"a": entry([2], [0, 8]), "b": entry([2], [16, 24])},
    "unused tail": {"a": entry([2], [0, 8])},
    "past the end": {"a": entry([60], [0, 240])},
    "backwards": {"a": entry([6], [24, 0])},
    "negative": {"a": entry([6], [-24, 0])},
    "negative shape": {"a": entry([-2, -3], [0, 24])},
    "shape overflow": {"a": entry([2**32, 2**32, 2**32], [0, 24])},
    "overflow hidden by zero": {"a": entry([6], [0, 24]), "b": entry([2**62, 2**62, 0], [24, 24])},
    "huge dimension": {"a": entry([2**70], [0, 24])},
    "too many dimensions": {"a": entry([1] * 1000 + [6], [0, 24])},
    "fractional": {"a": entry([6.0], [0, 24])},
    "boolean": {"a": entry([6, True], [0, 24])},
    "text shape": {"a": entry("6", [0, 24])},
    "no shape": {"a": {"dtype": "F32", "data_offsets": [0, 24]}},
    "more fields": {"a": {**entry([6], [0, 24]), "code": "x"}},
    "three offsets": {"a": entry([6], [0, 12, 24])},
    "wrong type size": {"a": entry([6], [0, 24], "F64")},
    "unknown type": {"a": entry([6], [0, 24], "OBJECT")},
    "type is a list": {"a": entry([6], [0, 24], ["F32"])},
    "entry is a list": {"a": [1, 2]},
    "metadata is a list": {"__metadata__": [], "a": entry([6], [0, 24])},
    "metadata of numbers": {"__metadata__": {"a": 1}, "a": entry([6], [0, 24])},
    "top is a list": [1],
    "other shape than sealed": {"w": entry([6], [0, 24]), "b": entry([0], [24, 24])},
}
RAW_HEADERS: dict[str, tuple[bytes, int | None]] = {
    "length beyond the file": (b"{}", 10**6),
    "length of a gigabyte": (b"{}", 10**9),
    "length of 2**64 - 1": (b"{}", 2**64 - 1),
    "not UTF-8": (b'{"\xff": 1}', None),
    "key twice": (b'{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},"a":{}}', None),
    "NaN": (b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,24]}}', None),
    "digits without end": (
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 10**5 + b'],"data_offsets":[0,24]}}',
        None,
    ),
    "deep nesting": (b'{"a":' + b"[" * 50_000, None),
    "empty": (b"", None),
    "white space": (b" " * 1000, None),
}


def hostile_file(path: Path, data: bytes, claimed: dict[str, str]) -> None:
    (path / "policy.safetensors").write_bytes(data)
    reseal(path, policy=claimed)


def refused(path: Path) -> str:
    for read in (verify, load):
        with pytest.raises(CheckpointCorrupt, match=r"policy\.safetensors") as caught:
            read(path)
    return str(caught.value)


def claims(header: Any) -> dict[str, str]:
    """The specs of a manifest that agrees with a hostile header: the header itself has to be refused."""
    if not isinstance(header, dict):
        return {}
    entries = {
        name: item for name, item in header.items() if name != "__metadata__" and isinstance(item, dict)
    }
    shapes = {name: ",".join(map(str, item.get("shape", []))) for name, item in entries.items()}
    return {name: f"{item['dtype']}[{shapes[name]}]" for name, item in entries.items()}


@pytest.mark.fault("G3", tries=36)
def test_hostile_headers_are_refused(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path, 1)
    claimed = manifests.read(path).files["policy.safetensors"].tensors or {}
    for name, header in HEADERS.items():
        said = claimed if name == "other shape than sealed" else claims(header)
        hostile_file(path, safetensors_bytes(json.dumps(header).encode(), bytes(24)), said)
        assert len(refused(path)) < 1000, name
    for name, (raw, length) in RAW_HEADERS.items():
        hostile_file(path, safetensors_bytes(raw, bytes(24), length), claimed)
        assert len(refused(path)) < 1000, name


@pytest.mark.fault("G3", tries=200)
def test_200_mutated_headers_are_refused_or_mean_what_the_manifest_says(tmp_path: Path) -> None:
    """Random edits of a valid header under a fitting hash: refused, or exactly the sealed tensors."""
    path = small_checkpoint(tmp_path, 1)
    claimed = manifests.read(path).files["policy.safetensors"].tensors or {}
    whole = (path / "policy.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    draw = random.Random(0)
    refusals = 0
    for _ in range(200):
        header = bytearray(whole[8 : 8 + length])
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(header))
            header[at : at + draw.randint(0, 2)] = draw.choice(
                [b"9", b"0", b"[", b"]", b"{", b",", b"-", b'"', b"F"]
            )
        hostile_file(path, safetensors_bytes(bytes(header), whole[8 + length :]), claimed)
        try:
            verify(path)
            found = load(path).tensors["policy"]
        except CheckpointCorrupt:
            refusals += 1
        else:
            assert found["w"].shape == (3, 4) and found["b"].dtype == torch.bfloat16
    assert refusals > 150


@pytest.mark.fault("G3", tries=3)
def test_bombs_cost_little_memory(tmp_path: Path) -> None:
    """A header of a gigabyte (sparse on disk), 10^5 tensors, a million empty lists: refused under 200 MB."""
    path = small_checkpoint(tmp_path, 1)
    file = path / "policy.safetensors"
    many = {f"t{n}": entry([0], [0, 0]) for n in range(10**5)}
    bombs = [
        safetensors_bytes(json.dumps(many).encode()),
        safetensors_bytes(b'{"a":[' + b"[]," * 10**6 + b"[]]}"),
    ]
    assert len(many) > MAX_TENSORS
    tracemalloc.start()
    try:
        for bomb in bombs:
            hostile_file(path, bomb, {})
            refused(path)
        with open(file, "wb") as stream:
            stream.write(safetensors_bytes(b"{", length=10**9))
            stream.truncate(10**9 + 8)
        record = manifests.read(path)
        fake = FileRecord(10**9 + 8, "0" * 64, {})
        write_manifest(path, dataclasses.replace(record, files={**record.files, file.name: fake}))
        with pytest.raises(CheckpointCorrupt, match=r"policy\.safetensors.*above the limit"):
            verify(path)
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.fault("G5")
@pytest.mark.parametrize(
    "name",
    [
        "../step_000002/cursor.json",
        "/etc/hostname.json",
        "a/../../x.json",
        "..",
        "a\\b.json",
        "~x.json",
        ".json",
    ],
)
def test_a_manifest_cannot_name_a_file_elsewhere(tmp_path: Path, name: str) -> None:
    path = small_checkpoint(tmp_path, 1)
    record = manifests.read(path)
    write_manifest(
        path, dataclasses.replace(record, files={**record.files, name: record.files["cursor.json"]})
    )
    with pytest.raises(Untrusted, match="not a plain name"):
        load(path)


@pytest.mark.fault("G5")
@pytest.mark.parametrize("name", ["cursor.json", "policy.safetensors", "manifest.json"])
def test_links_are_not_followed(tmp_path: Path, name: str) -> None:
    path = small_checkpoint(tmp_path, 1)
    os.rename(path / name, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path / name)
    for read in (load, verify):
        with pytest.raises(Untrusted, match=f"{name}' in checkpoint .* is a link"):
            read(path)
    os.symlink(small_checkpoint(tmp_path / "other", 2), tmp_path / "step_000009")
    skipped: list[RllibExtError] = []
    with pytest.raises(CheckpointCorrupt, match="none of the 2"):
        latest(tmp_path, lambda _, error: skipped.append(error))
    assert all(isinstance(error, Untrusted) for error in skipped)
