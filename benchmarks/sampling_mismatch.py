"""Sampler and learner disagree about log-probabilities: what it costs, what the known switches bring (spec B8, B2b).

Controlled synthetic TL;DR, gold reward, the rates that ``offpolicyness`` chose; judged by the gold win rate of the policy
after equal updates, sampled from without noise. A seed is the unit; differences are within it.

    gate         mean |log pi - log mu| of a sampler of the same type, without noise: below 1e-4
    noise        win rate by sigma, with and without truncated importance weights (cap 2), N = 1: PPO with its own
                 old log-probabilities and vanilla RLOO; the share of the loss that the weights give back
    temperature  the learner at temperature 1 while 0.7 is sampled from, N = 1 and 16: DPO and PPO
    ties         DPO with tied pairs kept, N = 1 and 16

Rows are appended to sampling_mismatch.jsonl and never run twice; --minutes ends a piece. No figure is a time.

    python -m benchmarks.sampling_mismatch [--quick] [--minutes 60] [--jobs 2]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._mismatch_picture import mismatch_figure  # noqa: E402
from benchmarks._mismatch_runs import Mismatch  # noqa: E402
from benchmarks._offpolicy_claims import by_seed, paired  # noqa: E402
from benchmarks._offpolicy_plan import SEEDS  # noqa: E402
from benchmarks._offpolicy_runs import policy_of  # noqa: E402
from benchmarks._pieces import Piece, Store  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import student_interval  # noqa: E402

LR = 1e-3  # every method's, chosen on policy by the off-policyness study
SIGMAS = (0.0, 0.05, 0.2, 1.0)  # the specification's three, and one that must hurt
NOISY = ("ppo", "rloo_vanilla")
SAME_TYPE = 1e-4


def cells() -> Iterator[Mismatch]:
    for seed in range(SEEDS):
        for sigma in SIGMAS:
            for method in NOISY:
                for corrected in (False, True):
                    yield Mismatch("noise", method, 1, seed, LR, sigma, corrected)
        for switched in (False, True):
            for n in (1, 16):
                yield Mismatch("ties", "dpo", n, seed, LR, switched=switched)
                for method in ("dpo", "ppo"):
                    yield Mismatch("temperature", method, n, seed, LR, switched=switched)


def quick_cells() -> list[Mismatch]:
    return [
        Mismatch("noise", "ppo", 1, 0, LR, 0.2, True, updates=4),
        Mismatch("noise", "rloo_vanilla", 1, 0, LR, 0.0, updates=4),
        Mismatch("temperature", "dpo", 2, 0, LR, switched=True, updates=4),
        Mismatch("ties", "dpo", 2, 0, LR, switched=True, updates=4),
    ]


def noise_table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Method -> sigma -> win rates without and with weights, the loss by noise, and what the weights give back of it."""
    found: dict[str, Any] = {}
    for method in NOISY:
        own = {"part": "noise", "method": method}
        calm = by_seed(rows, **own, sigma=0.0, corrected=False)
        for sigma in SIGMAS:
            plain = by_seed(rows, **own, sigma=sigma, corrected=False)
            weighted = by_seed(rows, **own, sigma=sigma, corrected=True)
            if not plain or not weighted:
                continue
            found.setdefault(method, {})[str(sigma)] = {
                "plain": student_interval(list(plain.values())),
                "weighted": student_interval(list(weighted.values())),
                "difference": student_interval(
                    list(by_seed(rows, "logp_diff_mean", **own, sigma=sigma, corrected=False).values())
                ),
                "loss": paired(calm, plain),
                "given_back": paired(weighted, plain),
            }
    return found


def switches(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a switch does to the win rate: as the published code has it, less the package's way."""
    found = {}
    for part, methods in (("temperature", ("dpo", "ppo")), ("ties", ("dpo",))):
        for method in methods:
            for n in (1, 16):
                own = {"part": part, "method": method, "n": n}
                effect = paired(by_seed(rows, **own, switched=True), by_seed(rows, **own, switched=False))
                if effect is not None:
                    found[f"{part} {method} N={n}"] = effect
    return found


def gate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The largest mean |log pi - log mu| of a run without noise at the same temperature."""
    calm = [
        row["logp_diff_mean"]
        for row in rows
        if row["sigma"] == 0 and not (row["part"] == "temperature" and row["switched"])
    ]
    largest = max(calm, default=float("nan"))
    return {"largest": largest, "limit": SAME_TYPE, "ok": largest < SAME_TYPE}


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=2).parse_args()
    results = Results("sampling_mismatch", options)
    store = Store(results.folder / "sampling_mismatch.jsonl")
    piece = Piece(store, "benchmarks._mismatch_runs", options.jobs, options.minutes)
    policy_of(48)
    complete = piece.run(quick_cells() if options.quick else cells())
    table, found, same = noise_table(store.rows), switches(store.rows), gate(store.rows)
    results.table(store.rows)
    results.figure(mismatch_figure(table, found))
    loss = {
        m: {s: row["loss"] and row["loss"]["mean"] for s, row in rows.items()} for m, rows in table.items()
    }
    headline = {
        "complete": complete, "runs": len(store.rows), "same_type_difference": same["largest"], "gate": same["ok"],
        "loss_by_noise": loss, "switches": {name: row["mean"] for name, row in found.items()},
    }  # fmt: skip
    results.close(headline, noise=table, switches=found, gate=same)
    for line in piece.failed:
        note(f"failed: {line}")
    return 1 if piece.failed or not same["ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
