"""Parallel text for the pivot game: rows of two or three languages, from files, the hub, or the synthetic corpora.

Which reader
    "synthetic"                  the built-in corpora (``synthetic.py``)
    a folder of aligned files    ``train.fr``, ``train.en``, ``train.de``, one sentence a line, line i of one being line
                                 i of the others; the split is a word of the name (``val.fr`` is validation)
    anything else                JSONL, parquet, a folder of them, a hub name or a sequence of mappings, by the rules of
                                 ``envs.text.row_sources``; one column a language, named fr, en, de, or one column
                                 ``translation`` that maps fr, en, de to the sentences (the hub's form of IWSLT)

A row is judged as in every text environment (``envs.text.rows``): a sentence that is blank, missing, null, nested or not
UTF-8, or holds a line break, puts its row into quarantine with its index and reason; aligned files of different length
are refused, because nothing says where they went apart.

Left out: cleaning by length ratio, subword cuts (an environment knows no tokenizer).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from envs.errors import BadData
from envs.pivot import synthetic
from envs.text.row_sources import SPLITS, Source, source_columns, split_in
from envs.text.row_values import Column, Unusable, strict_text
from envs.text.rows import Recipe, RowReport, read_rows

SYNTHETIC = "synthetic"
SYNTHETIC_SIZES = {"train": 4096, "validation": 256, "test": 256}
Row = dict[str, str]


def read_parallel(
    source: Source,
    languages: Sequence[str],
    split: str,
    *,
    corpus: str = "game",
    size: int | None = None,
    seed: int = 0,
    max_bad_rows: float = 0.01,
    config: str | None = None,
    revision: str | None = None,
    quarantine: str | os.PathLike[str] | None = None,
) -> tuple[list[Row], RowReport]:
    """Rows ``{language: sentence}`` of one split, and what became of each row read.

    Args:
        languages: of "fr", "en", "de", those that a row must have.
        corpus: which of the synthetic corpora, where the source is "synthetic".
        size: at most so many rows; None: all, or the synthetic corpora's own sizes.
        seed: of the synthetic corpora.
        max_bad_rows, config, revision, quarantine: as in ``envs.text.rows.read_rows``.
    """
    if isinstance(source, str) and source == SYNTHETIC:
        part = "train" if split == "all" else split
        rows = synthetic.corpus(corpus, part, size or SYNTHETIC_SIZES.get(part, 256), seed)
        return rows, RowReport(SYNTHETIC, total=len(rows), accepted=len(rows))
    aligned = _aligned(source, languages, split)
    if aligned is not None:
        recipe = _recipe(languages, nested=False)
        return read_rows(
            aligned, recipe, split="all", max_bad_rows=max_bad_rows, max_rows=size, quarantine=quarantine
        )
    limits: dict[str, Any] = {"max_bad_rows": max_bad_rows, "max_rows": size, "quarantine": quarantine}
    hub: dict[str, Any] = {"config": config, "revision": revision}
    present = source_columns(source)
    nested = present is not None and "translation" in present and not set(languages) <= set(present)
    try:
        return read_rows(source, _recipe(languages, nested), split=split, **hub, **limits)
    except BadData as error:
        if present is not None or "lacks the column" not in str(error):
            raise
    return read_rows(
        source, _recipe(languages, nested=True), split=split, **hub, **limits
    )  # the hub's other form


def _recipe(languages: Sequence[str], nested: bool) -> Recipe[Row]:
    def build(index: int, values: dict[str, Any]) -> Row:
        found = values["translation"] if nested else values
        return {language: found[language] for language in languages}

    def translation(value: object) -> tuple[Row, list[str]]:
        if not isinstance(value, Mapping):
            raise Unusable(f"is of type {type(value).__name__}, not an object with the languages")
        missing = [language for language in languages if language not in value]
        if missing:
            raise Unusable(f"lacks the language {missing[0]!r}")
        judged = {language: sentence(value[language]) for language in languages}
        return {language: text for language, (text, _) in judged.items()}, [
            repair for _, repairs in judged.values() for repair in repairs
        ]

    if nested:
        return Recipe((Column("translation", translation),), ("translation",), build)
    return Recipe(tuple(Column(language, sentence) for language in languages), tuple(languages), build)


def sentence(value: object) -> tuple[str, list[str]]:
    """One sentence, without the blanks around it; text over several lines is not one."""
    text, repairs = strict_text(value)
    if "\n" in text.strip():
        raise Unusable("holds a line break")
    return text.strip(), repairs


def _aligned(source: Source, languages: Sequence[str], split: str) -> list[dict[str, Any]] | None:
    """The rows of a folder of aligned plain files; None where the source is no such folder."""
    if not isinstance(source, (str, os.PathLike)) or not Path(source).expanduser().is_dir():
        return None
    folder = Path(source).expanduser()
    found = {path for language in languages for path in folder.glob(f"*.{language}") if path.is_file()}
    if not found:
        return None
    if split not in (*SPLITS, "all"):
        raise BadData(f"split is {split!r}; it must be one of {', '.join(SPLITS)} or 'all'.")
    stems = sorted({path.stem for path in found if split == "all" or split_in(path.stem) == split})
    if not stems:
        names = ", ".join(sorted(path.name for path in found))
        raise BadData(f"{folder} has no file of the split {split!r} in its name; it has {names}.")
    return [row for stem in stems for row in _zipped(folder, stem, languages)]


def _zipped(folder: Path, stem: str, languages: Sequence[str]) -> list[dict[str, Any]]:
    columns = {language: _lines(folder / f"{stem}.{language}") for language in languages}
    counts = {f"{stem}.{language}": len(lines) for language, lines in columns.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise BadData(
            f"{folder}: the files are not aligned, their lines are {told}. Give files of one length."
        )
    return [dict(zip(languages, row, strict=True)) for row in zip_longest(*columns.values())]


def _lines(path: Path) -> list[bytes]:
    """The lines of a file as bytes (judged later); only byte 10 ends one."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadData(
            f"{path} cannot be read ({error}); aligned text needs a file for each language."
        ) from error
    return lines[:-1] if lines and not lines[-1] else lines
