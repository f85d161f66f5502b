"""Raw rows of one local file: JSONL (``.jsonl``, ``.ndjson``) or parquet, read as a stream.

Nothing is judged here. A line that is no JSON becomes a ``Broken`` row, text that is no UTF-8 reaches
``rows.py`` marked (surrogate escapes from JSONL, bytes from parquet) and is repaired and counted there.
Only a file that cannot be read at all, or a parquet file without the wanted columns, raises ``BadData``.
Memory does not grow with the length of the file.

Left out: compressed JSONL, CSV, a JSON array in one file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import BadData

SUFFIXES = (".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class Broken:
    """A row that could not even be parsed; ``reason`` is what the quarantine records."""

    reason: str


def file_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[object]:
    """The rows of ``path`` in order, by its suffix; ``optional`` columns may be absent."""
    if path.suffix == ".parquet":
        return _parquet(path, columns, optional)
    if path.suffix in SUFFIXES:
        return _jsonl(path)
    raise BadData(
        f"{path} is no {', '.join(SUFFIXES)} file; one JSON object a line in a .jsonl file will do."
    )


def file_columns(path: Path) -> list[str]:
    """The columns of a file: of a parquet file its schema's, of JSONL those of its first object."""
    if path.suffix == ".parquet":
        return list(_parquet_columns(path))
    return next((list(row) for row in file_rows(path, ()) if isinstance(row, dict)), [])


def need_columns(name: str, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Stop at once where a whole source lacks a column, instead of quarantining each of its rows."""
    missing = [column for column in wanted if column not in present]
    if missing:
        raise BadData(
            f"{name} lacks the column(s) {', '.join(missing)}; it has {', '.join(present) or 'none'}."
        )


def _jsonl(path: Path) -> Iterator[object]:
    """One JSON value a line. A line ends at byte 10 alone, since JSON text may hold U+2028; blank lines are
    no rows.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
                if line.strip():
                    yield _parsed(line)
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error}). Check the path and its permissions.") from error


def _parsed(line: bytes) -> object:
    """Raw control characters inside a JSON string are let through (``strict=False``): NUL is repaired
    later.
    """
    try:
        return json.loads(line.decode("utf-8", "surrogateescape"), strict=False)
    except RecursionError:
        return Broken("line nests too deeply")
    except ValueError:
        return Broken("line is not JSON")


def _parquet(path: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[object]:
    with _parquet_table(path) as table:
        present = table.schema_arrow.names
        need_columns(str(path), columns, present)
        names = [*columns, *(name for name in optional if name in present)]
        for batch in table.iter_batches(batch_size=1024, columns=names):
            values = [_decoded(batch.column(name)) for name in names]
            yield from (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))


def _parquet_columns(path: Path) -> Sequence[str]:
    with _parquet_table(path) as table:
        return tuple(table.schema_arrow.names)


@contextmanager
def _parquet_table(path: Path) -> Iterator[Any]:
    """The open file; whatever is wrong with it, also while its rows are read, is ``BadData``."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BadData(f"reading {path} needs pyarrow: pip install 'rllib-ext[llm]'.") from error
    try:
        with pq.ParquetFile(path) as table:
            yield table
    except (pa.ArrowException, OSError) as error:
        raise BadData(f"{path} is no readable parquet file ({error}). Write or download it again.") from error


def _decoded(array: Any) -> list[object]:
    """Python values of an Arrow array; text that is not UTF-8 stays bytes."""
    import pyarrow as pa

    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return list(array.to_pylist())
    return [_utf8_or_bytes(value) for value in array.cast(pa.large_binary()).to_pylist()]


def _utf8_or_bytes(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return value
