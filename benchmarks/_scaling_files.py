"""Where the cells of ``rlhf_scaling`` lie, which of them count, and how they are written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rllib_ext.runtime.run_folder import read_json

CELL = "cell.json"


def cell_folder(root: Path, hidden: int, seed: int) -> Path:
    """The folder of one cell, below ``root``."""
    return root / f"hidden_{hidden}-seed_{seed}"


def finished(root: Path, hidden: int, seed: int) -> dict[str, Any] | None:
    """What a finished cell found; None where it is not finished."""
    path = cell_folder(root, hidden, seed) / CELL
    return read_json(path) if path.is_file() else None


def read_cells(root: Path, wanted: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """The finished cells of those seeds that are finished at every size: differences are within a seed."""
    found = {cell: data for cell in wanted if (data := finished(root, *cell)) is not None}
    whole = {seed for _, seed in wanted if all(cell in found for cell in wanted if cell[1] == seed)}
    return [data for cell, data in sorted(found.items()) if cell[1] in whole]


def rows_of(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a cell, then one a snapshot."""
    tables = [
        {"kind": "cell", **{k: v for k, v in cell.items() if not isinstance(v, list)}} for cell in cells
    ]
    points = [
        {"kind": "snapshot", "hidden": cell["hidden"], "seed": cell["seed"], **point}
        for cell in cells
        for point in cell["curve"]
    ]
    return tables + points
