"""Which rows make a split: of a sequence, of local files, or of a data set of the Hugging Face hub.

Which reader
    a sequence of mappings        its elements a path that exists            that file, or the ``.jsonl``,
    ``.ndjson`` and ``.parquet`` files below that folder any other text                the name of a hub
    data set (a local path of the same name wins)

Splits
    A hub data set and a folder name their own splits; a file belongs to the split that is a word of its
    name (``train.jsonl``, ``gsm8k_test.parquet``, ``train-00000-of-00002.parquet``) or of its folder's.
    ``valid``, ``val`` and ``dev`` are read as ``validation``. Where there is a train split and no
    validation split, a fixed share of train, picked by a hash of the prompt columns, is validation and the
    rest is train. A single file, a sequence and a folder that names no split are divided the same way into
    train, validation and test. ``"all"`` takes every row of the three.

Left out: remote file systems, data sets that need their own loading code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from envs.errors import BadData
from envs.text.row_files import SUFFIXES, file_columns, file_rows, need_columns

Source = str | os.PathLike[str] | Sequence[Mapping[str, Any]]
SPLITS = ("train", "validation", "test")
_ALIASES = {"valid": "validation", "val": "validation", "dev": "validation"}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class Stream:
    """Raw rows in source order; ``shares`` is what a hash takes of them for each held-out split (empty:
    none).
    """

    name: str
    rows: Iterator[object]
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What to read. ``held_out`` is the share hashed away where the source has no such split of its own;
    ``optional`` columns are read where the source has them.

    ``config``, ``revision`` and ``data_dir`` reach the hub only; a revision pins the data set to one commit, a folder of
    it is read in place of the whole.
    """

    split: str
    columns: tuple[str, ...]
    held_out: float
    config: str | None = None
    revision: str | None = None
    data_dir: str | None = None
    optional: tuple[str, ...] = ()


def open_source(source: Source, request: Request) -> Stream:
    """The rows that hold ``request.split``. An unusable source raises ``BadData``, here or when read."""
    if request.split not in (*SPLITS, "all"):
        raise BadData(f"split is {request.split!r}; it must be one of {', '.join(SPLITS)} or 'all'.")
    if not isinstance(source, (str, os.PathLike)):
        return _undivided("the given rows", iter(source), request)
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, request)
    if path.exists():
        return _undivided(str(path), file_rows(path, request.columns, request.optional), request)
    name = os.fspath(source)
    if isinstance(source, os.PathLike) or path.suffix in SUFFIXES or not _HUB_NAME.fullmatch(name):
        raise BadData(
            f"{name!r} does not exist and is no hub name. Give a JSONL or parquet file, or a folder of them."
        )
    return hub_rows(name, request)


def hub_rows(name: str, request: Request) -> Stream:
    """Rows of a data set that the ``datasets`` library opens by name (it also opens a local folder)."""
    try:
        from datasets import get_dataset_split_names, load_dataset
    except ImportError as error:
        raise BadData(
            f"reading {name!r} needs the datasets library: pip install 'rllib-ext[llm]'."
        ) from error
    config, pinned = request.config, {"revision": request.revision, "data_dir": request.data_dir}
    try:
        present = {_ALIASES.get(part, part): part for part in get_dataset_split_names(name, config, **pinned)}
        chosen, shares = _choose(name, request, tuple(present))
        parts = [load_dataset(name, config, split=present[part], **pinned) for part in chosen]
    except BadData:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise BadData(
            f"the data set {name!r} cannot be opened ({type(error).__name__}: {error}). "
            "Check its name and the network, or pass local JSONL or parquet files in the same columns."
        ) from error
    for part in parts:
        need_columns(name, request.columns, part.column_names)
    chosen_rows = [part.select_columns(_present(request, part.column_names)) for part in parts]
    return Stream(name, chain.from_iterable(chosen_rows), shares)


def _present(request: Request, columns: Sequence[str]) -> list[str]:
    return [*request.columns, *(name for name in request.optional if name in columns)]


def _undivided(name: str, rows: Iterator[object], request: Request) -> Stream:
    held_out = request.held_out
    return Stream(name, rows, {} if request.split == "all" else {"validation": held_out, "test": held_out})


def source_columns(source: Source) -> list[str] | None:
    """The columns of a local source, from its first file or row; None for a data set of the hub."""
    if not isinstance(source, (str, os.PathLike)):
        return list(source[0]) if len(source) and isinstance(source[0], Mapping) else []
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.suffix in SUFFIXES and item.is_file())
        return file_columns(files[0]) if files else []
    return file_columns(path) if path.exists() else None


def _folder(folder: Path, request: Request) -> Stream:
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if not files:
        raise BadData(f"the folder {folder} holds no {', '.join(SUFFIXES)} file.")
    by_split: dict[str, list[Path]] = {}
    for path in files:
        named = split_in(path.stem) or (split_in(path.parent.name) if path.parent != folder else "")
        by_split.setdefault(named, []).append(path)
    unnamed = by_split.pop("", [])
    if request.split == "all" or not by_split:
        return _undivided(
            str(folder),
            chain.from_iterable(file_rows(path, request.columns, request.optional) for path in files),
            request,
        )
    if unnamed:
        raise BadData(
            f"{unnamed[0]} names no split although other files of {folder} do; rename it or take split='all'."
        )
    chosen, shares = _choose(str(folder), request, tuple(by_split))
    paths = [path for part in chosen for path in by_split[part]]
    return Stream(
        str(folder),
        chain.from_iterable(file_rows(path, request.columns, request.optional) for path in paths),
        shares,
    )


def _choose(name: str, request: Request, present: Sequence[str]) -> tuple[list[str], dict[str, float]]:
    """Which of the present splits to read, and what share of them the hash takes for validation."""
    split = request.split
    if split == "all":
        return [part for part in SPLITS if part in present], {}
    carve = "train" in present and "validation" not in present
    shares = {"validation": request.held_out} if carve and split in ("train", "validation") else {}
    if split in present:
        return [split], shares
    if shares:
        return ["train"], shares
    raise BadData(f"{name} has no {split!r} split; it has {', '.join(sorted(present))}.")


def split_in(text: str) -> str:
    """The first word of ``text`` that names a split, or ''."""
    words = (_ALIASES.get(word, word) for word in re.split(r"[^a-z]+", text.lower()))
    return next((word for word in words if word in SPLITS), "")
