"""What was measured of how agents communicate: flat records, out of recordings, into ``communication.json`` and back.

A record is one number of one run. Its ``measure`` and ``detail``:

============================  =========================================================================================
success, return, length, ...  mean over the recorded episodes; detail: the ablation of the inbox, "" for none
probe/linear, probe/mlp       accuracy of a probe, mean over agents; detail: the label
probe/<kind>_shuffled         the same probe trained on shuffled labels
probe/majority                of always saying the most frequent class, 1 over the number of classes
transfer/<kind>               trained on the first agent, scored on the last; detail: the label
symmetry/raw, half, mean      mean cosine of messages as they are, less 0.5, less their mean; ``*_shuffled``: the control
cross_play/<result>           of a team of two runs; detail: the run that the second half of the agents comes from
curve/<result>                of training, at ``step`` environment steps
============================  =========================================================================================

A number that does not exist (no channel, nothing to tell apart, no such fact) is no record.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from rllib_ext.analysis.comm_labels import Label, labels_of
from rllib_ext.analysis.probes import KINDS, Probe, probe, transfer_probe
from rllib_ext.analysis.protocol_symmetry import protocol_symmetry
from rllib_ext.analysis.recordings import Recording
from rllib_ext.analysis.rows import number
from rllib_ext.errors import BadData
from rllib_ext.runtime.json_values import decode, encode

FILE = "communication.json"
VERSION = 1
#: Agents whose messages are probed one by one; of a larger team the first ones.
MOST_AGENTS = 4


@dataclass(frozen=True)
class Record:
    """One number of one run; see the module."""

    method: str
    env: str
    seed: int | None
    measure: str
    value: float
    detail: str = ""
    step: float | None = None

    @property
    def run(self) -> str:
        return run_name(self.method, self.seed)


def run_name(method: str, seed: int | None) -> str:
    """How a run is called in a cross-play matrix."""
    return f"{method}/{seed}"


def records_of(
    recordings: Iterable[Recording], kinds: Sequence[str] = KINDS, splits: int = 2
) -> list[Record]:
    """Everything that recordings say: results of all, probes and symmetry of those whose channel was left alone."""
    records: list[Record] = []
    for recording in recordings:
        inbox = recording.about["inbox"]
        found = [(name, recording.mean(name), "" if inbox == "none" else inbox) for name in recording.results]
        if inbox == "none" and recording.talks:
            found += [*_symmetries(recording), *_probes(recording, kinds, splits)]
        records += _records(recording.about, found)
    return records


def cross_play_records(
    teams: Mapping[tuple[int, int], Recording], runs: Sequence[tuple[str, int]]
) -> list[Record]:
    """teams: (run of the first half, run of the second half) -> their recording; runs: (method, seed) of each number."""
    records = []
    for (first, second), team in teams.items():
        method, seed = runs[first]
        about = {**team.about, "method": method, "seed": seed}
        partner = run_name(*runs[second])
        records += _records(
            about, [(f"cross_play/{name}", team.mean(name), partner) for name in team.results]
        )
    return records


def _records(about: Mapping[str, Any], found: Iterable[tuple[str, float, str]]) -> list[Record]:
    run = about["method"], about["env"], about["seed"]
    return [Record(*run, name, value, detail) for name, value, detail in found if math.isfinite(value)]


def _symmetries(recording: Recording) -> list[tuple[str, float, str]]:
    if recording.spoken.shape[0] < 2 or recording.spoken.shape[1] < 2:
        return []
    return [
        (f"symmetry/{name}", value, "") for name, value in asdict(protocol_symmetry(recording.spoken)).items()
    ]


def _probes(recording: Recording, kinds: Sequence[str], splits: int) -> list[tuple[str, float, str]]:
    agents = recording.messages.shape[1]
    found: list[tuple[str, float, str]] = []
    for label in labels_of(recording):
        asked = [_asked(recording, label, agent) for agent in range(min(agents, MOST_AGENTS))]
        for kind in kinds:
            each = [result for of in asked if (result := probe(*of, kind=kind, splits=splits)) is not None]
            found += _means(each, kind, label.name)
            if kind == kinds[0]:
                ends = _asked(recording, label, 0), _asked(recording, label, agents - 1)
                transferred = transfer_probe(*ends, kind=kind, splits=splits) if agents > 1 else None
                if transferred is not None:
                    found.append((f"transfer/{kind}", transferred.accuracy, label.name))
                found += [("probe/majority", _mean(each, "majority"), label.name)] if each else []
    return found


def _asked(recording: Recording, label: Label, agent: int) -> tuple[Any, Any, Any]:
    rows = label.asked[:, agent]
    return recording.messages[rows, agent], label.values[rows, agent], recording.episode[rows]


def _means(probes: Sequence[Probe], kind: str, label: str) -> list[tuple[str, float, str]]:
    if not probes:
        return []
    return [
        (f"probe/{kind}", _mean(probes, "accuracy"), label),
        (f"probe/{kind}_shuffled", _mean(probes, "shuffled"), label),
    ]


def _mean(probes: Sequence[Probe], name: str) -> float:
    return float(np.mean([getattr(found, name) for found in probes]))


def write_records(records: Iterable[Record], folder: Path) -> Path:
    """Write ``communication.json`` into the folder."""
    path = folder / FILE
    rows = [asdict(record) for record in records]
    path.write_bytes(encode({"version": VERSION, "records": rows}, FILE))
    return path


def read_records(path: Path) -> list[Record]:
    """The records of a file. Raises BadData where it is missing or holds something else."""
    try:
        value = decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read as records of communication: {error}") from error
    rows = value.get("records") if isinstance(value, dict) and value.get("version") == VERSION else None
    names = {field.name for field in fields(Record)}
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(row) == names for row in rows):
        raise BadData(
            f"{path} holds no records of version {VERSION}: each must have {sorted(names)}; write it again with "
            "comm_records.write_records"
        )
    return [_checked(row, path) for row in rows]


def _checked(row: dict[str, Any], path: Path) -> Record:
    texts = all(isinstance(row[name], str) for name in ("method", "env", "measure", "detail"))
    seed, step = row["seed"], row["step"]
    whole = seed is None or (isinstance(seed, int) and not isinstance(seed, bool))
    numbers = number(row["value"]) is not None and (step is None or number(step) is not None)
    if not (texts and whole and numbers):
        raise BadData(f"{path} has a record with a field of the wrong kind: {row!r}; write it again")
    return Record(**row)
