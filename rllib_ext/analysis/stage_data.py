"""Reading what a supervised stage adds to a run folder: its updates, its comparisons, its figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rllib_ext.analysis.rows import Row, newest_branch, number, read_lines, read_object
from rllib_ext.analysis.run_data import RunData
from rllib_ext.registry import STAGES


@dataclass(frozen=True)
class StageRun:
    """updates: a row an optimizer update; comparisons: a row a held-out comparison; diagnostics: padding and positions;
    finished: stage.json, {} while the stage goes on.
    """

    name: str
    updates: list[Row] = field(default_factory=list)
    comparisons: list[Row] = field(default_factory=list)
    diagnostics: Row = field(default_factory=dict)
    finished: Row = field(default_factory=dict)

    def series(self, key: str) -> list[tuple[float, float]]:
        """(update, value) of every update that has both."""
        pairs = ((number(row.get("update")), number(row.get(key))) for row in self.updates)
        return [(at, value) for at, value in pairs if at is not None and value is not None]

    @property
    def metrics(self) -> Row:
        found = self.finished.get("metrics")
        return found if isinstance(found, dict) else {}


def is_stage(run: RunData) -> bool:
    """Whether the run is one of a supervised stage, by its configuration."""
    return run.config.get("algorithm") in STAGES


def load_stage(run: RunData) -> StageRun:
    """What the stage has written so far; a file that is not there yet is empty."""
    notes: list[str] = []

    def lines(name: str) -> list[Row]:
        return read_lines(run.folder / name, notes)

    def whole(name: str) -> Row:
        return read_object(Path(run.folder) / name, notes)

    return StageRun(
        name=str(run.config["algorithm"]),
        updates=newest_branch(lines("updates.jsonl"), "update"),
        comparisons=lines("comparisons.jsonl"),
        diagnostics=whole("reward_diagnostics.json"),
        finished=whole("stage.json"),
    )
