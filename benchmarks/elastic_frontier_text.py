"""Reported: reward against perplexity of human text on a transformer and real text, by KL penalties, resets and averages.

``elastic_frontier`` on a language model proper: a Llama of 0.4 million parameters in two layers, finetuned on the
docstrings of the installed packages (``Docstrings``), goes on with ``ElasticResetAsyncPPO`` and its engine (vLLM where
it is installed, else transformers; the results name it). The reward is ROUGE-L against the author's own sentence,
which a policy can raise by sentences that fit everything. 45 iterations of 48 completions and two updates; resets
after 15 and 30; eta such that 0.29 of the average is the initial model at a reset, which is the share of
``elastic_frontier``'s study, not tuned here. Three weights beta of the KL penalty, 0 among them, three seeds; one SFT
model for all.

    PPO+KL          the online weights              EMA-only       the average of the same run, judged in its place
    Elastic Reset                                   reset to init

Judged on held-out functions at temperature 1 (256 completions), and by the perplexity of held-out functions with their
authors' sentences under the policy (8,192 tokens, no sampling); at the end of the budget, by the whole sweep. Hypervolume
of reward x -log perplexity above the SFT model's reward and below three times its perplexity, both as measured.

What is claimed: nothing but what is measured. Differences of hypervolume to PPO+KL and to EMA-only are paired over seeds,
with Student intervals, and "true", "false" or "undecided" is read off those; with three seeds they are wide. The same
against KL to the initial policy in place of perplexity, where a KL penalty is expected to win.

Cells are appended to elastic_frontier_text.jsonl as they finish and never run twice; --minutes ends a piece.

    python -m benchmarks.elastic_frontier_text [--quick] [--minutes 60] [--jobs 1]
"""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._frontier_text_plan import BETAS, CYCLES, METHODS, PERIOD, quick_study, study  # noqa: E402
from benchmarks._frontier_text_runs import sft_policy  # noqa: E402
from benchmarks._pieces import Piece, Store  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._statistics import student_interval, verdict  # noqa: E402
from rllib_ext.analysis.figures import heading, new_figure  # noqa: E402
from rllib_ext.analysis.frontier import hypervolume, mean_points  # noqa: E402
from rllib_ext.analysis.frontier_plot import Curve, draw_frontier  # noqa: E402

MOST = 3.0  # times the start's perplexity: the edge of the plane; of KL: the largest mean of all methods
Row = dict[str, Any]


def flat(rows: list[Row]) -> list[Row]:
    """One row a point, the start first."""
    found = []
    for row in rows:
        known = {name: row[name] for name in ("variant", "beta", "seed", "engine")}
        found.append({**known, "method": "start", "iteration": 0, "resets": 0, **row["start"]})
        found += [{**known, **point} for point in row["points"]]
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def ends(points: list[Row], method: str, seed: int | None = None) -> dict[float, list[Row]]:
    """By beta: the points of a method at the end of its budget."""
    last = max(point["iteration"] for point in points)
    mine = [
        p for p in points if (p["method"], p["iteration"]) == (method, last) and seed in (None, p["seed"])
    ]
    return {beta: found for beta in BETAS if (found := [p for p in mine if p["beta"] == beta])}


def start_of(points: list[Row]) -> dict[str, float]:
    starts = [point for point in points if point["method"] == "start"]
    return {name: mean([point[name] for point in starts]) for name in ("reward", "ppl", "kl")}


def volumes(points: list[Row], drift: str, seeds: list[int]) -> dict[str, list[float]]:
    """Hypervolume of each method's sweep, a seed each."""
    start = start_of(points)
    if drift == "ppl":
        most = math.log(MOST * start["ppl"])
    else:
        most = max(mean([p["kl"] for p in found]) for m in METHODS for found in ends(points, m).values())
    scale = math.log if drift == "ppl" else float
    return {
        method: [
            hypervolume(
                [
                    (p["reward"], scale(p[drift]))
                    for found in ends(points, method, seed).values()
                    for p in found
                ],
                (start["reward"], most),
            )
            for seed in seeds
        ]
        for method in METHODS
    }


def difference(one: list[float], other: list[float]) -> Row:
    """Paired over seeds."""
    found = student_interval([a - b for a, b in zip(one, other, strict=True)])
    return found | {
        "above": verdict(found),
        "seeds_above": sum(a > b for a, b in zip(one, other, strict=True)),
    }


def headline(points: list[Row], complete: bool) -> Row:
    """Hypervolumes, and their differences with a verdict each; over the seeds that have the whole sweep."""
    sweep = max((len(ends(points, m, s)) for m in METHODS for s in {p["seed"] for p in points}), default=0)
    seeds = sorted(
        seed
        for seed in {point["seed"] for point in points}
        if all(len(ends(points, method, seed)) == sweep for method in METHODS)
    )
    found: Row = {
        "complete": complete,
        "engine": sorted({point["engine"] for point in points}),
        "seeds": len(seeds),
        "start": start_of(points),
    }
    for drift in ("ppl", "kl") if seeds else ():
        volume = volumes(points, drift, seeds)
        found[f"hypervolume_{drift}"] = {method: mean(values) for method, values in volume.items()}
        for other in ("PPO+KL", "EMA-only"):
            found[f"elastic_over_{other}_{drift}"] = difference(volume["Elastic Reset"], volume[other])
    return found


def table(points: list[Row]) -> Row:
    """Means over seeds at the end, by method and beta."""
    return {
        method: {
            f"{beta:g}": {name: mean([p[name] for p in found]) for name in ("reward", "ppl", "kl")}
            | {"n": len(found)}
            for beta, found in ends(points, method).items()
        }
        for method in METHODS
    }


def picture(points: list[Row]) -> Any:
    """Both planes: means over seeds with standard errors, one point a beta; grey: Elastic Reset at beta 0 in time."""
    figure, axes = new_figure(11.5, 4.8, columns=2, left=0.85, right=0.5, top=1.0, gap=0.24)
    start = start_of(points)
    own = [p for p in points if (p["method"], p["beta"]) == ("Elastic Reset", 0.0)]
    times = sorted({p["iteration"] for p in own})
    for ax, drift, name in (
        (axes[0], "ppl", "perplexity of held-out functions and sentences"),
        (axes[1], "kl", "KL to the SFT model, nats a completion"),
    ):
        curves = []
        for method in METHODS:
            found = {b: [(p["reward"], p[drift]) for p in mine] for b, mine in ends(points, method).items()}
            curves.append(Curve(method, list(mean_points(found).values()), [f"{beta:g}" for beta in found]))
        path = [(start["reward"], start[drift])]
        path += [
            tuple(mean([p[k] for p in own if p["iteration"] == t]) for k in ("reward", drift)) for t in times
        ]
        draw_frontier(
            ax, curves, start=path[0], trajectory=path, names=(name, "reward (ROUGE-L)"), log_drift=drift == "ppl",
            legend=drift == "ppl",
        )  # fmt: skip
    heading(
        figure,
        "Reward and drift on real docstrings",
        "one point a beta at the end, mean and standard error over seeds; grey: Elastic Reset at beta 0 in time",
    )
    return figure


def main() -> int:
    options = arguments(__doc__, minutes=60.0, jobs=1, engine="").parse_args()
    engine = options.engine or ("vllm" if importlib.util.find_spec("vllm") else "hf")
    results = Results("elastic_frontier_text", options)
    store = Store(results.folder / "elastic_frontier_text.jsonl")
    piece = Piece(store, "benchmarks._frontier_text_runs", options.jobs, options.minutes)
    note(f"engine {engine}; SFT model {sft_policy()}")
    cells = quick_study(engine) if options.quick else list(study(engine))
    complete = piece.run(cells)
    wanted = (1, CYCLES) if options.quick else (PERIOD, CYCLES)
    rows = [r for r in store.rows if r["engine"] == engine and (r["period"], r["cycles"]) == wanted]
    for line in piece.failed:
        note(f"failed: {line}")
    if not rows:
        return 1
    points = flat(rows)
    results.table(points)
    results.figure(picture(points))
    seconds = {name: mean([row[name] for row in rows]) for name in ("start_seconds", "seconds")}
    results.close(headline(points, complete) | {"cells": len(rows)} | seconds, table=table(points))
    return 1 if piece.failed else 0


if __name__ == "__main__":
    sys.exit(main())
