"""Reading a sweep: every trial of a folder of Tune, without opening a pickle.

A trial's folder holds ``params.json`` (its settings), ``result.json`` (a line for each result), ``error.txt`` where it
failed, and the files of a run (``events.jsonl``, ``evaluations.jsonl``) where its algorithm writes them. A sweep is read
while it goes on and after a crash: what is missing or torn is left out and said in ``notes``. Results that a restore has
done again count once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_ext.analysis.rows import Row, flatten, newest_branch, number, read_lines, read_object
from rllib_ext.errors import BadData

DEFINITION = "sweep.json"
#: What measures progress, the first that a trial reports; an iteration that did nothing counts as one, so it is last.
STEPS = (
    "num_updates_lifetime",
    "num_env_steps_trained_lifetime",
    "num_env_steps_sampled_lifetime",
    "training_iteration",
)
#: Settings that tell runs of one and the same thing apart.
IDENTITY = ("seed", "run_folder", "name")
_FAILURE = re.compile(r"^Failure # \d+", re.MULTILINE)


@dataclass(frozen=True)
class TrialData:
    """One trial. rows: its results, flat. failures: attempts that ended in an error. restores: how often it went on from
    a checkpoint, whether after a failure, after the driver was killed, or because the scheduler said so.
    """

    name: str
    algorithm: str
    settings: Row
    rows: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    evaluations: list[Row] = field(default_factory=list)
    failures: int = 0
    error: str = ""
    restores: int = 0

    @property
    def environment(self) -> str:
        return str(self.settings.get("env") or "")

    @property
    def seed(self) -> Any:
        return self.settings.get("seed")

    @property
    def finished(self) -> bool:
        """Whether it said that it is done, after the last of its failures."""
        return bool(self.rows) and self.rows[-1].get("done") is True

    def series(self, metric: str, step: str) -> list[tuple[float, float]]:
        """(step, value) of every result that has both as finite numbers, by rising step, the last of equal ones."""
        pairs = ((number(row.get(step)), number(row.get(metric))) for row in self.rows)
        return sorted({at: value for at, value in pairs if at is not None and value is not None}.items())

    def last(self, metric: str) -> float | None:
        """The newest finite value of a metric."""
        return next((v for row in reversed(self.rows) if (v := number(row.get(metric))) is not None), None)


@dataclass(frozen=True)
class SweepData:
    """A sweep, read. step: the column that measures progress in all of its trials."""

    folder: Path
    trials: list[TrialData]
    step: str
    definition: Row = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def varied(self) -> list[str]:
        """Settings that take several values, by name, without those of `IDENTITY`."""
        names = sorted({name for trial in self.trials for name in trial.settings})
        return [
            name
            for name in names
            if name.split("/")[-1] not in IDENTITY
            and len({_written(trial.settings.get(name)) for trial in self.trials}) > 1
        ]

    def groups(self, names: Sequence[str]) -> dict[tuple[Any, ...], list[TrialData]]:
        """Trials by their values of some settings, in the order of the values; "algorithm" is a setting too."""
        found: dict[tuple[Any, ...], list[TrialData]] = {}
        for trial in sorted(self.trials, key=lambda trial: [_order(setting(trial, name)) for name in names]):
            found.setdefault(tuple(_plain(setting(trial, name)) for name in names), []).append(trial)
        return found


def setting(trial: TrialData, name: str) -> Any:
    """A setting of a trial; its algorithm's name where that is none of them."""
    return trial.settings.get(name, trial.algorithm if name == "algorithm" else None)


def is_sweep(folder: Path) -> bool:
    """Whether the folder holds trials, or is to hold them, and is no run itself."""
    if (folder / "result.json").is_file() or not folder.is_dir():
        return False
    marks = (DEFINITION, "*/result.json", "experiment_state-*.json")
    return any(next(folder.glob(mark), None) for mark in marks)


def load_sweep(folder: str | Path) -> SweepData:
    """Read the sweep in ``folder``.

    Raises:
        BadData: where it holds no trial with a result.
    """
    folder, notes = Path(folder), []
    paths = sorted({path.parent for path in folder.glob("*/result.json")})
    definition = read_object(folder / DEFINITION, []) if (folder / DEFINITION).is_file() else {}
    trials = [_read_trial(path, definition, notes) for path in paths]
    if not any(trial.rows for trial in trials):
        state = "no trial has reported a result yet" if is_sweep(folder) else "it is no folder of a sweep"
        raise BadData(f"{folder} cannot be read as a sweep: {state}; name the folder that the sweep printed")
    reporting = [trial for trial in trials if trial.rows]
    step = next(
        (name for name in STEPS if all(trial.last(name) is not None for trial in reporting)), STEPS[-1]
    )
    return SweepData(folder, trials, step, definition, tuple(notes))


def _read_trial(path: Path, definition: Row, notes: list[str]) -> TrialData:
    mine: list[str] = []
    raw = [flatten(row) for row in read_lines(path / "result.json", mine)]
    settings = flatten({"": read_object(path / "params.json", mine)})
    settings = {name.removeprefix("/"): value for name, value in settings.items()}
    error = path / "error.txt"
    text = error.read_text(encoding="utf-8", errors="replace") if error.is_file() else ""
    notes += [f"{path.name}: {note}" for note in mine]
    return TrialData(
        name=path.name,
        algorithm=str(
            settings.get("algorithm")
            or settings.get("method")
            or definition.get("trainable")
            or path.name.partition("_")[0]
        ),
        settings=settings,
        rows=newest_branch(raw, "training_iteration"),
        events=_optional(path / "events.jsonl"),
        evaluations=_optional(path / "evaluations.jsonl"),
        failures=len(_FAILURE.findall(text)),
        error=text.strip().rpartition("\n")[2],
        restores=_restores(raw),
    )


def _optional(path: Path) -> list[Row]:
    return read_lines(path, []) if path.is_file() else []


def _restores(rows: Sequence[Row]) -> int:
    """Results that are the first since a restore and yet not the first of the trial."""
    counts = [
        (number(row.get("iterations_since_restore")), number(row.get("training_iteration"))) for row in rows
    ]
    return sum(since == 1 and at is not None and at > 1 for since, at in counts)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else _written(value)


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _order(value: Any) -> tuple[int, float, str]:
    at = number(value)
    return (0, at, "") if at is not None else (1, 0.0, "" if value is None else str(value))
