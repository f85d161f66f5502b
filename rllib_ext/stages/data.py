"""What a stage is trained and evaluated on: named sets, hub sets and files, as texts, with every row accounted for.

For each split that is read

    kept + dropped_long + quarantined = read

where ``kept`` includes rows that belong to another split of the same source (``other_split`` of them). Quarantined
rows are in ``quarantine.jsonl`` of the run folder, one JSON object each: source, split, index, reason. Rows are dropped
as too long later, by their tokens; ``drop_long`` books that.

Built-in sets need no file: ``Docstrings`` (demonstrations), ``ControlledTLDR`` (demonstrations, and comparisons that
the programmatic gold reward has labelled).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from envs.text.comparisons import Comparison, read_comparisons
from envs.text.controlled import ControlledTLDR, demonstrations, preference_pairs
from envs.text.controlled_data import DEMONSTRATION_NOISE, with_summaries
from envs.text.controlled_pairs import label_pairs
from envs.text.demonstrations import Demonstration, read_demonstrations
from envs.text.docstrings import Docstrings
from envs.text.rows import RowReport
from envs.text.tldr import HUB_NAME, completion_text
from rllib_ext.errors import BadConfig, BadData, unknown_name
from rllib_ext.runtime.seeding import SeedTree

COMPARISONS_HUB_NAME = "vwxyzjn/summarize_from_feedback_oai_preprocessing_1706381144"
HUB = {"demonstrations": HUB_NAME, "comparisons": COMPARISONS_HUB_NAME}
QUARANTINE = "quarantine.jsonl"
_BUILT_IN_ROWS = {"train": 16384, "validation": 512}


@dataclass
class Accounts:
    """What became of the rows that a stage read, a record for each reading."""

    folder: Path
    readings: list[dict[str, Any]] = field(default_factory=list)

    def add(self, report: RowReport, purpose: str, split: str) -> dict[str, Any]:
        kept = report.accepted + report.repaired
        record = {
            "source": report.source,
            "purpose": purpose,
            "split": split,
            "read": report.total,
            "kept": kept,
            "dropped_long": 0,
            "quarantined": len(report.quarantined),
            "other_split": report.elsewhere,
        }
        self.readings.append(record)
        return record

    def drop_long(self, purpose: str, count: int) -> None:
        """Rows of the reading for ``purpose`` turned out to be too long."""
        for record in self.readings:
            if record["purpose"] == purpose:
                record["kept"] -= count
                record["dropped_long"] += count
                return

    def gather(self, part: Path, split: str) -> None:
        """Move one reading's quarantine into the run's file, in one append."""
        if not part.is_file():
            return
        rows = [{**json.loads(line), "split": split} for line in part.read_text("utf-8").splitlines()]
        if rows:
            with open(self.folder / QUARANTINE, "a", encoding="utf-8") as stream:
                stream.write("".join(json.dumps(row) + "\n" for row in rows))
        part.unlink()


Rows = list[Demonstration] | list[Comparison]


class StageData:
    """The rows of one stage by its knobs; ``kind`` is "demonstrations" or "comparisons"."""

    def __init__(
        self, kind: str, values: Mapping[str, Any], count_tokens: Callable[[str], int], folder: Path
    ) -> None:
        self.kind, self.values, self._count = kind, values, count_tokens
        self.accounts = Accounts(folder)
        (folder / QUARANTINE).unlink(missing_ok=True)  # each session reads the rows again

    @property
    def name(self) -> str:
        return data_name(self.values["data"])

    def train(self) -> Rows:
        """The training rows, ``train_rows`` of them where that is set."""
        values = self.values
        rows = self._read(self.kind, values["data"], values["split"], "train", values["max_rows"])
        wanted = values["train_rows"]
        if wanted is None or wanted >= len(rows):
            return rows
        chosen = SeedTree(values["seed"]).child("train rows").numpy().permutation(len(rows))[:wanted]
        return [rows[index] for index in chosen.tolist()]

    def held_out(self) -> Rows:
        """At most ``eval_rows`` rows of the validation split, or of ``eval_data``."""
        values = self.values
        if not values["eval_rows"]:
            return []
        source, split = values["eval_data"] or values["data"], "all" if values["eval_data"] else "validation"
        return self._read(self.kind, source, split, "held out", values["eval_rows"])

    def references(self) -> list[Demonstration]:
        """The demonstrations whose completions a reward model is normalised on (N+ detail 15)."""
        values = self.values
        source = values["reference_data"] or values["data"]
        if values["reference_data"] is None and source not in ("TLDR", "ControlledTLDR"):
            raise BadConfig(
                f"reference_data is not set, and data={values['data']!r} says nothing of demonstrations; give the SFT "
                "stage's data as reference_data, or set normalise=false"
            )
        return self._read("demonstrations", source, "train", "references", values["reference_rows"])

    def _read(self, kind: str, source: str, split: str, purpose: str, most: int | None) -> Any:
        if source in ("ControlledTLDR", "Docstrings"):
            rows = built_in(kind, source, split, self.values["seed"], most)
            self.accounts.add(RowReport(source, total=len(rows), accepted=len(rows)), purpose, split)
            return rows
        read = read_demonstrations if kind == "demonstrations" else read_comparisons
        part = self.accounts.folder / f".quarantine-{purpose.replace(' ', '-')}"
        try:
            rows, report = read(
                HUB[kind] if source == "TLDR" else source,
                split,
                count_tokens=self._count,
                max_query_tokens=self.values["max_query_tokens"],
                max_rows=most,
                max_bad_share=self.values["max_bad_share"],
                revision=self.values["data_revision"],
                quarantine=part,
            )
        except BadData as error:
            raise BadData(str(error).replace(str(part), str(self.accounts.folder / QUARANTINE))) from error
        finally:
            self.accounts.gather(part, split)
        self.accounts.add(report, purpose, split)
        return rows


def data_name(source: str) -> str:
    """A short name of a source for folders and titles."""
    stem = Path(source).stem if Path(source).exists() else source.rpartition("/")[2]
    return "".join(char if char.isalnum() else "_" for char in stem)[:40] or "data"


def built_in(kind: str, name: str, split: str, seed: int, most: int | None) -> Any:
    """Rows of a set that comes with the package; "all" is its training split."""
    part = "train" if split == "all" else split
    rows = most or _BUILT_IN_ROWS.get(part, 512)
    if name == "Docstrings":
        if kind != "demonstrations":
            raise unknown_name("comparisons", name, ("TLDR", "ControlledTLDR"))
        env = Docstrings(part)
        tasks = [env.task(index) for index in range(min(env.num_tasks, most or env.num_tasks))]
        return [
            Demonstration(i, str(task.prompt), completion_text(str(task.reference)))
            for i, task in enumerate(tasks)
        ]
    if kind == "comparisons":
        pairs: Sequence[tuple[str, str, str]] = (
            preference_pairs(rows, seed) if part == "train" else _held_out_pairs(part, seed, rows)
        )
        return [Comparison(index, *pair) for index, pair in enumerate(pairs)]
    if part == "train":
        return [Demonstration(index, *pair) for index, pair in enumerate(demonstrations(rows, seed))]
    env = ControlledTLDR(part, size=rows, seed=seed)
    tasks = [env.task(index) for index in range(env.num_tasks)]
    return [Demonstration(index, str(task.prompt), str(task.reference)) for index, task in enumerate(tasks)]


def _held_out_pairs(split: str, seed: int, rows: int) -> list[tuple[str, str, str]]:
    stream = with_summaries(split, seed, "pair", DEMONSTRATION_NOISE, candidates=2)
    samples = ((prompt, first, second) for prompt, (first, second), _ in stream)
    return list(islice(label_pairs(samples, seed=seed), rows))
