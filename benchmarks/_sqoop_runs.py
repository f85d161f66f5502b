"""Runs cells of the SQOOP study one after another and prints one JSON line for each.

python -m benchmarks._sqoop_runs < cells.jsonl
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import torch  # noqa: E402

from benchmarks._pieces import serve  # noqa: E402

ITERATION, POINTS = 100, 20  # updates of an iteration; points of a curve
INDUCTION = ("mixture-residual", "mixture-find")
KEPT = (
    "acc_seen",
    "acc_unseen_val",
    "acc_unseen_test",
    "loss_ema",
    "p_tree",
    "alpha_entropy",
    "alpha_correct",
)


@dataclass(frozen=True)
class Cell:
    """One run. model: of `tuned_configs.sqoop`, "attention", or a mixture of layouts that begins at ``p0``, else 0."""

    model: str
    p0: float
    rhs: int
    seed: int
    updates: int


def settings_of(cell: Cell) -> dict[str, Any]:
    """The settings of its model."""
    from tuned_configs.sqoop import ATTENTION, MODELS

    if cell.model in INDUCTION:
        module = cell.model.removeprefix("mixture-")
        return {"encoder": "nmn", "layout": "stochastic", "module": module, "p0": cell.p0}
    return ATTENTION if cell.model == "attention" else MODELS[cell.model]


def run(cell: Cell) -> dict[str, Any]:
    """Train it; what it reported along the way, and at the end."""
    from rllib_ext import SQOOPConfig

    torch.set_num_threads(1)
    updates = min(cell.updates, ITERATION)
    iterations = -(-cell.updates // updates)
    every = max(1, iterations // POINTS)
    config = SQOOPConfig().debugging(seed=cell.seed, log_level="ERROR")
    config.training(
        **settings_of(cell), rhs_per_lhs=cell.rhs, pairs_seed=cell.seed, updates_per_iteration=updates,
        evaluate_every=every,
    )  # fmt: skip
    algorithm = config.build_algo()
    curve = []
    try:
        for iteration in range(1, iterations + 1):
            result = algorithm.train()
            if iteration % every == 0:
                known = {name: round(result[name], 4) for name in KEPT if name in result}
                curve.append({"update": result["num_updates_lifetime"], **known})
        final = algorithm.examine()
    finally:
        algorithm.stop()
    told = ("escape_step", "loss_ema", "cpu_seconds", "best_step", "best_acc_seen", "best_acc_unseen_test", "p_tree",
            "alpha_entropy", "alpha_correct", "covered_as_y")  # fmt: skip
    found = {name: result.get(name) for name in told}
    return {
        **asdict(cell),
        **{f"acc_{name}": value for name, value in final.items()},
        **found,
        "curve": curve,
    }


if __name__ == "__main__":
    sys.exit(serve(Cell, run))
