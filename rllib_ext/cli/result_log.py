"""What every iteration leaves in the run folder: ``result.json``, ``progress.csv`` and TensorBoard's file.

The first two have the form that Tune gives them, written here because Tune's own writers cannot resume: its
CSV keeps the columns of the first row (evaluations come later, and are dropped) and continues a file under a
header that another session wrote. TensorBoard goes through Tune's callback. ``config`` is left out of every
row; ``config.json`` has it once.

A log is not what a run is for: when the disk refuses a row, that is said once and training goes on.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rllib_ext.analysis.rows import flatten
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.storage import replace, storage_errors


class ResultLog:
    """The three files of one run; ``close`` when it ends. ``report(event, detail)`` is told of a refused row."""

    def __init__(self, run: RunFolder, report: Callable[[str, str], None]) -> None:
        self._run, self._report = run, report
        self._table = ProgressTable(run.file("progress.csv"))
        self._board = Board(run.path)
        self._refused = False

    def write(self, result: Mapping[str, Any]) -> None:
        """One iteration."""
        from ray.air._internal.json import SafeFallbackEncoder

        kept = {key: value for key, value in result.items() if key != "config"}
        plain = json.loads(json.dumps(kept, cls=SafeFallbackEncoder))
        try:
            self._run.append_jsonl("result.json", plain)
            self._table.write(flatten(plain))
            self._board.write(kept)
        except OSError as error:
            if not self._refused:
                self._report("result_not_written", f"{error}; further rows may be missing too")
            self._refused = True

    def close(self) -> None:
        self._table.close()
        self._board.close()


class ProgressTable:
    """A CSV that grows by rows, and by columns when a row has new ones: then the file is written anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = []
        self._stream: Any = None
        if path.exists():
            with storage_errors(path, "reading the table"):
                text = path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]  # a row that was being written when the run was killed
            self._columns = next(csv.reader(io.StringIO(whole)), [])
            if whole != text:
                replace(path, whole.encode())

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one flat row."""
        with storage_errors(self._path, "appending a row"):
            new = [name for name in row if name not in self._columns]
            if new or self._stream is None:
                self._open(new)
            csv.DictWriter(self._stream, self._columns, restval="").writerow(row)
            self._stream.flush()

    def _open(self, new: list[str]) -> None:
        self.close()
        if new:
            rows = []
            if self._path.exists():
                with open(self._path, encoding="utf-8", newline="") as stream:
                    rows = list(csv.DictReader(stream))
            self._columns = [*self._columns, *new]
            text = io.StringIO()
            writer = csv.DictWriter(text, self._columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
            replace(self._path, text.getvalue().encode())
        self._stream = open(self._path, "a", encoding="utf-8", newline="")  # noqa: SIM115

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class Board:
    """Tune's TensorBoard callback on a trial that is nothing but a folder; without tensorboardX it does nothing."""

    def __init__(self, folder: Path) -> None:
        self._trial = _Trial(local_path=str(folder), init_local_path=lambda: None, evaluated_params={})
        try:
            from ray.tune.logger import TBXLoggerCallback

            self._callback: Any = TBXLoggerCallback()
        except ImportError:
            self._callback = None

    def write(self, result: dict[str, Any]) -> None:
        if self._callback is not None:
            self._callback.log_trial_result(result["training_iteration"], self._trial, result)

    def close(self) -> None:
        if self._callback is not None:
            self._callback.log_trial_end(self._trial)


class _Trial(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]
