"""Claim: of models that answer equally well for the pairs they trained, a module network wired as a tree answers for all
others, wired as a chain for none (Bahdanau et al. 2019, the central claim; spec A1, C5).

mini-SQOOP: 8 bitmaps, 24 x 24 pixels, five objects, positives that cannot be counted, questions balanced exactly,
40,000 training scenes. Every model with 1, 2 and 4 right-hand objects for each left-hand one, three seeds (each of its
own pairs).

    table       accuracy on seen pairs in fresh scenes, and on unseen pairs, with Student intervals over seeds; the update
                at which the loss left ln 2. An unseen number is only to be read where the seen one is .95 or more
    gates       tree unseen >= .95; tree - chain >= .30; the blind control at .50 +- .03 on seen pairs: at 1 rhs/lhs
    gaps        tree - each generic model, unseen, over the seeds that both have: reported, not judged
    induction   mixtures of tree and chain that begin at p(tree) = .1, .5, .9: where p(tree) ends, and the accuracy;
                attention: which words the modules of a tree end up with

No figure is a time. Cells are appended to sqoop_mini.jsonl as they finish and never run twice; --minutes ends a piece.
A cell is 1 to 10 minutes on a core (relnet: 15); all of them 7 hours. --scale multiplies the updates: rows of another
study.

    python -m benchmarks.sqoop_mini [--quick] [--minutes 60] [--jobs 2] [--scale 1]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._pieces import Piece, Store  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._sqoop_runs import INDUCTION, Cell  # noqa: E402
from benchmarks._statistics import student_interval, verdict  # noqa: E402

UPDATES = {"film": 9000, "mac": 7000, "tree-find": 5000, "blind": 1000}  # 4,000 of all others
FIRST, GENERIC = ("tree", "chain", "blind"), ("film", "mac", "conv_rnn", "relnet-linear", "relnet")
MODELS = (*FIRST, "shortcut", "tree-find", *GENERIC)
RHS, SEEDS, P0S = (1, 2, 4), range(3), (0.1, 0.5, 0.9)
TREE, GAP, BLIND, LEARNT = 0.95, 0.30, 0.03, 0.95

Row = dict[str, Any]
Seeds = dict[int, float]


def study(scale: float) -> Iterator[Cell]:
    """What matters most first."""

    def cell(model: str, rhs: int, seed: int, p0: float = 0.0) -> Cell:
        return Cell(model, p0, rhs, seed, round(scale * UPDATES.get(model, 4000)))

    yield from (cell(model, 1, seed) for seed in SEEDS for model in FIRST)
    yield from (cell(model, 1, seed) for seed in SEEDS for model in MODELS if model not in FIRST)
    yield from (cell(INDUCTION[0], 1, seed, p0) for seed in SEEDS for p0 in P0S)
    yield from (cell(model, rhs, seed) for rhs in RHS[1:] for seed in SEEDS for model in MODELS)
    yield from (cell(INDUCTION[1], 1, seed, p0) for seed in SEEDS for p0 in P0S)
    yield from (cell("attention", 1, seed) for seed in SEEDS)
    yield from (cell(model, 4, seed, p0) for model in INDUCTION for seed in SEEDS for p0 in P0S)


def quick_study() -> list[Cell]:
    return [*(Cell(model, 0.0, 1, 0, 20) for model in FIRST), Cell(INDUCTION[0], 0.5, 1, 0, 20)]


def by_seed(rows: list[Row], model: str, rhs: int, name: str, p0: float = 0.0) -> Seeds:
    """Seed -> a figure of the runs."""
    wanted = (model, rhs, p0)
    return {
        row["seed"]: row[name]
        for row in rows
        if (row["model"], row["rhs"], row["p0"]) == wanted and row.get(name) is not None
    }


def table(rows: list[Row]) -> dict[str, Any]:
    """ "model, rhs, p0" -> figure -> interval over seeds."""
    names = ("acc_seen", "acc_unseen_test", "best_acc_unseen_test", "escape_step", "p_tree", "alpha_entropy",
             "alpha_correct", "cpu_seconds")  # fmt: skip
    found = {}
    for model, rhs, p0 in sorted({(row["model"], row["rhs"], row["p0"]) for row in rows}):
        figures = {name: by_seed(rows, model, rhs, name, p0) for name in names}
        key = f"{model}, rhs {rhs}" + (f", p0 {p0:g}" if p0 else "")
        found[key] = {name: student_interval(list(of.values())) for name, of in figures.items() if of}
        seen = figures["acc_seen"]
        found[key]["learnt"] = f"{sum(value >= LEARNT for value in seen.values())} of {len(seen)}"
    return found


def gaps(rows: list[Row]) -> dict[str, Any]:
    """tree - model on unseen pairs, over the seeds that both have, and whether that is above 0."""
    found = {}
    for rhs in RHS:
        tree = by_seed(rows, "tree", rhs, "acc_unseen_test")
        for model in MODELS[1:]:
            other = by_seed(rows, model, rhs, "acc_unseen_test")
            seeds = sorted(tree.keys() & other.keys())
            if len(seeds) > 1:
                one = student_interval([tree[seed] - other[seed] for seed in seeds])
                found[f"tree - {model}, rhs {rhs}"] = {**one, "above_0": verdict(one)}
    return found


def gates(rows: list[Row]) -> dict[str, Any]:
    """What is judged at 1 rhs/lhs; None where the runs are not there."""
    unseen = {model: list(by_seed(rows, model, 1, "acc_unseen_test").values()) for model in ("tree", "chain")}
    blind = list(by_seed(rows, "blind", 1, "acc_seen").values())
    mean = {model: sum(values) / len(values) for model, values in unseen.items() if values}
    both = len(mean) == 2
    return {
        "tree_unseen": mean.get("tree"),
        "tree_holds": mean["tree"] >= TREE if "tree" in mean else None,
        "tree_minus_chain": mean["tree"] - mean["chain"] if both else None,
        "gap_holds": mean["tree"] - mean["chain"] >= GAP if both else None,
        "blind_seen": sum(blind) / len(blind) if blind else None,
        "blind_holds": all(abs(value - 0.5) <= BLIND for value in blind) if blind else None,
    }


def pictures(rows: list[Row], options: Any, results: Results) -> None:
    """Accuracy by variety; p(tree) over the updates beside it."""
    from rllib_ext.analysis.sqoop_plots import accuracy_by_variety, layout_over_time

    plain = [row for row in rows if not row["p0"] and row["model"] != "attention"]
    results.figure(accuracy_by_variety(plain))
    curves: dict[str, list[Any]] = {}
    for row in sorted(rows, key=lambda row: (row["model"], row["rhs"], row["p0"])):
        if row["p0"]:
            name = f"{row['model'].removeprefix('mixture-')}, {row['rhs']} rhs/lhs"
            curve = [(0, row["p0"]), *((point["update"], point["p_tree"]) for point in row["curve"])]
            curves.setdefault(name, []).append(curve)
    if curves:
        Results("sqoop_mini", options, "layout").figure(layout_over_time(curves))


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=2, scale=1.0).parse_args()
    results = Results("sqoop_mini", options)
    store = Store(results.folder / "sqoop_mini.jsonl")
    piece = Piece(store, "benchmarks._sqoop_runs", options.jobs, options.minutes)
    cells = quick_study() if options.quick else list(study(options.scale))
    complete = piece.run(cells)
    rows = [row for row in store.rows if any(_is(row, cell) for cell in cells)]
    results.table([{name: value for name, value in row.items() if name != "curve"} for row in rows])
    if rows:
        pictures(rows, options, results)
    judged = gates(rows)
    headline = {"complete": complete, "runs": len(rows), **judged}
    results.close(headline, table=table(rows), gaps=gaps(rows))
    for line in piece.failed:
        note(f"failed: {line}")
    held = [value for name, value in judged.items() if name.endswith("_holds")]
    return 1 if piece.failed or (not options.quick and False in held) else 0


def _is(row: Row, cell: Cell) -> bool:
    return all(row[name] == value for name, value in vars(cell).items())


if __name__ == "__main__":
    sys.exit(main())
