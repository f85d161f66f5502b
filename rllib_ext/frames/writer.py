"""Writing rows into a folder of frames, so that a kill at any instant leaves every complete file loadable.

Rows are gathered, compressed (zstd, level 3) in row groups of 64 and streamed into a hidden file. When it has its rows it
is flushed to the device, renamed and entered in `_dataset.json`, in that order. Until then nothing refers to it, and the
next writer that goes on in the folder removes it.

Why row groups of 64 and no dictionary: random windows then decompress 64 frames and not thousands (0.7 ms against 2.7 at
1,024), and a dictionary of 7 kB values is only in the way. No column statistics for frames: they would hold two whole
frames a row group.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.frames.layout import (
    DATASET,
    FRAME_BYTES,
    RAM_BYTES,
    ROW_GROUP,
    ROWS_PER_FILE,
    SIZE,
    Dataset,
    FileEntry,
    read_dataset,
    schema,
    sha256_of,
    write_dataset,
)
from rllib_ext.runtime.storage import fsync, storage_errors

FLUSH_ROWS = 64 * ROW_GROUP  # 29 MB of frames are held back at most, plus one call's
SCALARS = {
    "action": np.int8,
    "reward": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "life_lost": np.bool_,
    "episode_id": np.int64,
    "t": np.int32,
}


class FrameWriter:
    """Writes one folder of frames; a context manager that completes the data set where its block ends in order.

    folder          created where missing; must hold no data set unless ``resume``
    about           what the data are (see `layout.Dataset`); on resume it replaces what was there
    rows_per_file   65,536: up to 0.5 GB raw, 1 to 20 MB compressed
    ram             whether rows carry the console's memory
    resume          go on behind the complete files of a folder

    ``rows`` counts what complete files hold; rows of the file that is being written are added when it is complete.
    """

    def __init__(
        self,
        folder: Path | str,
        about: Mapping[str, Any],
        *,
        rows_per_file: int = ROWS_PER_FILE,
        ram: bool = False,
        resume: bool = False,
    ) -> None:
        if rows_per_file < ROW_GROUP or rows_per_file % ROW_GROUP:
            raise BadConfig(
                f"rows_per_file = {rows_per_file} must be a multiple of {ROW_GROUP}, {ROW_GROUP} or more."
            )
        self.folder = Path(folder)
        self._rows_per_file = rows_per_file
        self._dataset = self._begun(dict(about), ram, resume)
        self._pending: dict[str, list[NDArray[Any]]] = {}
        self._pending_rows = 0
        self._stream: Any = None
        self._stream_rows = 0
        self._hidden: Path | None = None
        self._closed = False
        write_dataset(self.folder, self._dataset)

    @property
    def rows(self) -> int:
        return self._dataset.rows

    def append(self, frames_NHW: NDArray[np.uint8], **columns: NDArray[Any]) -> None:
        """Add N rows: frames (N, 84, 84) uint8 and every column of `SCALARS` (N,); ``ram`` (N, 128) uint8 with ram.

        Arrays are copied. Raises BadData where shapes, names or values do not fit the columns.
        """
        if self._closed:
            raise BadData(f"{self.folder}: the writer is closed.")
        rows = self._checked(frames_NHW, columns)
        if not len(rows["frame"]):
            return
        for name, values in rows.items():
            self._pending.setdefault(name, []).append(values)
        self._pending_rows += len(rows["frame"])
        if self._pending_rows >= FLUSH_ROWS:
            self._flush(everything=False)

    def close(self, *, complete: bool = True) -> None:
        """Finish the file that is being written and enter it; ``complete`` says that nothing is missing."""
        if self._closed:
            return
        self._flush(everything=True)
        self._finish_file()
        self._closed = True
        self._dataset.complete = complete
        write_dataset(self.folder, self._dataset)

    def abandon(self) -> None:
        """Drop what is not in a complete file."""
        self._closed = True
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None
        if self._hidden is not None:
            self._hidden.unlink(missing_ok=True)

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _begun(self, about: dict[str, Any], ram: bool, resume: bool) -> Dataset:
        with storage_errors(self.folder, "making the folder"):
            self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / DATASET).exists():
            strangers = sorted(path.name for path in self.folder.glob("frames-*.parquet"))
            if strangers:
                raise BadConfig(f"{self.folder} holds {strangers[0]} and no {DATASET}. Give another folder.")
            return Dataset(about, ram)
        if not resume:
            raise BadConfig(
                f"{self.folder} holds a data set already. Give another folder, or go on with it (resume)."
            )
        found = read_dataset(self.folder)
        if found.ram != ram:
            raise BadConfig(f"{self.folder} was written with ram={found.ram}; go on with the same.")
        kept = {entry.name for entry in found.files}
        for path in (*self.folder.glob(".frames-*"), *self.folder.glob("frames-*.parquet")):
            if path.name not in kept:
                path.unlink()
        return Dataset(about, ram, False, found.files)

    def _checked(
        self, frames_NHW: NDArray[np.uint8], columns: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        frames = np.asarray(frames_NHW)
        count = len(frames)
        if frames.dtype != np.uint8 or frames.shape != (count, SIZE, SIZE):
            raise BadData(
                f"frames of shape {frames.shape} and type {frames.dtype}: expected (N, {SIZE}, {SIZE}) uint8."
            )
        wanted = {*SCALARS, *(["ram"] if self._dataset.ram else [])}
        if set(columns) != wanted:
            raise BadData(f"columns {sorted(columns)} were given; expected {sorted(wanted)}.")
        rows = {"frame": frames.reshape(count, FRAME_BYTES).copy()}
        for name, kind in SCALARS.items():
            given = np.asarray(columns[name])
            values = given.astype(kind)
            exact = kind is np.float32 or np.array_equal(values.astype(given.dtype), given)
            if given.shape != (count,) or not exact:
                raise BadData(
                    f"column {name}: {count} values of {np.dtype(kind)} expected, got {given.dtype} {given.shape}."
                )
            rows[name] = values
        if not np.isfinite(rows["reward"]).all():
            raise BadData("column reward holds values that are no finite numbers.")
        if self._dataset.ram:
            memory = np.asarray(columns["ram"])
            if memory.shape != (count, RAM_BYTES) or memory.dtype != np.uint8:
                raise BadData(
                    f"column ram: expected ({count}, {RAM_BYTES}) uint8, got {memory.dtype} {memory.shape}."
                )
            rows["ram"] = memory.copy()
        return rows

    def _flush(self, everything: bool) -> None:
        """Write pending rows in whole row groups (all of them with ``everything``); open and finish files on the way."""
        if not self._pending_rows:
            return
        columns = {name: np.concatenate(pieces) for name, pieces in self._pending.items()}
        total = self._pending_rows if everything else self._pending_rows // ROW_GROUP * ROW_GROUP
        done = 0
        while done < total:
            count = min(total - done, self._rows_per_file - self._stream_rows)
            self._write({name: values[done : done + count] for name, values in columns.items()})
            done += count
            if self._stream_rows == self._rows_per_file:
                self._finish_file()
        self._pending = {name: [values[total:]] for name, values in columns.items()}
        self._pending_rows -= total

    def _write(self, rows: Mapping[str, NDArray[Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = schema(self._dataset.ram)
        arrays = [_arrow(rows[column.name], column.type) for column in table]
        with storage_errors(self.folder, "writing frames"):
            if self._stream is None:
                self._hidden = self.folder / f".frames-{uuid.uuid4().hex}.tmp"
                self._stream = pq.ParquetWriter(
                    self._hidden,
                    table,
                    compression="zstd",
                    compression_level=3,
                    use_dictionary=False,
                    write_statistics=["episode_id", "t"],
                )
            self._stream.write_table(pa.Table.from_arrays(arrays, schema=table), row_group_size=ROW_GROUP)
        self._stream_rows += len(rows["t"])

    def _finish_file(self) -> None:
        if self._stream is None or self._hidden is None:
            return
        with storage_errors(self.folder, "completing a file of frames"):
            self._stream.close()
            fsync(self._hidden)
            taken = [int(entry.name[7:12]) for entry in self._dataset.files]
            path = self.folder / f"frames-{max(taken, default=-1) + 1:05d}.parquet"
            digest, size = sha256_of(self._hidden), self._hidden.stat().st_size
            os.replace(self._hidden, path)
            fsync(self.folder)
        self._dataset.files.append(FileEntry(path.name, self._stream_rows, size, digest))
        self._stream, self._hidden, self._stream_rows = None, None, 0
        write_dataset(self.folder, self._dataset)


def _arrow(values: NDArray[Any], kind: Any) -> Any:
    """An arrow array of one column; bytes are taken as they lie."""
    import pyarrow as pa

    if values.ndim == 1:
        return pa.array(values, type=kind)
    flat = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, flat])
