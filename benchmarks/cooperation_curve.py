"""Claim: agents with partly opposed interests learn to communicate as far as both gain, and beyond that they do not
(arXiv 2101.10276; spec B.4, E.2): the sum of both losses over the bias, discrete and continuous messages, five seeds.

Published best hyper-parameters (``tuned_configs/_emergent_settings.py``), 30 epochs of 250 updates of 64 games through
`EmergentComm`; a run's score is the mean over its last 10 epochs. Reported:

    discrete     sum of losses by bias with Student intervals, beside the specification's re-run and the author's figure;
                 near: within 8 degrees of the re-run, or within 3 standard errors of it
    continuous   the same beside the author's figure; best_epoch: the least sum of a run after any of its epochs
    verdicts     communication, manipulation or none, by bias and channel, of the mean losses (margin 2 degrees)
    cpu_s        CPU seconds of all discrete runs together; the specification's numpy re-run took 155 elsewhere

Cells are appended to cooperation_curve.jsonl and never run twice; --minutes ends a piece.

    python -m benchmarks.cooperation_curve [--quick] [--minutes 60] [--jobs 2]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._emergent_runs import Cell  # noqa: E402
from benchmarks._pieces import Piece, Store  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import student_interval  # noqa: E402
from rllib_ext.analysis.cooperation import Pair, cooperation_figure  # noqa: E402
from rllib_ext.functional.games import verdict  # noqa: E402
from tuned_configs._emergent_settings import BIASES, EPOCHS, LAST, best  # noqa: E402

SEEDS = 5
NEAR_DEGREES, NEAR_ERRORS = 8.0, 3.0
RERUN = dict(zip(BIASES, (26.9, 72.1, 103.5, 123.5, 169.0, 179.2, 180.0), strict=True))
AUTHOR = {
    "discrete": dict(zip(BIASES, (28, 62, 105, 128, 168, 179, 180), strict=True)),
    "continuous": dict(zip(BIASES[:-1], (3, 30, 61, 92, 131, 163), strict=True)),
}
SPEC_CPU_S = 155.0
CELLS = 35  # a process: its start costs as much as two runs

Row = dict[str, Any]


def cells(channels: Sequence[str] = ("discrete", "continuous"), epochs: int = EPOCHS) -> list[Cell]:
    found = []
    for channel in channels:
        for seed in range(SEEDS):
            for bias in BIASES:
                settings, game = best(channel, bias)
                found.append(Cell(f"{channel} {bias}", seed, "SenderReceiver", epochs, game, settings))
    return found


def scores(rows: Sequence[Row], channel: str, bias: int, name: str) -> list[float]:
    """A figure of every run, as the mean over its last epochs."""
    return [
        sum(point[name] for point in row["curve"][-LAST:]) / len(row["curve"][-LAST:])
        for row in rows
        if row["name"] == f"{channel} {bias}"
    ]


def best_epochs(rows: Sequence[Row], channel: str, bias: int) -> list[float]:
    """Of every run, the least sum of losses after any of its epochs: what it found, whether or not it kept it."""
    mine = [row["curve"] for row in rows if row["name"] == f"{channel} {bias}"]
    return [min(point["loss_sum"] for point in curve) for curve in mine]


def table(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Channel -> bias -> intervals, references, verdict."""
    found: dict[str, dict[str, Any]] = {}
    for channel, author in AUTHOR.items():
        for bias in BIASES:
            sums = scores(rows, channel, bias, "loss_sum")
            if not sums:
                continue
            names = ("loss_sum", "sender_loss", "receiver_loss")
            names += ("mutual_information", "causal_influence") if channel == "discrete" else ()
            line: dict[str, Any] = {
                name: student_interval(scores(rows, channel, bias, name)) for name in names
            }
            line |= {
                "best_epoch": student_interval(best_epochs(rows, channel, bias)),
                "author": author.get(bias),
                "kind": verdict(line["sender_loss"]["mean"], line["receiver_loss"]["mean"]),
            }
            if channel == "discrete":
                line |= {"rerun": RERUN[bias], "near": near(sums, RERUN[bias])}
            found.setdefault(channel, {})[str(bias)] = line
    return found


def near(sums: Sequence[float], wanted: float) -> bool:
    """Within 8 degrees, or 3 standard errors, of the specification's figure."""
    mean = sum(sums) / len(sums)
    deviation = (sum((one - mean) ** 2 for one in sums) / max(1, len(sums) - 1)) ** 0.5
    return abs(mean - wanted) <= max(NEAR_DEGREES, NEAR_ERRORS * deviation / len(sums) ** 0.5)


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Every run's two losses, to be drawn."""
    found = []
    for channel in AUTHOR:
        for bias in BIASES:
            both = (scores(rows, channel, bias, name) for name in ("sender_loss", "receiver_loss"))
            found += [Pair(channel, float(bias), *losses) for losses in zip(*both, strict=True)]
    return found


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=2).parse_args()
    results = Results("cooperation_curve", options)
    store = Store(results.folder / "cooperation_curve.jsonl")
    piece = Piece(store, "benchmarks._emergent_runs", options.jobs, options.minutes, CELLS)
    wanted = cells(("discrete",), 2)[:2] if options.quick else cells()
    complete = piece.run(wanted)
    found = table(store.rows)
    results.table([{"run": row["name"], "seed": row["seed"], "epoch": at + 1, **point}
                   for row in store.rows for at, point in enumerate(row["curve"])])  # fmt: skip
    results.figure(cooperation_figure(pairs(store.rows), AUTHOR))
    discrete = found.get("discrete", {})
    spent = sum(row["cpu_s"] for row in store.rows if row["name"].startswith("discrete"))
    headline = {
        "complete": complete, "runs": len(store.rows), "discrete_cpu_s": spent, "specification_cpu_s": SPEC_CPU_S,
        "near": {bias: line["near"] for bias, line in discrete.items()},
        "sums": {
            channel: {bias: line["loss_sum"]["mean"] for bias, line in lines.items()}
            for channel, lines in found.items()
        },
        "kinds": {channel: {bias: line["kind"] for bias, line in lines.items()} for channel, lines in found.items()},
    }  # fmt: skip
    results.close(headline, table=found)
    for line in piece.failed:
        note(f"failed: {line}")
    return int(bool(piece.failed) or not all(line["near"] for line in discrete.values()))


if __name__ == "__main__":
    sys.exit(main())
