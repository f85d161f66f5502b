"""Reading a run folder. Nothing else in the package opens its files for analysis.

A run folder is read while it is written, after a crash and after a resume, so a missing file, a torn last
line and iterations that were done twice are normal (``rows``); what was left out is said in ``notes``. What
is not normal is a folder that holds no run: that is ``BadData``, with the runs below it when there are some.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rllib_ext.analysis.intervals import Interval
from rllib_ext.analysis.rows import Row, flatten, newest_branch, number, read_lines, read_object
from rllib_ext.errors import BadData
from rllib_ext.registry import STAGES

#: The name under which results count optimizer updates; the x axis of every curve.
UPDATES = "num_updates_lifetime"


@dataclass(frozen=True)
class RunData:
    """One run, read. Rows keep their file's order; results are flat with "/" between the levels."""

    folder: Path
    run: Row = field(default_factory=dict)
    config: Row = field(default_factory=dict)
    results: list[Row] = field(default_factory=list)
    rounds: list[Row] = field(default_factory=list)
    timeline: list[Interval] = field(default_factory=list)
    evaluations: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def series(self, key: str, x: str = UPDATES) -> list[tuple[float, float]]:
        """(x, value) of every result that has both as finite numbers."""
        pairs = ((number(row.get(x)), number(row.get(key))) for row in self.results)
        return [(at, value) for at, value in pairs if at is not None and value is not None]

    def last(self, key: str) -> float | None:
        """The newest finite value of a result key; None if it never had one."""
        return next((v for row in reversed(self.results) if (v := number(row.get(key))) is not None), None)

    @property
    def resumed_at(self) -> list[float]:
        """When the run was resumed, by its event log."""
        times = (number(row.get("time")) for row in self.events if "resumed" in str(row.get("event", "")))
        return [time for time in times if time is not None]


def load_run(folder: str | Path) -> RunData:
    """Read the run in ``folder``.

    Raises:
        BadData: if the folder is missing, is a file, or holds neither ``run.json`` nor ``result.json``.
    """
    folder = Path(folder)
    _require_run(folder)
    notes: list[str] = []

    def lines(name: str) -> list[Row]:
        return read_lines(folder / name, notes)

    results = [flatten(row) for row in lines("result.json")]
    config = read_object(folder / "config.json", notes)
    common = {
        "folder": folder,
        "run": read_object(folder / "run.json", notes),
        "config": config,
        "results": newest_branch(results, "training_iteration"),
    }
    if (
        config.get("algorithm") in STAGES
    ):  # a supervised stage has no rounds, timeline, evaluations and samples
        return RunData(**common, events=lines("events.jsonl"), notes=tuple(notes))
    return RunData(
        **common,
        rounds=newest_branch(lines("rounds.jsonl"), "round"),
        timeline=_intervals(lines("timeline.jsonl"), notes),
        evaluations=newest_branch(lines("evaluations.jsonl"), "updates", ("split",)),
        samples=newest_branch(lines("samples.jsonl"), "updates", ("split", "id")),
        events=lines("events.jsonl"),
        notes=tuple(notes),
    )


def _require_run(folder: Path) -> None:
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise BadData(f"run folder {folder} {state}; name the folder that a run printed when it started.")
    if any((folder / name).is_file() for name in ("run.json", "result.json")):
        return
    below = sorted({path.parent.name for path in folder.glob("*/result.json")})
    hint = f" Runs below it: {', '.join(below[:5])}." if below else ""
    raise BadData(f"{folder} is not a run folder: it has neither run.json nor result.json.{hint}")


def _intervals(rows: list[Row], notes: list[str]) -> list[Interval]:
    """Rows with a start, an end not before it, a role and a who; rows of another shape are counted in a
    note.
    """
    found = []
    for row in rows:
        start, end = number(row.get("start")), number(row.get("end"))
        role, who = row.get("role"), row.get("who")
        if (
            start is None
            or end is None
            or end < start
            or not isinstance(role, str)
            or not isinstance(who, str)
        ):
            continue
        found.append(Interval(role, who, start, end, _whole(row.get("round")), _whole(row.get("version"))))
    if len(found) < len(rows):
        notes.append(
            f"timeline.jsonl: {len(rows) - len(found)} row(s) without a valid start and end left out"
        )
    return found


def _whole(value: object) -> int | None:
    found = number(value)
    return None if found is None else int(found)
