"""Question: how many times the samples does a reward cost where a label could be had? (no claim is made; SQOOP, mini)

The same NMN-Tree on the same questions learns from labels (cross-entropy) or from rewards of answers that it draws
(REINFORCE, `benchmarks._sqoop_reward_runs`), at the batch and rate at which rewards work at all. Of two answers a reward
tells the label, only more noisily, so the solution is the same and the price is samples.

    samples_to      samples until the accuracy on seen pairs in fresh scenes first reaches .75, .85, .9; null: not reached
    reward_cost     samples_to of rewards over that of labels, seed by seed; median and bootstrap 95 % interval over the
                    seeds in which both reached it, and in how many rewards never did
    unseen          accuracy on unseen pairs at the end, with Student intervals

Cells are appended to sqoop_reward_cost.jsonl as they finish and never run twice; --minutes ends a piece. The curve is
read every 125 updates (32,000 samples), which is how exact samples_to is.

    python -m benchmarks.sqoop_reward_cost [--quick] [--module residual] [--minutes 60] [--jobs 2]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._pieces import Piece, Store  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._sqoop_reward_runs import Cell  # noqa: E402
from benchmarks._statistics import bootstrap_interval, median, student_interval  # noqa: E402
from rllib_ext.analysis import figures as look  # noqa: E402

LOSSES, SEEDS, LEVELS = ("label", "reward"), range(3), (0.75, 0.85, 0.9)
BATCH, LR, EVERY = 256, 3e-4, 125
UPDATES = {"label": 2500, "reward": 5000}
COLOURS = {"label": look.BLUE, "reward": look.RED}
Row = dict[str, Any]


def study(module: str) -> Iterator[Cell]:
    """Seed by seed, so that a piece leaves whole comparisons."""
    for seed in SEEDS:
        for loss in LOSSES:
            yield Cell(loss, module, seed, BATCH, LR, UPDATES[loss], EVERY)


def quick_study(module: str) -> list[Cell]:
    return [Cell(loss, module, seed, 32, 1e-3, 8, 4) for seed in range(2) for loss in LOSSES]


def samples_to(row: Row, level: float) -> int | None:
    """Samples at the first point of the curve that reaches the level."""
    return next((point["samples"] for point in row["curve"] if point["seen"] >= level), None)


def costs(rows: list[Row]) -> dict[str, Any]:
    """Level -> the ratio over seeds."""
    by = {(row["loss"], row["seed"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows if all((loss, row["seed"]) in by for loss in LOSSES)})
    found = {}
    for level in LEVELS:
        pairs = [tuple(samples_to(by[loss, seed], level) for loss in LOSSES) for seed in seeds]
        ratios = [reward / label for label, reward in pairs if label and reward]
        found[str(level)] = {
            "samples_to": dict(zip(map(str, seeds), pairs, strict=True)),
            "median": median(ratios),
            "interval": bootstrap_interval(ratios),
            "n": len(ratios),
            "rewards_never": sum(label is not None and reward is None for label, reward in pairs),
        }
    return found


def curves(rows: list[Row]) -> Any:
    """Accuracy by samples; dashed: unseen pairs."""
    figure, (ax,) = look.new_figure(7.0, 4.2)
    look.heading(
        figure, "What a reward costs against a label", "NMN-Tree, mini SQOOP, 1 rhs/lhs; dashed: unseen pairs"
    )
    for loss in LOSSES:
        for number, row in enumerate(row for row in rows if row["loss"] == loss):
            xs = [point["samples"] for point in row["curve"]]
            for name, line in (("seen", "-"), ("unseen_test", "--")):
                known = f"{loss}" if number == 0 and name == "seen" else None
                ys = [point[name] for point in row["curve"]]
                ax.plot(xs, ys, line, color=COLOURS[loss], linewidth=1.4, label=known)
    ax.axhline(0.5, color=look.GREY, linewidth=0.8)
    ax.set_ylim(0.4, 1.02)
    if rows:
        ax.legend(frameon=False)
    look.name_axes(ax, "samples", "accuracy")
    return figure


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=2, module="residual").parse_args()
    results = Results("sqoop_reward_cost", options)
    store = Store(results.folder / "sqoop_reward_cost.jsonl")
    piece = Piece(store, "benchmarks._sqoop_reward_runs", options.jobs, options.minutes)
    make = quick_study if options.quick else study
    cells = list(make(options.module))
    complete = piece.run(cells)
    updates = {cell.updates for cell in cells}
    rows = [row for row in store.rows if row["module"] == options.module and row["updates"] in updates]
    results.table([{name: value for name, value in row.items() if name != "curve"} for row in rows])
    results.figure(curves(rows))
    found = costs(rows)
    ends = {
        loss: {
            name: student_interval([row[name] for row in rows if row["loss"] == loss])
            for name in ("seen", "unseen_test")
        }
        for loss in LOSSES
    }
    headline = {
        "complete": complete,
        "runs": len(rows),
        "reward_cost": {level: one["median"] for level, one in found.items()},
        "at_the_end": {loss: {name: one["mean"] for name, one in of.items()} for loss, of in ends.items()},
    }
    results.close(headline, reward_cost=found, at_the_end=ends)
    for line in piece.failed:
        note(f"failed: {line}")
    return 1 if piece.failed else 0


if __name__ == "__main__":
    sys.exit(main())
