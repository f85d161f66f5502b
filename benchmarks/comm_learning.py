"""Claim: messages that are learnt contrastively are worth more than those of an autoencoder, and both more than none, in
the small setting of the specification (CACL, its ranking; spec E.1 and E.3).

Beacon (three agents, 5 x 5 cells, 12 steps): some agents see the goal, the others can only be told. It was made to
expose the mechanism: a goal that stays for an episode beside positions of one's own that change at every step. Methods
differ in what the message head learns from and in nothing else; equal environment steps, five seeds, the package's
defaults. Reported with Student intervals over seeds:

    table        final success (256 episodes), length; what emptying or shuffling inboxes costs; protocol symmetry with
                 its shuffled control; probes (split by episode) with their baselines; transfer probe
    orderings    which of the paper's hold: CACL > AEComm > no communication, CACL > positive listening and DIAL, more
                 symmetric than AEComm, emptying the inbox costs: true, false or undecided, with the interval

Cells are appended to comm_learning.jsonl as they finish and never run twice; --minutes ends a piece. No figure is a time.

    python -m benchmarks.comm_learning [--quick] [--minutes 60] [--jobs 2]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._comm_picture import comm_figure  # noqa: E402
from benchmarks._comm_runs import Cell  # noqa: E402
from benchmarks._pieces import Piece, Store  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import student_interval, verdict  # noqa: E402

METHODS = ("none", "random", "aecomm", "cacl", "positive_listening", "dial")
WIDE = ("none", "aecomm", "cacl")  # also with messages of ten numbers
SEEDS = range(5)
STEPS, WIDE_STEPS = 200_000, 160_000

Row = dict[str, Any]
Seeds = dict[int, float]


def study() -> Iterator[Cell]:
    """What matters most first."""
    for seed in SEEDS:
        for method in METHODS:
            yield Cell(method, 4, seed, STEPS)
    for seed in SEEDS:
        for method in WIDE:
            yield Cell(method, 10, seed, WIDE_STEPS)


def quick_study() -> list[Cell]:
    return [Cell(method, 4, 0, 4096) for method in ("none", "cacl")]


def by_seed(rows: list[Row], method: str, dim: int, name: str) -> Seeds:
    """Seed -> a figure of the run: ``success``, ``length``, or a record's measure, with its detail after a slash."""
    found: Seeds = {}
    for row in rows:
        if (row["method"], row["dim"]) == (method, dim):
            measures = {_title(record): record["value"] for record in row["records"]}
            value = row.get(name, measures.get(name))
            if value is not None:
                found[row["seed"]] = value
    return found


def _title(record: Row) -> str:
    return f"{record['measure']}/{record['detail']}" if record["detail"] else record["measure"]


def table(rows: list[Row]) -> dict[str, Any]:
    """Message size -> method -> figure -> interval over seeds; every record that the runs have."""
    found: dict[str, Any] = defaultdict(dict)
    for dim, method in sorted({(row["dim"], row["method"]) for row in rows}):
        names = {_title(record) for row in rows for record in row["records"] if row["method"] == method}
        figures = {name: by_seed(rows, method, dim, name) for name in ("success", "length", *sorted(names))}
        found[str(dim)][method] = {
            name: student_interval(list(of.values())) for name, of in figures.items() if of
        }
    return dict(found)


def difference(one: Seeds, other: Seeds) -> dict[str, Any]:
    """one - other over the seeds that both have, and whether it is above 0."""
    seeds = sorted(one.keys() & other.keys())
    if len(seeds) < 2:
        return {"mean": None, "low": None, "high": None, "n": len(seeds), "holds": "undecided"}
    found = student_interval([one[seed] - other[seed] for seed in seeds])
    return {**found, "holds": verdict(found)}


def orderings(rows: list[Row]) -> dict[str, Any]:
    """The paper's rankings, by message size."""
    found = {}
    for dim in (4, 10):

        def of(method: str, name: str = "success", dim: int = dim) -> Seeds:
            return by_seed(rows, method, dim, name)

        pairs = {
            "cacl above aecomm": (of("cacl"), of("aecomm")),
            "aecomm above none": (of("aecomm"), of("none")),
            "cacl above none": (of("cacl"), of("none")),
            "cacl above positive_listening": (of("cacl"), of("positive_listening")),
            "cacl above dial": (of("cacl"), of("dial")),
            "cacl more symmetric than aecomm": tuple(
                of(name, "symmetry/mean") for name in ("cacl", "aecomm")
            ),
            "emptying cacl's inbox costs": (of("cacl"), of("cacl", "success/zero")),
        }
        known = {name: pair for name, pair in pairs.items() if pair[0] and pair[1]}
        found[f"D = {dim}"] = {name: difference(*pair) for name, pair in known.items()}
    return found


def headline_of(rows: list[Row], complete: bool) -> dict[str, Any]:
    success = {
        f"{method}, D = {dim}": student_interval(list(by_seed(rows, method, dim, "success").values()))["mean"]
        for dim, method in sorted({(row["dim"], row["method"]) for row in rows})
    }
    hold = {size: {name: one["holds"] for name, one in of.items()} for size, of in orderings(rows).items()}
    return {"complete": complete, "runs": len(rows), "success": success, "orderings": hold}


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=2).parse_args()
    results = Results("comm_learning", options)
    store = Store(results.folder / "comm_learning.jsonl")
    piece = Piece(store, "benchmarks._comm_runs", options.jobs, options.minutes)
    complete = piece.run(quick_study() if options.quick else list(study()))
    rows = store.rows
    plain = [
        {name: row[name] for name in ("method", "dim", "seed", "steps", "success", "length")} for row in rows
    ]
    for row, one in zip(rows, plain, strict=True):
        one |= {_title(record): record["value"] for record in row["records"]}
    results.table(plain)
    results.figure(comm_figure(rows))
    results.close(headline_of(rows, complete), table=table(rows), orderings=orderings(rows))
    for line in piece.failed:
        note(f"failed: {line}")
    return 1 if piece.failed else 0


if __name__ == "__main__":
    sys.exit(main())
