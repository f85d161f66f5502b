"""Examine a trained team: record it with its channel whole, empty and shuffled, and write down what that says.

``communication.json`` and ``communication.npz`` in a run's folder are what ``rllib-ext plot`` draws.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rllib_ext.analysis.comm_records import Record, records_of, write_records
from rllib_ext.analysis.communication import RECORDING
from rllib_ext.contrastive_comm.recording import INBOXES, record


def examine(
    source: Any,
    folder: str | Path | None = None,
    episodes: int = 100,
    *,
    seed: int = 0,
    pictures: bool | None = None,
    timeout_s: float | None = None,
) -> list[Record]:
    """The records of a team; written into ``folder`` (made if missing) where one is given.

    source, seed, pictures, timeout_s: as of `recording.record`. episodes: the papers take 30, which leaves few episodes
    of each class to a probe; take more where they are cheap. A team without a channel has nothing to ablate.
    """
    asked: dict[str, Any] = {"seed": seed, "timeout_s": timeout_s}
    whole = record(source, episodes, pictures=pictures, **asked)
    ablated = [record(source, episodes, inbox=inbox, **asked) for inbox in INBOXES[1:]] if whole.talks else []
    records = records_of([whole, *ablated])
    if folder is not None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        whole.save(folder / RECORDING)
        write_records(records, folder)
    return records
