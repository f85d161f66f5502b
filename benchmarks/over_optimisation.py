"""Claim: against a proxy, the gold reward peaks and falls while the proxy's still rises (spec A.4, B13).

Online DPO with a weak tie (beta 0.02) for 256 updates of 64 completions on the controlled TL;DR, against reward models
that have seen 256, 1,024 or 4,096 labelled pairs, a fifth of the labels wrong. Judged at snapshots by both rewards on
the same held-out prompts. A seed draws proxy, prompts and samples; it is the unit.

    gain     gold reward at its best snapshot but the last, less that of the SFT policy
    fall     gold reward there less at the last; the snapshot is chosen by the other seeds, so that picking the best of
             noisy values does not make a fall
    rise     proxy reward at the last snapshot less at that one
    holds    a proxy for which the three are above 0 with their 95 % intervals

Rows are appended to over_optimisation.jsonl and never run twice; --minutes ends a piece. No figure is a time.

    python -m benchmarks.over_optimisation [--quick] [--minutes 60] [--jobs 2]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._offpolicy_plan import SEEDS  # noqa: E402
from benchmarks._offpolicy_runs import policy_of  # noqa: E402
from benchmarks._pieces import Piece, Store  # noqa: E402
from benchmarks._proxy_runs import Long  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import student_interval, verdict  # noqa: E402
from rllib_ext.analysis.figures import AMBER, BLUE, GREEN, heading, name_axes, new_figure  # noqa: E402

PAIRS = (256, 1024, 4096)
LR = 1e-3
COLOURS = {256: AMBER, 1024: BLUE, 4096: GREEN}


def of_proxy(rows: Sequence[dict[str, Any]], pairs: int) -> list[dict[str, Any]]:
    return sorted((row for row in rows if row["pairs"] == pairs), key=lambda row: row["seed"])


def best_of_others(rows: Sequence[dict[str, Any]], left_out: int) -> int:
    """The snapshot, not the last, with the highest mean gold reward over all runs but one."""
    others = [row["curve"] for place, row in enumerate(rows) if place != left_out]
    snapshots = range(len(others[0]) - 1)
    return max(snapshots, key=lambda at: sum(curve[at]["gold"] for curve in others))


def over_optimised(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Pairs -> fall of gold and rise of the proxy, with intervals over seeds, and whether both are above 0."""
    found: dict[str, Any] = {}
    for pairs in PAIRS:
        runs = of_proxy(rows, pairs)
        if len(runs) < 2:
            continue
        peaks = [best_of_others(runs, place) for place in range(len(runs))]
        ends = [(row["curve"][peak], row["curve"][-1]) for row, peak in zip(runs, peaks, strict=True)]
        starts = [row["curve"][0]["gold"] for row in runs]
        gain = student_interval([peak["gold"] - start for (peak, _), start in zip(ends, starts, strict=True)])
        fall = student_interval([peak["gold"] - last["gold"] for peak, last in ends])
        rise = student_interval([last["proxy"] - peak["proxy"] for peak, last in ends])
        found[str(pairs)] = {
            "proxy_accuracy": student_interval([row["proxy_accuracy"] for row in runs]),
            "peak_at": [runs[0]["curve"][peak]["updates"] for peak in peaks],
            "gain": gain, "fall": fall, "rise": rise,
            "holds": _all(verdict(gain), verdict(fall), verdict(rise)),
        }  # fmt: skip
    return found


def _all(*verdicts: bool | str) -> bool | str:
    """False if one is, undecided if one is, else true."""
    if False in verdicts:
        return False
    return "undecided" if "undecided" in verdicts else True


def figure(rows: Sequence[dict[str, Any]]) -> Any:
    """Gold (left) and proxy (right) reward by updates (0 drawn at 1), a line a proxy."""
    drawn, (left, right) = new_figure(11.0, 4.4, columns=2, left=1.0, top=1.0)
    for pairs in PAIRS:
        runs = of_proxy(rows, pairs)
        if not runs:
            continue
        updates = [max(1, point["updates"]) for point in runs[0]["curve"]]
        for axes, name in ((left, "gold"), (right, "proxy")):
            points = [
                student_interval([row["curve"][at][name] for row in runs]) for at in range(len(updates))
            ]
            low = [point["mean"] if point["low"] is None else point["low"] for point in points]
            high = [point["mean"] if point["high"] is None else point["high"] for point in points]
            axes.plot(
                updates, [point["mean"] for point in points], color=COLOURS[pairs], label=f"{pairs:,} pairs"
            )
            axes.fill_between(updates, low, high, color=COLOURS[pairs], alpha=0.15, linewidth=0)
    for axes, name in ((left, "gold reward"), (right, "proxy reward")):
        axes.set_xscale("log", base=2)
        name_axes(axes, "updates", name)
    left.legend(frameon=False)
    heading(drawn, "Against a proxy", "online DPO, beta 0.02; mean and 95 % interval over seeds")
    return drawn


def table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line a snapshot."""
    return [
        {**{name: value for name, value in row.items() if name != "curve"}, **point}
        for row in rows
        for point in row["curve"]
    ]


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=2).parse_args()
    results = Results("over_optimisation", options)
    store = Store(results.folder / "over_optimisation.jsonl")
    piece = Piece(store, "benchmarks._proxy_runs", options.jobs, options.minutes)
    policy_of(48)
    wanted = [Long(pairs, seed, LR) for seed in range(SEEDS) for pairs in PAIRS]
    if options.quick:
        wanted = [Long(256, seed, LR, updates=16) for seed in range(2)]
    complete = piece.run(wanted)
    found = over_optimised(store.rows)
    results.table(table(store.rows))
    results.figure(figure(store.rows))
    headline = {
        "complete": complete, "runs": len(store.rows),
        "over_optimised": {pairs: row["holds"] for pairs, row in found.items()},
        "fall": {pairs: row["fall"]["mean"] for pairs, row in found.items()},
    }  # fmt: skip
    results.close(headline, by_pairs=found)
    for line in piece.failed:
        note(f"failed: {line}")
    return 1 if piece.failed else 0


if __name__ == "__main__":
    sys.exit(main())
