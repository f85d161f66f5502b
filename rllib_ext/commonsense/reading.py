"""Reading triples: from tab-separated files, label arrays, rows of any kind, and the Hugging Face hub.

Tab-separated, a triple a line, no header; which column is what follows from their number:

    3    relation, head, tail
    4    relation, head, tail, score                    the published files
    5    relation, head, tail, something, score         the mined files; the fourth is not read

``score`` is a confidence in training files and the label, 0 or 1, in evaluation files: ``labelled`` says which. Phrases
are lower-cased and their spaces made one; relations are looked up without their case (`relations`).

Every line is accepted, repaired or quarantined, with its number and the reason, and

    accepted + repaired + quarantined = read

Quarantined: lines that are not UTF-8, another number of columns, an empty phrase or relation, a score that is no finite
number, a label that is not 0 or 1, a relation that is not of the closed set. Blank lines are quarantined too. Where more
than ``max_bad_share`` of the lines are, the file is not what it was taken for: BadData.

The published data derive from ConceptNet (CC BY-SA 4.0); none of them come with this package.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.text.row_files import Broken
from envs.text.row_sources import Request, open_source
from envs.text.row_values import Unusable, strict_text
from envs.text.rows import RowReport
from rllib_ext.commonsense.relations import RelationNames
from rllib_ext.commonsense.triples import Text
from rllib_ext.errors import BadData

COLUMNS = {3: (1, 0, 2, None), 4: (1, 0, 2, 3), 5: (1, 0, 2, 4)}  # -> places of head, relation, tail, score
LOWER, SPACES = "lower-cased", "spaces made one"


@dataclass
class Rows:
    """What one source held: triples in words; their scores, None where the source has none; what became of each line."""

    texts: list[Text]
    scores: list[float] | None
    report: TripleReport


@dataclass
class TripleReport(RowReport):
    """``quarantined`` has (line from 1, or row from 0; reason); ``place`` says which of the two."""

    place: str = "line"

    def quarantine_rows(self) -> list[dict[str, Any]]:
        """A JSON object for each of them."""
        return [
            {"source": self.source, self.place: number, "reason": reason}
            for number, reason in self.quarantined
        ]

    def write_quarantine(self, path: str | os.PathLike[str]) -> Path:
        """Append them to a file; its path."""
        with open(path, "a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in self.quarantine_rows())
        return Path(path)

    def counts(self) -> dict[str, int]:
        """read = accepted + repaired + quarantined."""
        return {
            "read": self.total,
            "accepted": self.accepted,
            "repaired": self.repaired,
            "quarantined": len(self.quarantined),
        }


class _Judge:
    """Rows of fields in, a triple out; counts what it does."""

    def __init__(
        self, source: str, place: str, names: RelationNames, labelled: bool, max_bad_share: float
    ) -> None:
        if not 0 <= max_bad_share <= 1:
            raise BadData(f"max_bad_share is {max_bad_share}; it must be in [0, 1]")
        self.report = TripleReport(source, place=place)
        self.texts: list[Text] = []
        self.scores: list[float | None] = []
        self._names, self._labelled, self._limit = names, labelled, max_bad_share

    def judge(self, number: int, fields: Any) -> None:
        """One line; ``fields``: head, relation, tail, score, or what was wrong with it as Unusable."""
        report = self.report
        report.total += 1
        try:
            text, score, repairs = self._triple(fields)
        except Unusable as unusable:
            report.quarantined.append((number, str(unusable)))
            return
        self.texts.append(text)
        self.scores.append(score)
        report.accepted += not repairs
        report.repaired += bool(repairs)
        report.repairs.update(repairs)

    def _triple(self, fields: Any) -> tuple[Text, float | None, set[str]]:
        if isinstance(fields, Unusable):
            raise fields
        head, relation, tail, score = fields
        repairs: set[str] = set()
        head, tail = _phrase(head, "head", repairs), _phrase(tail, "tail", repairs)
        try:
            named = self._names.find(_phrase(relation, "relation", set(), lower=False))
        except KeyError as unknown:
            raise Unusable(unknown.args[0]) from unknown
        return (head, named, tail), self._score(score), repairs

    def _score(self, score: Any) -> float | None:
        if score is None:
            if self._labelled:
                raise Unusable("there is no label; evaluation files have it in the last column")
            return None
        try:
            value = float(score)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise Unusable(f"the score {str(score)[:40]!r} is no finite number")
        if self._labelled and value not in (0.0, 1.0):
            raise Unusable(f"the label is {value:g}; it must be 0 or 1")
        return value

    def done(self) -> Rows:
        """All of it. Raises BadData where too much was quarantined, and where a file mixes numbers of columns."""
        report, bad = self.report, len(self.report.quarantined)
        if report.total == 0 or bad == report.total:
            raise BadData(
                f"{report.source} holds no triple: {bad} of {report.total} {report.place}s quarantined{self._why()}"
            )
        if bad > self._limit * report.total:
            raise BadData(
                f"{bad} of {report.total} {report.place}s of {report.source} cannot be used; max_bad_share = "
                f"{self._limit:g} allows less{self._why()}. Repair the file or raise max_bad_share."
            )
        scored = [score for score in self.scores if score is not None]
        if scored and len(scored) < len(self.scores):
            raise BadData(
                f"{report.source} has a score in {len(scored)} of {len(self.scores)} triples; give all or none"
            )
        return Rows(self.texts, scored or None, report)

    def _why(self) -> str:
        if not self.report.quarantined:
            return ""
        number, reason = self.report.quarantined[0]
        reasons = "; ".join(f"{text} ({count})" for text, count in self.report.reasons())
        return f", first {self.report.place} {number} ({reason}); all: {reasons}"


def _phrase(value: Any, what: str, repairs: set[str], lower: bool = True) -> str:
    try:
        text, made = strict_text(value)
    except Unusable as unusable:
        raise Unusable(f"the {what} {unusable}") from unusable
    repairs.update(made)
    joined = " ".join(text.split())
    if joined != text:
        repairs.add(SPACES)
    if lower and joined != joined.lower():
        repairs.add(LOWER)
        joined = joined.lower()
    return joined


def read_tsv(
    path: str | os.PathLike[str],
    *,
    labelled: bool = False,
    names: RelationNames | None = None,
    max_bad_share: float = 0.01,
) -> Rows:
    """The triples of a tab-separated file."""
    judge = _Judge(str(path), "line", names or RelationNames(), labelled, max_bad_share)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error}). Check the path and its permissions.") from error
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines[:-1] if not lines[-1] else lines, start=1):
        judge.judge(number, _fields(line))
    return judge.done()


def _fields(line: bytes) -> Any:
    try:
        columns = line.removesuffix(b"\r").decode("utf-8").split("\t")
    except UnicodeDecodeError:
        return Unusable("the line is not UTF-8")
    if not any(column.strip() for column in columns):
        return Unusable("the line is blank")
    if len(columns) not in COLUMNS:
        return Unusable(f"the line has {len(columns)} columns between tabs; 3, 4 or 5 are read")
    places = COLUMNS[len(columns)]
    return [None if place is None else columns[place] for place in places]


def read_labels(
    labels: Iterable[Sequence[str]], *, names: RelationNames | None = None, max_bad_share: float = 0.01
) -> Rows:
    """Rows (head, relation, tail) of strings: PyKEEN's ``TriplesFactory.triples``, or any array [N, 3] of labels."""
    judge = _Judge("the given labels", "row", names or RelationNames(), False, max_bad_share)
    for number, row in enumerate(labels):
        fits = len(row) == 3
        judge.judge(number, [*row, None] if fits else Unusable(f"the row has {len(row)} labels, not 3"))
    return judge.done()


def read_rows(
    rows: Iterable[object],
    source: str = "the given rows",
    *,
    labelled: bool = False,
    names: RelationNames | None = None,
    max_bad_share: float = 0.01,
) -> Rows:
    """Mappings with head, relation, tail and, where there is one, score: of a Hugging Face data set, of Ray Data's
    ``iter_rows()``, of JSON.
    """
    judge = _Judge(source, "row", names or RelationNames(), labelled, max_bad_share)
    for number, row in enumerate(rows):
        judge.judge(number, _mapped(row))
    return judge.done()


def _mapped(row: object) -> Any:
    if isinstance(row, Broken):
        return Unusable(row.reason)
    if not isinstance(row, Mapping):
        return Unusable(f"the row is of type {type(row).__name__}, not an object with columns")
    for name in ("head", "relation", "tail"):
        if name not in row:
            return Unusable(f"column {name!r} is missing")
    return [row["head"], row["relation"], row["tail"], row.get("score", row.get("label"))]


def read_source(source: str, split: str = "train", *, labelled: bool = False, **settings: Any) -> Rows:
    """A split of a data set of the hub, or of JSONL and parquet files, with columns head, relation, tail, score."""
    request = Request(split, ("head", "relation", "tail"), 0.0, optional=("score", "label"))
    stream = open_source(source, request)
    if stream.shares and split != "train":
        raise BadData(
            f"{stream.name} has no {split!r} split of its own; name one of its files or folders {split}"
        )
    return read_rows(_present(stream.rows), f"{stream.name} ({split})", labelled=labelled, **settings)


def _present(rows: Iterator[object]) -> Iterator[object]:
    for row in rows:
        yield {k: v for k, v in row.items() if v is not None} if isinstance(row, Mapping) else row


def write_tsv(
    path: str | os.PathLike[str], texts: Sequence[Text], scores: Sequence[float] | None = None
) -> Path:
    """The four-column form of triples, or three columns without scores; `read_tsv` reads the same back."""
    lines = []
    for index, (head, relation, tail) in enumerate(texts):
        score = (
            [] if scores is None else [f"{scores[index]!r}" if scores[index] % 1 else f"{int(scores[index])}"]
        )
        lines.append("\t".join([relation, head, tail, *score]) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")
    return Path(path)
