"""What a folder of frames consists of: columns, files, and the sealed `_dataset.json` that says which files belong to it.

One row is one agent step: the frame that the agent saw, what it did, what came of it.

| column | type | meaning |
|---|---|---|
| frame | fixed_size_binary(7056) | 84 x 84 gray, row by row; the newest frame, without stack |
| action | int8 | taken at this frame |
| reward | float32 | points of the step, not clipped |
| terminated | bool | the game ended with this step by its rules |
| truncated | bool | the game was cut off after this step |
| life_lost | bool | a life was lost in this step and the game went on |
| episode_id | int64 | one game |
| t | int32 | step within the game, from 0 |
| ram | fixed_size_binary(128) | optional: the console's memory at this frame |

The frame after the last step of a game is not stored: ALE does not draw it. Rows of a game need not be adjacent in the
files (several games are recorded at once); `store` orders them. A game whose rows begin at t > 0 has lost its beginning,
one without a terminated or truncated last row its end; both are usable as far as they go.

`_dataset.json` lists every complete file with rows, bytes and SHA-256 and holds what the data are (game, flags,
behaviour, provenance). It is replaced in one step whenever a file is complete, so a killed writer leaves a smaller data
set and no broken one. It is sealed with the SHA-256 of its own content: that finds damage, it is no signature. The
leading underscore makes pyarrow, Ray Data and Spark pass over it when they read the folder as parquet.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rllib_ext.errors import BadData
from rllib_ext.runtime.json_values import decode, encode
from rllib_ext.runtime.storage import replace, storage_errors

SIZE = 84
FRAME_BYTES = SIZE * SIZE
RAM_BYTES = 128
ROW_GROUP = 64
ROWS_PER_FILE = 65_536
DATASET = "_dataset.json"
FORMAT, FORMAT_VERSION = "rllib-ext frames", 1
MAX_DATASET_BYTES = 16 * 2**20
FILE_NAME = re.compile(r"frames-\d{5}\.parquet")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """One complete parquet file."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass
class Dataset:
    """What `_dataset.json` holds.

    about      game, flags, behaviour, seeds, action meanings, provenance: plain values
    ram        whether there is a column ``ram``
    complete   the writer was closed in order; False of one that was killed or stopped
    files      in the order in which they were written
    """

    about: dict[str, Any]
    ram: bool = False
    complete: bool = False
    files: list[FileEntry] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(entry.rows for entry in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 over the files' own: the same rows in the same files."""
        return hashlib.sha256("".join(entry.sha256 for entry in self.files).encode()).hexdigest()


def schema(ram: bool) -> Any:
    """The arrow schema of the files."""
    import pyarrow as pa

    columns = [
        pa.field("frame", pa.binary(FRAME_BYTES), nullable=False),
        pa.field("action", pa.int8(), nullable=False),
        pa.field("reward", pa.float32(), nullable=False),
        pa.field("terminated", pa.bool_(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("life_lost", pa.bool_(), nullable=False),
        pa.field("episode_id", pa.int64(), nullable=False),
        pa.field("t", pa.int32(), nullable=False),
    ]
    return pa.schema(columns + [pa.field("ram", pa.binary(RAM_BYTES), nullable=False)] * ram)


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Replace ``_dataset.json`` in one step."""
    document = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(dataset)}
    with storage_errors(folder, "writing the list of its files"):
        replace(folder / DATASET, _sealed(document))


def read_dataset(folder: Path) -> Dataset:
    """``_dataset.json`` of a folder, checked. Raises BadData that names the file and what is wrong with it."""
    path = folder / DATASET
    try:
        if path.stat().st_size > MAX_DATASET_BYTES:
            raise BadData(f"{path} has {path.stat().st_size} bytes; no list of frame files is that long.")
        raw = path.read_bytes()
    except OSError as error:
        raise BadData(
            f"{folder} is no folder of frames: {DATASET} cannot be read ({error.strerror}). Make one with "
            "`rllib-ext frames collect` or `rllib-ext frames import`."
        ) from error
    try:
        document = decode(raw)
        seal = document.pop("seal")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadData(
            f"{path} is damaged ({error}). Restore it from a copy or make the data again."
        ) from error
    if _sealed(document) != raw or not isinstance(seal, str):
        raise BadData(
            f"{path} is damaged: its seal does not fit. Restore it from a copy or make the data again."
        )
    if (document.get("format"), document.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise BadData(
            f"{path} is of format {document.get('format')!r}, version {document.get('format_version')!r}; this is "
            f"{FORMAT!r}, version {FORMAT_VERSION}. Use the version of rllib-ext that wrote it."
        )
    return _dataset(path, document)


def _dataset(path: Path, document: Mapping[str, Any]) -> Dataset:
    try:
        files = [FileEntry(**entry) for entry in document["files"]]
        dataset = Dataset(dict(document["about"]), document["ram"], document["complete"], files)
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(f"{path} lacks a field or has one too many: {error}.") from error
    names = [entry.name for entry in files]
    wrong = [entry.name for entry in files if not _plausible(entry)]
    if wrong or len(set(names)) != len(names):
        raise BadData(f"{path} lists files that no writer made: {(wrong or names)[:3]!r}.")
    return dataset


def _plausible(entry: FileEntry) -> bool:
    counts = all(type(value) is int and value > 0 for value in (entry.rows, entry.bytes))
    texts = isinstance(entry.name, str) and isinstance(entry.sha256, str)
    return counts and texts and bool(FILE_NAME.fullmatch(entry.name) and _SHA256.fullmatch(entry.sha256))


def _sealed(document: Mapping[str, Any]) -> bytes:
    plain = encode(dict(document), DATASET)
    seal = hashlib.sha256(plain).hexdigest()
    return json.dumps({**document, "seal": seal}, indent=1, allow_nan=False).encode("ascii") + b"\n"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
