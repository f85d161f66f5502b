"""Claim: asynchronous online DPO is as good as synchronous online DPO and faster, by nearly what overlap can give.

Same model, engine (vLLM), task (controlled TL;DR, gold reward), number of updates and N = 1 in every mode. Three sides
alternate in one process tree (A B C A B C ...), a few rounds each, engines alive throughout, one side active at a time:

    sync        one thread in each phase; a round takes S = g + w + r + u
    async       one thread in each phase; a round should take A = max(g + w, r + u)
    best sync   in each phase the faster of one thread and all cores, as measured; left out where that is one thread

    speedup             S / A, the median over pairs of neighbouring segments, with a bootstrap 95 % interval
    ideal               S / max(g + w, r + u), the lanes measured in sync mode: all that the worker does for a round
                        against all that the driver does for it
    efficiency          speedup / ideal
    overlap_efficiency  the longer lane, as measured in async mode itself, over A: what scheduling loses, without what
                        two busy cores take from each other (caches, memory, clock)
    speedup_best_sync   best sync / A
    reward_*            gold reward on held-out prompts after the last update, with 95 % intervals

The setting is balanced (g + w = r + u) and found by the script: ``_balance.py``. Before that the scheduler alone is
checked on virtual devices that sleep (``_virtual.py``): round time within 10 % of max(g + w, r + u), and at g = u a
speedup of at least 1.7.

Validity. A sample is one segment. It is invalid where wall / CPU of a busy phase exceeds 1.2, or where others kept more
than 0.2 cores busy meanwhile (``_load.py``). Invalid samples are counted and left out; with fewer than 3 valid pairs
all are used and nothing is concluded. They never fail the claim.

Source: "Asynchronous RLHF" (arXiv 2410.18252), which reports 1.62 (8B) and 1.33 (2.8B).

    python -m benchmarks.async_vs_sync [--quick] [--pairs 7] [--rounds 8] [--mode both|virtual|real]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks import _comparison as comparison  # noqa: E402
from benchmarks import _segments, _virtual  # noqa: E402
from benchmarks._pictures import async_vs_sync_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._session import ray_session  # noqa: E402

TARGETS = {"speedup": 1.6, "efficiency": 0.90, "speedup_best_sync": 1.25}
LEAST_VALID_PAIRS = 3


def plan_of(options: Any) -> comparison.Plan:
    if options.quick:
        return comparison.Plan(
            pairs=2, rounds=2, repeats=1, sft_steps=40, evaluation_prompts=32, prompts=(32, 96), samples=(2,),
            shapes=comparison.SHAPES[:1],
        )  # fmt: skip
    return comparison.Plan(options.pairs, options.rounds, repeats=3, sft_steps=1500, evaluation_prompts=512)


def virtual_headline(table: list[dict[str, Any]]) -> dict[str, Any]:
    judged = [row for row in table if row["passed"] is not None]
    return {
        "virtual_passed": all(row["passed"] for row in judged),
        "virtual_speedup": table[0]["speedup"],
        "virtual_ideal": table[0]["ideal_speedup"],
        "virtual_worst_excess": max(row["excess"] for row in judged),
    }


def verdict(headline: dict[str, Any], segments: list[Any]) -> bool | None:
    """Whether the targets are met; None where too few pairs are valid to say."""
    sides = {segment.side for segment in segments}
    if len(_segments.valid_pairs(segments, sides)) < LEAST_VALID_PAIRS:
        return None
    return all(headline[name] >= target for name, target in TARGETS.items())


def main() -> int:
    parser = arguments(__doc__, pairs=7, rounds=8)
    parser.add_argument("--mode", choices=("both", "virtual", "real"), default="both")
    options = parser.parse_args()
    results = Results("async_vs_sync", options)
    headline: dict[str, Any] = {}
    details: dict[str, Any] = {"targets": TARGETS}
    table, segments = [], []
    with ray_session():
        if options.mode != "real":
            note("virtual devices")
            settings = _virtual.SETTINGS[: 2 if options.quick else None]
            table = _virtual.run_virtual(2 if options.quick else 3, 4 if options.quick else 8, settings)
            details["virtual"] = table
            headline |= virtual_headline(table)
        if options.mode != "virtual":
            segments, evaluations, details["calibration"] = comparison.run_real(plan_of(options))
            details["phases"] = comparison.phase_table(segments)
            details["evaluations"] = evaluations
            details["invalid"] = [
                {"side": s.side, "pair": s.pair, "why": s.invalid} for s in segments if s.invalid
            ]
            headline = {**comparison.figures(segments, evaluations), **headline}
            headline["reached"] = verdict(headline, segments)
    results.table(_segments.rows(segments) or table)
    results.figure(async_vs_sync_figure(headline, details, segments))
    results.close(headline, **details)
    failed = headline.get("reached") is False or headline.get("virtual_passed") is False
    return int(failed and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
