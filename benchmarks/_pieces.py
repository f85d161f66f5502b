"""Studies in cells: each is run once, in processes of their own, and stored as a JSON line, so a study may run in pieces.

A cell is a frozen dataclass of plain values; a row that has all of its values is its result.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._results import note
from benchmarks._session import ray_session

ROOT = Path(__file__).resolve().parent.parent
CELLS_A_PROCESS = 8  # a process that dies, or the end of a piece, costs at most the cell that it was at


@dataclass
class Store:
    """Finished cells, one JSON line each; appended under a lock."""

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.path.is_file():
            self.rows = [json.loads(line) for line in self.path.read_text().splitlines() if line.strip()]

    def has(self, cell: Any) -> bool:
        wanted = asdict(cell)
        return any(all(row[name] == value for name, value in wanted.items()) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        with self.lock:
            self.rows.append(row)
            with self.path.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


class Piece:
    """Runs what is missing of some cells, several processes side by side, until its time is over. ``module`` reads
    cells as JSON lines and prints a JSON line for each.
    """

    def __init__(
        self, store: Store, module: str, jobs: int, minutes: float, cells: int = CELLS_A_PROCESS
    ) -> None:
        self.store, self.module, self.jobs, self.cells = store, module, jobs, cells
        self.deadline = time.monotonic() + 60 * minutes
        self.failed: list[str] = []

    @property
    def over(self) -> bool:
        return time.monotonic() > self.deadline

    def run(self, cells: Iterable[Any]) -> bool:
        """Whether all cells are there afterwards."""
        missing = [cell for cell in cells if not self.store.has(cell)]
        note(f"{len(missing)} runs to do")
        batches = [missing[i : i + self.cells] for i in range(0, len(missing), self.cells)]
        threads = [threading.Thread(target=self._work, args=(batches,)) for _ in range(self.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return all(self.store.has(cell) for cell in missing)

    def _work(self, batches: list[list[Any]]) -> None:
        while not self.over:
            with self.store.lock:
                if not batches:
                    return
                batch = batches.pop(0)
            self._process(batch)

    def _process(self, batch: list[Any]) -> None:
        command = [sys.executable, "-m", self.module]
        log = self.store.path.with_suffix(".log")
        with log.open("a") as errors:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            process.stdin.write("".join(json.dumps(asdict(cell)) + "\n" for cell in batch))
            process.stdin.close()
            for line in process.stdout:
                if line.startswith("{"):
                    row = json.loads(line)
                    self.store.add(row)
                    known = [str(row[name]) for name in asdict(batch[0])]
                    note(f"{len(self.store.rows)}: {' '.join(known)}")
                if self.over:
                    process.terminate()
            if process.wait() and not self.over:
                self.failed.append(f"{asdict(batch[0])} and the {len(batch) - 1} after it: see {log}")


def serve(
    cell: Callable[..., Any],
    run: Callable[[Any], dict[str, Any]],
    session: Callable[[], AbstractContextManager[None]] = ray_session,
) -> int:
    """The whole of a cells' process: reads them from standard input, runs each, prints its row as a JSON line. session:
    what they run in; `contextlib.nullcontext` for cells that need no Ray.
    """
    cells = [cell(**json.loads(line)) for line in sys.stdin if line.strip()]
    with session():
        for one in cells:
            print(json.dumps(run(one)), flush=True)
    return 0
