"""Tables as CSV files that a spreadsheet may open without being told what to do."""

from __future__ import annotations

import csv
from pathlib import Path

from rllib_ext.analysis.plain_text import csv_cell
from rllib_ext.analysis.tables import Table


def write_csv(table: Table, folder: Path) -> Path:
    """Write ``table`` as UTF-8: numbers in full precision, no control characters, no cell a formula."""
    path = folder / f"{table.name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([csv_cell(column) for column in table.columns])
        writer.writerows([csv_cell(cell) for cell in row] for row in table.rows)
    return path
