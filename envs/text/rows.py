"""Reading rows: each is accepted, repaired by a written rule, or quarantined with its index and the reason.

    accepted + repaired + quarantined = total           always; no row is lost and none is counted twice

Why so strict. A row that breaks deep inside a tokenizer costs a worker, one that is silently patched costs
a result. So a value is judged at the door, by its column, and what was done to it is counted in a
``RowReport``. Where more than ``max_bad_rows`` of the rows are quarantined the data set is not what it was
taken for: ``BadData``, before any training, with the five commonest reasons.

Left out: chat rows (no environment of this package reads them from files), duplicate removal.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from envs.errors import BadData
from envs.text.row_files import Broken
from envs.text.row_sources import Request, Source, Stream, open_source
from envs.text.row_values import Column, Unusable

T = TypeVar("T")
MOST_QUARANTINED = 1_000_000  # no data set is read on beyond this; it bounds memory


@dataclass(frozen=True)
class Recipe(Generic[T]):
    """How rows become tasks: the columns read, those whose text the split hash takes, and what is built.

    ``build(index, values)`` gets the converted columns of one row; it may raise ``Unusable``. None: the row is right, and
    an earlier one has made its task.
    """

    columns: tuple[Column, ...]
    split_on: tuple[str, ...]
    build: Callable[[int, dict[str, Any]], T | None]


@dataclass
class RowReport:
    """What became of the rows read: accepted + repaired + len(quarantined) == total.

    ``repairs`` counts each rule (a row may need several); ``elsewhere`` of the accepted and repaired rows
    belong to another split of the same source.
    """

    source: str
    total: int = 0
    accepted: int = 0
    repaired: int = 0
    elsewhere: int = 0
    repairs: Counter[str] = field(default_factory=Counter)
    quarantined: list[tuple[int, str]] = field(default_factory=list)

    def reasons(self, most: int = 5) -> list[tuple[str, int]]:
        """The commonest reasons for quarantine and how many rows each took."""
        return Counter(reason for _, reason in self.quarantined).most_common(most)

    def write_quarantine(self, path: str | os.PathLike[str]) -> Path:
        """One JSON object a quarantined row: source, index (from 0, blank lines not counted) and reason."""
        lines = [json.dumps({"source": self.source, "index": i, "reason": r}) for i, r in self.quarantined]
        try:
            Path(path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        except OSError as error:
            raise BadData(
                f"the quarantine cannot be written to {path} ({error}). Give another file."
            ) from error
        return Path(path)


def read_rows(
    source: Source,
    recipe: Recipe[T],
    *,
    split: str,
    held_out: float = 0.05,
    config: str | None = None,
    revision: str | None = None,
    data_dir: str | None = None,
    max_bad_rows: float = 0.01,
    max_rows: int | None = None,
    quarantine: str | os.PathLike[str] | None = None,
) -> tuple[list[T], RowReport]:
    """The tasks of one split and the report on all rows read.

    Args:
        source: hub name, local file or folder, or a sequence of mappings (rules: ``row_sources.py``).
        split: "train", "validation", "test" or "all".
        held_out: share of rows (0 to 0.5) hashed into validation, and test, where the source names none.
        config, revision, data_dir: of a hub data set; the last is a folder of it.
        max_bad_rows: largest share of quarantined rows (0 to 1).
        max_rows: stop reading after this many tasks of the split, which bounds memory; None reads all.
        quarantine: file to which the quarantined rows' indices and reasons are written.
    """
    if not 0 <= held_out <= 0.5 or not 0 <= max_bad_rows <= 1:
        raise BadData(
            f"held_out = {held_out} must lie in 0 to 0.5 and max_bad_rows = {max_bad_rows} in 0 to 1."
        )
    needed = tuple(column.name for column in recipe.columns if not column.optional)
    wanted = tuple(column.name for column in recipe.columns if column.optional)
    request = Request(split, needed, held_out, config, revision, data_dir, wanted)
    stream = open_source(source, request)
    report = RowReport(stream.name)
    tasks: list[T] = []
    for index, row in enumerate(stream.rows):
        if max_rows is not None and len(tasks) >= max_rows:
            break
        report.total += 1
        try:
            tasks += _judge(index, row, recipe, stream, split, report)
        except Unusable as unusable:
            report.quarantined.append((index, sys.intern(str(unusable))))
            if len(report.quarantined) > MOST_QUARANTINED:
                break
    written = report.write_quarantine(quarantine) if quarantine is not None else None
    _stop_if_bad(report, max_bad_rows, written)
    if not tasks:
        raise BadData(
            f"{stream.name} has no row in the split {split!r} ({report.total} rows read). Give more rows."
        )
    return tasks, report


def _judge(
    index: int, row: object, recipe: Recipe[T], stream: Stream, split: str, report: RowReport
) -> list[T]:
    """The row's task, or nothing where it belongs to another split. Counts last, when nothing can fail."""
    values, repairs = _converted(row, recipe.columns)
    key = "\x1f".join(str(values[name]) for name in recipe.split_on)
    here = split == "all" or not stream.shares or split_by_hash(key, stream.shares) == split
    built = [recipe.build(index, values)] if here else []
    report.elsewhere += not here
    report.accepted += not repairs
    report.repaired += bool(repairs)
    report.repairs.update(repairs)
    return [task for task in built if task is not None]


def _converted(row: object, columns: tuple[Column, ...]) -> tuple[dict[str, Any], list[str]]:
    if isinstance(row, Broken):
        raise Unusable(row.reason)
    if not isinstance(row, Mapping):
        raise Unusable(f"row is of type {type(row).__name__}, not an object with columns")
    values: dict[str, Any] = {}
    repairs: list[str] = []
    for column in columns:
        if column.name not in row:
            if column.optional:
                values[column.name] = None
                continue
            raise Unusable(f"column {column.name!r} is missing")
        try:
            values[column.name], made = column.convert(row[column.name])
        except Unusable as unusable:
            raise Unusable(f"column {column.name!r} {unusable}") from unusable
        repairs += made
    return values, repairs


def split_by_hash(key: str, shares: Mapping[str, float]) -> str:
    """The split of a key: 64 bits of its SHA-256 as a number in [0, 1), cut into ``shares``; else train.

    It depends on the key alone: adding, removing or reordering rows moves no other row to another split.
    """
    point = int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big") / 2**64
    edge = 0.0
    for name, share in shares.items():
        edge += share
        if point < edge:
            return name
    return "train"


def _stop_if_bad(report: RowReport, max_bad_rows: float, written: Path | None) -> None:
    bad = len(report.quarantined)
    if report.total == 0:
        raise BadData(f"{report.source} holds no rows.")
    if bad <= min(max_bad_rows * report.total, MOST_QUARANTINED):
        return
    reasons = "; ".join(f"{reason} ({count})" for reason, count in report.reasons())
    where = (
        f"They are listed in {written}." if written else "Pass quarantine=<file> to have each of them listed."
    )
    raise BadData(
        f"{bad} of {report.total} rows of {report.source} cannot be used; max_bad_rows = {max_bad_rows:g} "
        f"allows less: {reasons}. {where} Repair the data or raise max_bad_rows."
    )
