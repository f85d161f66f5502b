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

import sys
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._offpolicy_claims import artefact, claims, retentions, table  # noqa: E402
from benchmarks._offpolicy_picture import offpolicy_figure  # noqa: E402
from benchmarks._offpolicy_plan import LRS, METHODS, quick_study, study, tuning  # noqa: E402
from benchmarks._offpolicy_runs import policy_of  # noqa: E402
from benchmarks._pieces import Piece, Store  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402


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
    piece = Piece(store, "benchmarks._offpolicy_runs", options.jobs, options.minutes)
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
