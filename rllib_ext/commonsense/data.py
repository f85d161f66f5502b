"""From the configuration to a knowledge base: read or made, split, on one vocabulary.

The vocabulary is of all parts: words that only evaluation triples have get a vector where the vectors come from a file.
Relations that training lacks are quarantined in evaluation files: no scorer has a vector for them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_ext.commonsense.knobs import SYNTHETIC
from rllib_ext.commonsense.reading import Rows, TripleReport, read_source, read_tsv
from rllib_ext.commonsense.relations import RelationNames
from rllib_ext.commonsense.splits import PARTS, PUBLISHED_SIZES, split
from rllib_ext.commonsense.synthetic import synthetic_kb
from rllib_ext.commonsense.triples import KnowledgeBase, Triples, Vocabulary
from rllib_ext.errors import BadData

TRAIN = "train100k"
SUFFIXES = (".txt", ".tsv")
SETTINGS = (
    "data", "train_file", "split", "data_seed", "max_bad_share", "synthetic_rule", "synthetic_train",
    "synthetic_evaluation",
)  # fmt: skip


@dataclass(frozen=True)
class KBData:
    """A base, what was done to make it, and what became of every line of every file."""

    base: KnowledgeBase
    about: dict[str, Any]
    reports: list[TripleReport] = field(default_factory=list)

    def write_quarantine(self, path: Path) -> int:
        """Write the quarantined lines of all files, if there are any; how many there are."""
        count = sum(len(report.quarantined) for report in self.reports)
        path.unlink(missing_ok=True)
        if count:
            path.parent.mkdir(parents=True, exist_ok=True)
            for report in self.reports:
                report.write_quarantine(path)
        return count


def data_of(config: Any) -> KBData:
    """Of a CommonsenseKBCConfig. Equal settings, with unchanged files, are read once in a process."""
    return _load(tuple(getattr(config, name) for name in SETTINGS), _stamps(config.data))


def _stamps(data: str) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of the files that a setting names, if it names any."""
    path = Path(data).expanduser()
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@functools.lru_cache(maxsize=2)
def _load(settings: tuple[Any, ...], stamps: tuple[tuple[str, int, int], ...]) -> KBData:
    value = dict(zip(SETTINGS, settings, strict=True))
    novel, reports = None, []
    if value["data"] == SYNTHETIC:
        made = synthetic_kb(
            value["data_seed"],
            train=value["synthetic_train"],
            evaluation=value["synthetic_evaluation"],
            depends_on=value["synthetic_rule"],
        )
        train, novel = made.train, made.novel
        evaluated = {name: made.evaluated[name] for name in PARTS}
    else:
        read = _read(value)
        reports = [rows.report for rows in read.values()]
        train, evaluated = _triples(read)
    sizes = {name: int((part.labels == 1).sum()) for name, part in evaluated.items()} or PUBLISHED_SIZES
    found = split(value["split"], train, evaluated, sizes=sizes, seed=value["data_seed"])
    base = found.base
    about = {"data": value["data"], "split": value["split"], **found.about}
    about["files"] = {report.source: report.counts() for report in reports}
    return KBData(KnowledgeBase(base.train, base.dev1, base.dev2, base.test, novel), about, reports)


def _triples(read: Mapping[str, Rows]) -> tuple[Triples, dict[str, Triples]]:
    every = [text for rows in read.values() for text in rows.texts]
    vocabulary = Vocabulary.of(every)
    train = Triples.from_text(read["train"].texts, vocabulary, confidence=read["train"].scores)
    evaluated = {
        name: Triples.from_text(
            read[name].texts, vocabulary, labels=[int(score) for score in read[name].scores or ()]
        )
        for name in PARTS
        if name in read
    }
    return train, evaluated


def _read(value: Mapping[str, Any]) -> dict[str, Rows]:
    folder = Path(value["data"]).expanduser()
    files = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES) if folder.is_dir() else []
    if not files:
        return _read_columns(value)
    named = {path.stem: path for path in files}
    settings = {"max_bad_share": value["max_bad_share"]}
    found = {"train": read_tsv(_train_file(folder, named, value["train_file"]), **settings)}
    known = _relations(found["train"])
    for name in PARTS:
        if name in named:
            found[name] = read_tsv(named[name], labelled=True, names=known, **settings)
    return found


def _train_file(folder: Path, named: Mapping[str, Path], asked: str | None) -> Path:
    if asked is not None:
        return folder / asked
    candidates = [path for stem, path in named.items() if stem.startswith("train")]
    if TRAIN in named or len(candidates) == 1:
        return named.get(TRAIN, candidates[0])
    raise BadData(
        f"{folder} has {len(candidates)} files train*.txt ({', '.join(path.name for path in candidates)}): set train_file"
    )


def _relations(train: Rows) -> RelationNames:
    return RelationNames(dict.fromkeys(text[1] for text in train.texts), closed=True)


def _read_columns(value: Mapping[str, Any]) -> dict[str, Rows]:
    """Splits train, validation and test by column; even rows of validation are dev1, odd rows dev2."""
    source, settings = value["data"], {"max_bad_share": value["max_bad_share"]}
    train = read_source(source, "train", **settings)
    if value["split"] != "published":  # positives of our own choosing, out of train
        return {"train": train}
    known = _relations(train)
    validation, test = (
        read_source(source, part, labelled=True, names=known, **settings) for part in ("validation", "test")
    )
    halves = {}
    for name, start in (("dev1", 0), ("dev2", 1)):
        scores = (validation.scores or [])[start::2]
        halves[name] = Rows(
            validation.texts[start::2], scores, TripleReport(f"{validation.report.source}, {name}")
        )
    halves["dev1"].report = validation.report  # counted once
    return {"train": train, **halves, "test": test}
