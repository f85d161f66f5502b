"""The folder of a run: what is in it, how it is written so that it survives a crash, and how it is read.

::

    run.json, config.json                           written whole, by temporary file and rename
    result.json, events.jsonl, timeline.jsonl, ...  one JSON line a record
    checkpoints/step_000120/, report/

A record is one ``write`` of one line to a file opened for appending, so a kill leaves at most one torn line,
at the end. The next writer repairs that end before it appends; readers skip it. Anything else that is not
JSON is damage and raises ``BadData`` with the line number.

Records are for people and plots, not for resuming: numpy and torch scalars become numbers, tuples become
lists, and a number that is not finite becomes ``null``, JSON's only word for "no value". Lines are not
fsynced; a power cut may cost the last seconds of a log, never a checkpoint. One process writes a file.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_ext.errors import BadData
from rllib_ext.runtime.containment import contained
from rllib_ext.runtime.run_lock import RunLock
from rllib_ext.runtime.storage import fsync, replace, storage_errors

logger = logging.getLogger(__name__)


class RunFolder:
    """Creates the layout; as a context manager it also holds the run's lock until the end of the block.

    Opening a folder takes no lock: a report can be made while the run goes on. Safe to use from threads.
    """

    def __init__(self, path: Path | str, *, heartbeat_s: float = 10.0) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.report = self.path / "report"
        with storage_errors(self.path, "creating the run folder"):
            for folder in (self.path, self.checkpoints, self.report):
                folder.mkdir(parents=True, exist_ok=True)
            fsync(self.path)
        self._lock = RunLock(self.path, heartbeat_s=heartbeat_s)
        self._mutex = threading.Lock()
        self._streams: dict[Path, int] = {}

    def file(self, name: str) -> Path:
        """The path of ``name`` in this folder; ``Untrusted`` if it would lie anywhere else."""
        return contained(self.path, name, "run file")

    def append_jsonl(self, name: str, record: Mapping[str, Any]) -> None:
        """Appends one record to ``name`` (``"events"`` and ``"events.jsonl"`` are the same file)."""
        path = self._file(name, ".jsonl", ".json")
        line = _text(record, f"record for {name}").encode("ascii") + b"\n"
        with self._mutex, storage_errors(path, "appending a record"):
            self._lock.check()
            if path not in self._streams:
                self._streams[path] = _open_repaired(path)
            written = os.write(self._streams[path], line)
            if written < len(line):
                os.close(self._streams.pop(path))
                raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes were written")

    def write_json(self, name: str, value: Any) -> Path:
        """Gives ``name`` the JSON of ``value`` in one step, and flushes it."""
        path = self._file(name, ".json")
        text = _text(value, name, indent=1)
        with self._mutex, storage_errors(path, f"writing {path.name}"):
            self._lock.check()
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, text.encode("ascii") + b"\n")
        return path

    def read_json(self, name: str) -> Any:
        """The value of a whole-file JSON; ``BadData`` where it is absent or broken."""
        return read_json(self._file(name, ".json"))

    def read_jsonl(self, name: str) -> list[dict[str, Any]]:
        """The records of ``name``; none where it was never written."""
        return read_jsonl(self._file(name, ".jsonl", ".json"))

    def lock(self) -> RunFolder:
        """Makes this process the run's only writer, or raises ``RunLocked`` naming the other one."""
        self._lock.acquire()
        return self

    def _file(self, name: str, *suffixes: str) -> Path:
        path = self.file(name)
        return path if path.suffix in suffixes else self.file(name + suffixes[0])

    def close(self) -> None:
        """Closes the files and gives the lock back; harmless when repeated."""
        with self._mutex:
            while self._streams:
                os.close(self._streams.popitem()[1])
        self._lock.release()

    def __enter__(self) -> RunFolder:
        return self.lock()

    def __exit__(self, *_: object) -> None:
        self.close()


def read_jsonl(path: Path | str) -> list[dict[str, Any]]:
    """The records of a JSON-lines file, in order; an absent file has none (a run without events writes no
    events).

    A last line without its newline is one that was being written: it is skipped unless it is already whole.
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    lines = raw.split(b"\n")
    tail = lines.pop()
    if tail and _record(tail) is not None:
        lines.append(tail)
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _record(line)
        if record is None:
            raise BadData(
                f"{path}, line {number}: not a JSON object. Remove the line, or read a copy of the file."
            )
        records.append(record)
    return records


def read_json(path: Path | str) -> Any:
    """The value of a JSON file; ``BadData`` names the file that is absent or broken."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadData(f"{path} cannot be read as JSON: {error}. Is this the folder of a run?") from error


def _open_repaired(path: Path) -> int:
    """A descriptor for appending, after the file's torn last line (if any) is completed or cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        end = begin = os.fstat(handle).st_size
        tail = b""
        while begin and b"\n" not in tail:
            begin = max(0, begin - 65536)
            tail = os.pread(handle, end - begin, begin)
        torn = tail[tail.rfind(b"\n") + 1 :]
        if torn and _record(torn) is not None:
            os.write(handle, b"\n")
        elif torn:
            logger.warning("%s ended in a torn line of %d bytes; it was cut off", path, len(torn))
            os.ftruncate(handle, end - len(torn))
    except OSError:
        os.close(handle)
        raise
    return handle


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(value: Any, where: str, indent: int | None = None) -> str:
    try:
        return json.dumps(_plain(value), allow_nan=False, indent=indent)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadData(
            f"{where} cannot be written as JSON: {error}. Use numbers, strings, lists and dicts."
        ) from error


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is not a JSON value")
