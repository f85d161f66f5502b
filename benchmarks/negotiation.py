"""Claim: what selfish and prosocial negotiators agree on hangs on the channel and on how a deal is closed
(arXiv 2101.10276, 1804.03980; spec B.7, E.3): the reduced setting, five seeds.

MLP negotiators, 2,000 batches of 128 games, judged greedily on the same 640 games every 500 batches. Reported with
Student intervals over seeds: worth to A and B, joint optimality, share agreed; and the directions of E.3, each true,
false or undecided, as differences over seeds or against the bound that the specification read off one seed.

Rows are appended to negotiation.jsonl and never run twice; --minutes ends a piece. No figure is a time.

    python -m benchmarks.negotiation [--quick] [--minutes 60] [--jobs 2]
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
from benchmarks._statistics import student_interval, verdict  # noqa: E402
from rllib_ext.analysis.figures import AMBER, BLUE, GREEN, PINK, heading, name_axes, new_figure  # noqa: E402

SEEDS = 5
BATCHES_AN_ITERATION, ITERATIONS = 500, 4
SETTINGS = {
    "selfish, none, accept": {"channels": "none"},
    "selfish, proposal, accept": {"channels": "proposal"},
    "selfish, none, match": {"channels": "none", "termination": "match"},
    "selfish, proposal, match": {"channels": "proposal", "termination": "match"},
    "selfish, linguistic, match": {"channels": "linguistic", "termination": "match"},
    "prosocial, none, accept": {"channels": "none", "reward": "prosocial"},
    "prosocial, proposal, accept": {"channels": "proposal", "reward": "prosocial"},
    "prosocial, linguistic, accept": {"channels": "linguistic", "reward": "prosocial"},
}
MEASURES = {"own_A": BLUE, "own_B": AMBER, "joint_optimality": GREEN, "agreed": PINK}
# Direction -> (setting, at which iteration, what of a point must be above 0).
DIRECTIONS: dict[str, tuple[str, int, Any]] = {
    "ultimatum without a channel: A >= 0.85": ("selfish, none, accept", 0, lambda p: p["own_A"] - 0.85),
    "ultimatum without a channel: B <= 0.15": ("selfish, none, accept", 0, lambda p: 0.15 - p["own_B"]),
    "match without a channel: agreed <= 0.1": ("selfish, none, match", 3, lambda p: 0.1 - p["agreed"]),
    "match with proposals: agreed >= 0.5": ("selfish, proposal, match", 3, lambda p: p["agreed"] - 0.5),
    "match with proposals: B above A": ("selfish, proposal, match", 3, lambda p: p["own_B"] - p["own_A"]),
    "match with cheap talk: agreed <= 0.1": ("selfish, linguistic, match", 3, lambda p: 0.1 - p["agreed"]),
    "prosocial, none: joint >= 0.8": ("prosocial, none, accept", 1, lambda p: p["joint_optimality"] - 0.8),
    "prosocial, proposal: joint >= 0.8": ("prosocial, proposal, accept", 1, lambda p: p["joint_optimality"] - 0.8),
    "prosocial, linguistic: joint >= 0.8": ("prosocial, linguistic, accept", 1, lambda p: p["joint_optimality"] - 0.8),
}  # fmt: skip

Row = dict[str, Any]


def cells(iterations: int = ITERATIONS, batches: int = BATCHES_AN_ITERATION) -> list[Cell]:
    settings = {"encoder": "mlp", "updates_per_iteration": batches}
    return [
        Cell(name, seed, "Negotiation", iterations, game, settings)
        for seed in range(SEEDS)
        for name, game in SETTINGS.items()
    ]


def points(rows: Sequence[Row], name: str, at: int) -> list[dict[str, float]]:
    return [row["curve"][at] for row in rows if row["name"] == name and len(row["curve"]) > at]


def table(rows: Sequence[Row]) -> dict[str, Any]:
    """Setting -> batches -> measure -> interval."""
    found: dict[str, Any] = {}
    for name in SETTINGS:
        for at in range(ITERATIONS):
            if seen := points(rows, name, at):
                found.setdefault(name, {})[str((at + 1) * BATCHES_AN_ITERATION)] = {
                    measure: student_interval([point[measure] for point in seen]) for measure in MEASURES
                }
    return found


def directions(rows: Sequence[Row]) -> dict[str, Any]:
    """Direction -> interval of its margin, and whether that is above 0."""
    found = {}
    for direction, (name, at, margin) in DIRECTIONS.items():
        if len(seen := points(rows, name, at)) > 1:
            interval = student_interval([margin(point) for point in seen])
            found[direction] = {**interval, "holds": verdict(interval)}
    return found


def figure(found: dict[str, Any]) -> Any:
    """The last judgement of every setting."""
    drawn, (axes,) = new_figure(10.0, 5.2, left=2.6, top=1.0)
    for place, (_name, rows) in enumerate(found.items()):
        last = list(rows.values())[-1]
        for offset, (measure, colour) in enumerate(MEASURES.items()):
            one = last[measure]
            error = 0.0 if one["low"] is None else one["mean"] - one["low"]
            axes.errorbar(one["mean"], place + 0.16 * (offset - 1.5), xerr=error, marker="o", markersize=4, capsize=2,
                          color=colour, label=measure.replace("_", " ") if place == 0 else None)  # fmt: skip
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xlim(-0.05, 1.05)
    if found:
        axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    name_axes(axes, "share, 640 greedy games", "")
    heading(
        drawn,
        "What negotiators agree on",
        "2,000 batches of 128 games; mean and 95 % interval over five seeds",
    )
    return drawn


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=2).parse_args()
    results = Results("negotiation", options)
    store = Store(results.folder / "negotiation.jsonl")
    piece = Piece(store, "benchmarks._emergent_runs", options.jobs, options.minutes)
    complete = piece.run(cells(1, 5)[:2] if options.quick else cells())
    found, held = table(store.rows), directions(store.rows)
    results.table([{"setting": row["name"], "seed": row["seed"], "iteration": at + 1, **point}
                   for row in store.rows for at, point in enumerate(row["curve"])])  # fmt: skip
    results.figure(figure(found))
    headline = {
        "complete": complete, "runs": len(store.rows),
        "directions": {name: one["holds"] for name, one in held.items()},
    }  # fmt: skip
    results.close(headline, table=found, directions=held)
    for line in piece.failed:
        note(f"failed: {line}")
    return int(bool(piece.failed))


if __name__ == "__main__":
    sys.exit(main())
