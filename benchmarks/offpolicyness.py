"""The off-policyness study: gold reward and KL by N for online DPO, PPO, RLOO and best-of-2 (spec A.6, B2-B5, B2b).

Controlled synthetic TL;DR with its gold reward; equal updates and completions for every method; N mini-batches are
generated with one set of weights and then learnt from in N updates. A learning rate a method is chosen on policy, with
seeds of its own. Reported, not gated (``_offpolicy_claims.py``):

    table        win rate over noisy references, gold reward, KL, perplexity by method and N, 95 % intervals over seeds
    retention    win(N) / win(1), beside the paper's
    claims       A5 (one step behind costs nothing), A6 (DPO keeps most), A7 (more so in larger models), A8, A9:
                 true, false or undecided, with the intervals behind it
    artefact     what stepping the learning rate by generation round, as the published code does, costs at N = 16 and 64

Cells are appended to offpolicyness.jsonl as they finish and never run twice, so the study may run in pieces; --minutes
ends a piece. No figure is a time, so a busy machine changes nothing.

    python -m benchmarks.offpolicyness [--quick] [--minutes 60] [--jobs 2]
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._offpolicy_claims import artefact, claims, retentions, table  # noqa: E402
from benchmarks._offpolicy_picture import offpolicy_figure  # noqa: E402
from benchmarks._offpolicy_plan import LRS, METHODS, Cell, quick_study, study, tuning  # noqa: E402
from benchmarks._offpolicy_runs import policy_of  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402

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

    def has(self, cell: Cell) -> bool:
        wanted = asdict(cell)
        return any(all(row[name] == value for name, value in wanted.items()) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        with self.lock:
            self.rows.append(row)
            with self.path.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


class Piece:
    """Runs what is missing of some cells, several processes side by side, until its time is over."""

    def __init__(self, store: Store, jobs: int, minutes: float) -> None:
        self.store, self.jobs = store, jobs
        self.deadline = time.monotonic() + 60 * minutes
        self.failed: list[str] = []

    @property
    def over(self) -> bool:
        return time.monotonic() > self.deadline

    def run(self, cells: Iterable[Cell]) -> bool:
        """Whether all cells are there afterwards."""
        missing = [cell for cell in cells if not self.store.has(cell)]
        note(f"{len(missing)} runs to do")
        batches = [missing[i : i + CELLS_A_PROCESS] for i in range(0, len(missing), CELLS_A_PROCESS)]
        threads = [threading.Thread(target=self._work, args=(batches,)) for _ in range(self.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return all(self.store.has(cell) for cell in missing)

    def _work(self, batches: list[list[Cell]]) -> None:
        while not self.over:
            with self.store.lock:
                if not batches:
                    return
                batch = batches.pop(0)
            self._process(batch)

    def _process(self, batch: list[Cell]) -> None:
        command = [sys.executable, "-m", "benchmarks._offpolicy_runs"]
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
                    note(
                        f"{len(self.store.rows)}: {row['study']} {row['method']} N={row['n']} seed {row['seed']}"
                    )
                if self.over:
                    process.terminate()
            if process.wait() and not self.over:
                self.failed.append(f"{batch[0].key} and the {len(batch) - 1} after it: see {log}")


def rates(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The learning rate of each method: the highest mean win rate on policy, over the seeds that are for choosing."""
    chosen = {}
    for method in METHODS:
        wins = {
            lr: [
                row["win_rate"]
                for row in rows
                if (row["study"], row["method"], row["lr"]) == ("lr", method, lr)
            ]
            for lr in LRS
        }
        chosen[method] = max(wins, key=lambda lr: sum(wins[lr]) / len(wins[lr]))
    return chosen


def headline_of(rows: list[dict[str, Any]], complete: bool, chosen: dict[str, float]) -> dict[str, Any]:
    found, kept = claims(rows), retentions(rows)
    return {
        "complete": complete,
        "runs": len(rows),
        "learning_rates": chosen,
        "retention_16": {name: kept[name]["16"]["mean"] for name in kept if "16" in kept[name]},
        "retention_64": {name: kept[name]["64"]["mean"] for name in kept if "64" in kept[name]},
        "claims": {name: claim["holds"] for name, claim in found.items()},
    }


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=2).parse_args()
    results = Results("offpolicyness", options)
    store = Store(results.folder / "offpolicyness.jsonl")
    piece = Piece(store, options.jobs, options.minutes)
    policy_of(48)
    if options.quick:
        chosen = dict.fromkeys(METHODS, 3e-4)
        complete = piece.run(quick_study())
    else:
        complete = piece.run(tuning())
        chosen = rates(store.rows) if complete else {}
        for width in (32, 96):
            policy_of(width)
        complete = complete and piece.run(study(chosen))
    reported = [row for row in store.rows if row["study"] != "lr"]
    results.table(store.rows)
    results.figure(offpolicy_figure(table(reported), retentions(reported)))
    details = {"table": table(reported), "retention": retentions(reported), "claims": claims(reported)}
    results.close(headline_of(reported, complete, chosen), **details, artefact=artefact(reported))
    for line in piece.failed:
        note(f"failed: {line}")
    return 1 if piece.failed else 0


if __name__ == "__main__":
    sys.exit(main())
