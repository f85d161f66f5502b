"""Opening a folder of frames: nothing is read from it that is not what the writer wrote, and games come out in order.

Sizes and SHA-256 of every file are compared with `_dataset.json`, the columns with `layout.schema`, the rows with one
another. Then the small columns are in memory, ordered by game and step whatever order the files have. Frames follow on
first use: decoded once into memory where they fit, else into a uint8 array on disk (7 kB a frame) that is mapped and
found again next time. Parquet is what is kept and sent around; training reads the decoded array.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadData
from rllib_ext.frames.layout import FRAME_BYTES, RAM_BYTES, SIZE, Dataset, read_dataset, schema, sha256_of
from rllib_ext.frames.writer import SCALARS
from rllib_ext.runtime.storage import fsync, storage_errors

IN_MEMORY_BYTES = 2**30  # 150,000 frames
DECODED_AT_ONCE = 4096
SPOT_CHECKS = 8


@dataclass(frozen=True)
class Rows:
    """The small columns of N rows, ordered by game and step."""

    action_N: NDArray[np.int8]
    reward_N: NDArray[np.float32]
    terminated_N: NDArray[np.bool_]
    truncated_N: NDArray[np.bool_]
    life_lost_N: NDArray[np.bool_]
    episode_id_N: NDArray[np.int64]
    t_N: NDArray[np.int32]


class FrameStore:
    """An opened folder of frames, read only.

    folder           with a ``_dataset.json``
    cache            folder for decoded frames that do not fit ``in_memory_bytes``; default: ``.cache`` in `folder`
    in_memory_bytes  decoded frames up to this size are kept in memory, 1 GB
    verify           compare every file's SHA-256 (about 1 s for 1 GB); sizes and columns are always compared

    Raises BadData that names the file: missing, cut short, changed, of other columns, rows twice or after a game's end.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        cache: Path | str | None = None,
        in_memory_bytes: int = IN_MEMORY_BYTES,
        verify: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.dataset: Dataset = read_dataset(self.folder)
        if not self.dataset.rows:
            raise BadData(f"{self.folder} holds no complete file yet: nothing to read.")
        self._cache = Path(cache) if cache is not None else self.folder / ".cache"
        self._own_cache = cache is None
        self._in_memory_bytes = in_memory_bytes
        for entry in self.dataset.files:
            self._check_file(entry.name, entry.bytes, entry.sha256 if verify else None)
        columns = self._columns()
        self._order_N = np.lexsort((columns["t"], columns["episode_id"]))
        self.rows = Rows(**{f"{name}_N": values[self._order_N] for name, values in columns.items()})
        self._check_rows()

    def __len__(self) -> int:
        return self.dataset.rows

    @property
    def about(self) -> dict[str, Any]:
        """Game, flags, behaviour and provenance, as they were written."""
        return self.dataset.about

    @cached_property
    def frames_NHW(self) -> NDArray[np.uint8]:
        """(N, 84, 84) uint8 in the order of `rows`: an array in memory, or a mapped one; not to be written to."""
        if len(self) * FRAME_BYTES <= self._in_memory_bytes:
            frames_NX = np.empty((len(self), FRAME_BYTES), np.uint8)
            self._decode(frames_NX)
        else:
            frames_NX = self._mapped()
        frames_NX.flags.writeable = False
        return frames_NX.reshape(len(self), SIZE, SIZE)

    @cached_property
    def ram_NX(self) -> NDArray[np.uint8] | None:
        """(N, 128) uint8: the console's memory at each frame, or None where it was not recorded."""
        if not self.dataset.ram:
            return None
        ram_NX = np.empty((len(self), RAM_BYTES), np.uint8)
        for places, block in self._blocks("ram", RAM_BYTES):
            ram_NX[places] = block
        return ram_NX

    def _check_file(self, name: str, size: int, digest: str | None) -> None:
        path = self.folder / name
        advice = "Restore it from a copy or make the data again."
        if path.is_symlink() or not path.is_file():
            raise BadData(f"{path} is missing (or no plain file). {advice}")
        found = path.stat().st_size
        if found != size:
            raise BadData(f"{path} has {found} bytes and not {size}: it was cut short or changed. {advice}")
        if digest is not None and sha256_of(path) != digest:
            raise BadData(f"{path} is damaged: its SHA-256 is not the one that was written. {advice}")

    def _columns(self) -> dict[str, NDArray[Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        wanted, pieces = schema(self.dataset.ram), []
        for entry in self.dataset.files:
            path = self.folder / entry.name
            try:
                with pq.ParquetFile(path) as file:
                    if not file.schema_arrow.equals(wanted) or file.metadata.num_rows != entry.rows:
                        raise BadData(
                            f"{path} holds {file.metadata.num_rows} rows of {file.schema_arrow.names}; expected "
                            f"{entry.rows} of {wanted.names}."
                        )
                    pieces.append(file.read(columns=list(SCALARS)))
            except (pa.ArrowException, OSError) as error:
                raise BadData(f"{path} cannot be read as parquet: {error}.") from error
        table = pa.concat_tables(pieces)
        return {name: table[name].to_numpy().astype(kind, copy=False) for name, kind in SCALARS.items()}

    def _check_rows(self) -> None:
        rows = self.rows
        same = np.diff(rows.episode_id_N) == 0
        steps = np.diff(rows.t_N)
        ended = rows.terminated_N | rows.truncated_N
        found = {
            "two rows for one step": same & (steps == 0),
            "rows after the game's end": same & ended[:-1],
        }
        for what, where in found.items():
            if where.any():
                row = int(np.argmax(where)) + 1
                raise BadData(
                    f"{self.folder} holds {what}: game {rows.episode_id_N[row]}, step {rows.t_N[row]}. The files do not "
                    "belong together; make the data again."
                )
        if (rows.t_N < 0).any():
            raise BadData(f"{self.folder} holds negative steps. Make the data again.")

    def _blocks(self, column: str, width: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """(places in the order of `rows`, values (n, width)) of one column of bytes, file by file."""
        import pyarrow.parquet as pq

        place_N = np.empty(len(self), np.int64)
        place_N[self._order_N] = np.arange(len(self))
        row = 0
        for entry in self.dataset.files:
            with pq.ParquetFile(self.folder / entry.name) as file:
                for batch in file.iter_batches(DECODED_AT_ONCE, columns=[column]):
                    values = batch.column(0)
                    raw = np.frombuffer(
                        values.buffers()[1], np.uint8, len(values) * width, values.offset * width
                    )
                    yield place_N[row : row + len(values)], raw.reshape(-1, width)
                    row += len(values)

    def _decode(self, frames_NX: NDArray[np.uint8]) -> None:
        for places, block in self._blocks("frame", FRAME_BYTES):
            frames_NX[places] = block

    def _mapped(self) -> NDArray[np.uint8]:
        """The decoded frames as a mapped file, built where it is not there yet. Its name holds the data's digest."""
        path = self._cache / f"frames-{self.dataset.digest[:32]}.npy"
        if not path.exists():
            self._build(path)
        shape = (len(self), FRAME_BYTES)
        try:
            frames_NX = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BadData(f"{path} is damaged ({error}). Delete it: it is decoded again.") from error
        if frames_NX.shape != shape or frames_NX.dtype != np.uint8 or not self._spots_agree(frames_NX):
            raise BadData(f"{path} is not what the parquet files hold. Delete it: it is decoded again.")
        return np.asarray(frames_NX)

    def _build(self, path: Path) -> None:
        hidden = path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex}")
        with storage_errors(self._cache, "decoding frames for training"):
            self._cache.mkdir(parents=True, exist_ok=True)
            try:
                mapped = np.lib.format.open_memmap(hidden, "w+", np.uint8, (len(self), FRAME_BYTES))
                with open(
                    hidden, "r+b"
                ) as stream:  # a full disk is an error here and a crash when it is mapped
                    os.posix_fallocate(stream.fileno(), 0, hidden.stat().st_size)
                self._decode(mapped)
                mapped.flush()
                fsync(hidden)
                os.replace(hidden, path)
                fsync(self._cache)
            finally:
                hidden.unlink(missing_ok=True)
            if self._own_cache:  # of an earlier state of the same folder
                for old in self._cache.glob("frames-*.npy"):
                    if old != path:
                        old.unlink()

    def _spots_agree(self, frames_NX: NDArray[np.uint8]) -> bool:
        """A few random row groups of the files against the decoded frames."""
        import pyarrow.parquet as pq

        place_N = np.empty(len(self), np.int64)
        place_N[self._order_N] = np.arange(len(self))
        starts = np.cumsum([0, *(entry.rows for entry in self.dataset.files)])
        draw = np.random.default_rng()
        for _ in range(SPOT_CHECKS):
            which = int(draw.integers(len(self.dataset.files)))
            with pq.ParquetFile(self.folder / self.dataset.files[which].name) as file:
                group = int(draw.integers(file.num_row_groups))
                before = sum(file.metadata.row_group(index).num_rows for index in range(group))
                values = file.read_row_group(group, columns=["frame"]).column(0).to_pylist()
            places = place_N[starts[which] + before : starts[which] + before + len(values)]
            if frames_NX[places].tobytes() != b"".join(values):
                return False
        return True
