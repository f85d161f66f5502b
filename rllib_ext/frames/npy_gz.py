"""Arrays in gzip'd ``.npy`` files, read from front to back: never whole, never past what the header says.

A DQN Replay shard is 7 GB of frames behind 100 MB of gzip. `GzipArray` gives it out in pieces. The header is NumPy's own,
read without pickle; a file that is cut short, longer than its header says, or whose checksum does not fit is refused by
name (gzip checks when the end is reached, so an import is only complete when everything was read).
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rllib_ext.errors import BadData

_BROKEN = (EOFError, OSError, zlib.error)


class GzipArray:
    """One array in a ``.gz`` of a ``.npy``, as a stream along its first axis.

    ``shape`` and ``dtype`` come from the header. `read` gives the next rows; `finish` makes sure that nothing follows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._stream: IO[bytes] = gzip.open(path, "rb")  # noqa: SIM115  (closed by close())
            version = np.lib.format.read_magic(self._stream)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"version {version} of the npy format")
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            self.shape, fortran, self.dtype = read(self._stream)
        except _BROKEN as error:
            raise BadData(
                f"{path} is no gzip'd .npy file, or is damaged: {error}. Download it again."
            ) from error
        except ValueError as error:
            raise BadData(f"{path} has no readable .npy header: {error}. Download it again.") from error
        if fortran or self.dtype.hasobject or not self.shape:
            raise BadData(
                f"{path} holds {self.dtype} of shape {self.shape}; expected plain numbers, row by row."
            )

    def __len__(self) -> int:
        return int(self.shape[0])

    def read(self, count: int) -> NDArray[Any]:
        """The next ``count`` rows, which the header promises."""
        row = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        raw = self._bytes(count * row)
        if len(raw) != count * row:
            raise BadData(
                f"{self.path} is cut short: its header says {self.shape}, and it ends before. Download it again."
            )
        return np.frombuffer(raw, self.dtype).reshape(count, *self.shape[1:])

    def finish(self) -> None:
        """Raise BadData if more follows than the header says, or if gzip's checksum does not fit."""
        if self._bytes(1):
            raise BadData(f"{self.path} is longer than its header says: {self.shape}. Download it again.")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _bytes(self, count: int) -> bytes:
        try:
            return self._stream.read(count)
        except _BROKEN as error:
            raise BadData(f"{self.path} is damaged or cut short: {error}. Download it again.") from error
