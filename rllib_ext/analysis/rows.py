"""Rows of JSON files: reading them whatever a crash left, numbers out of them, and what a resume replaced.

Three things are normal in a file that a run writes: it is not there yet (empty), its last line was torn by a
crash (left out, and said in ``notes``), and iterations were done twice because the run went back to its last
checkpoint (the later one counts, the abandoned branch goes).
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def number(value: object) -> float | None:
    """A finite float, or None. Booleans and numeric strings are not numbers; 0-d arrays and tensors are."""
    if (
        value is None
        or isinstance(value, bool | str | bytes)
        or str(getattr(value, "dtype", "")).endswith("bool")
    ):
        return None
    if not isinstance(value, numbers.Real) and getattr(value, "shape", None) != ():
        return None
    try:
        converted = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return converted if math.isfinite(converted) else None


def flatten(result: Mapping[str, Any], prefix: str = "") -> Row:
    """Nested result to "a/b/c" keys. The top-level ``config`` that Tune repeats in every row is left out."""
    flat: Row = {}
    for key, value in result.items():
        if not prefix and key == "config":
            continue
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_object(path: Path, notes: list[str]) -> Row:
    """The JSON object in ``path``; {} and a note where there is none."""
    try:
        value = json.loads(path.read_bytes().decode("utf-8", "replace"))
    except FileNotFoundError:
        notes.append(f"{path.name} is missing")
        return {}
    except (ValueError, RecursionError):
        notes.append(f"{path.name} is not valid JSON and was left out")
        return {}
    if not isinstance(value, dict):
        notes.append(f"{path.name} holds no JSON object and was left out")
        return {}
    return value


def read_lines(path: Path, notes: list[str]) -> list[Row]:
    """Every line that is a JSON object; the others are counted in a note, the torn last one by name."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        notes.append(f"{path.name} is missing")
        return []
    rows, bad = [], []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            bad.append(index)
    if bad == [len(lines) - 1]:
        notes.append(f"{path.name}: the last line is torn and was left out ({len(rows)} rows read)")
    elif bad:
        where = ", ".join(str(index + 1) for index in bad[:3])
        notes.append(f"{path.name}: {len(bad)} unreadable line(s) left out, first at line {where}")
    return rows


def newest_branch(rows: list[Row], position: str, identity: tuple[str, ...] = ()) -> list[Row]:
    """Drop what a resume made obsolete.

    Rows are written with a growing ``position``. A row that steps back starts a new branch: every kept row
    beyond its position belongs to the abandoned one, and a row at the same position with the same identity is
    being replaced.
    """

    def at(row: Row) -> float | None:
        return number(row.get(position))

    kept: list[Row] = []
    for row in rows:
        here = at(row)
        if here is not None:
            while kept and (last := at(kept[-1])) is not None and last > here:
                kept.pop()
            first_equal = len(kept)
            while first_equal and at(kept[first_equal - 1]) == here:
                first_equal -= 1
            same = [i for i in range(first_equal, len(kept)) if _same(kept[i], row, identity)]
            if same:
                del kept[same[-1]]
        kept.append(row)
    return kept


def _same(one: Row, other: Row, identity: tuple[str, ...]) -> bool:
    return all(one.get(key) == other.get(key) for key in identity)
