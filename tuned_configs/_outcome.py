"""How a sweep ends: a table of its trials, its report, and one line of JSON."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.tune import ResultGrid

from rllib_ext.analysis.rows import flatten, number

Rows = list[dict[str, Any]]


def conclude(
    args: argparse.Namespace,
    results: ResultGrid,
    began: float,
    *,
    knobs: Sequence[str],
    metrics: Sequence[str],
    x: str | None = None,
    **more: Any,
) -> int:
    """Print the table and the line, draw the report; the exit code. x: the setting to draw along."""
    rows = table(results, knobs, metrics)
    _print(rows, [*knobs, *metrics])
    line = {
        "sweep": args.name,
        "folder": results.experiment_path,
        "trials": len(results),
        "errors": results.num_errors,
        "rows": rows,
        **more,
        "report": _report(results.experiment_path, x),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(line), flush=True)
    return 1 if results.num_errors else 0


def table(results: ResultGrid, knobs: Sequence[str], metrics: Sequence[str]) -> Rows:
    """One row a trial, in the order of its knobs: these, and the metrics of its newest result (None: it has none)."""
    rows = []
    for result in results:
        measured = flatten(result.metrics or {})
        settings = flatten({"": result.config or {}})
        row = {name: settings.get(f"/{name}") for name in knobs}
        rows.append(row | {name: number(measured.get(name)) for name in metrics})
    return sorted(rows, key=lambda row: [_order(row[name]) for name in knobs])


def _order(value: Any) -> tuple[int, float, str]:
    at = number(value)
    return (0, at, "") if at is not None else (1, 0.0, str(value))


def _report(folder: str, x: str | None) -> str | None:
    """The page's path; None in object storage, whose report is drawn from a copy."""
    if not Path(folder).is_dir():
        return None
    from rllib_ext.analysis.sweep_report import build_sweep_report

    return str(build_sweep_report(folder, x))


def _print(rows: Rows, names: Sequence[str]) -> None:
    lines = [
        [name.rpartition("/")[2] for name in names],
        *([_text(row[name]) for name in names] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{word:>{width}}" for word, width in zip(line, widths, strict=True)))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return Path(value).name if isinstance(value, str) else str(value)
