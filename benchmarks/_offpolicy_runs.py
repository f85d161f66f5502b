"""Runs cells of the off-policyness study one after another and prints one JSON line for each.

    python -m benchmarks._offpolicy_runs < cells.jsonl

A process of its own, so that several can run side by side and one that dies costs one cell.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._in_process import workers_in_process  # noqa: E402
from benchmarks._offpolicy_plan import METHODS, Cell  # noqa: E402
from benchmarks._pieces import serve  # noqa: E402
from benchmarks._tasks import controlled_policy  # noqa: E402

# Updates on clean summaries, after which a policy of the width wins nine times in ten. The forty noisy ones after them
# leave near-greedy win rates of 0.39, 0.30 and 0.35: starts that are comparable, with room above.
CLEAN_UPDATES = {32: 6000, 48: 5000, 96: 4000}
NOISY_UPDATES, NOISY_LR = 40, 1e-3


def policy_of(width: int) -> str:
    """The folder of the SFT policy of a width; trained once."""
    return controlled_policy(width, 2, 2, NOISY_UPDATES, clean=CLEAN_UPDATES[width], lr=NOISY_LR)


def run(cell: Cell) -> dict[str, Any]:
    """Train a cell and judge it with the gold reward on held-out prompts, before and after."""
    before, result, after = trained(cell, cell.settings(policy_of(cell.width)))
    return {**asdict(cell), **judged(before, result, after)}


def trained(
    cell: Cell,
    settings: dict[str, Any],
    *,
    learning: Callable[[Any], Any] | None = None,
    algorithm: type | None = None,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What the evaluation says before, the last training result, and what it says after.

    learning: given the built algorithm, a context manager that holds while it trains; algorithm: in the method's place.
    """
    from rllib_ext.registry import config_class

    name, _ = METHODS[cell.method]
    with tempfile.TemporaryDirectory(prefix="rllib-ext-offpolicy-") as folder, workers_in_process():
        config = config_class(name)(algorithm)
        config.environment("ControlledTLDR", env_config={"size": 65536})
        config.debugging(seed=cell.seed, log_level="ERROR").evaluation(evaluation_interval=None)
        config.training(**settings, run_folder=folder)
        built = config.build_algo()
        try:
            before = built.evaluate()["evaluation"]
            result: dict[str, Any] = {}
            with learning(built) if learning else nullcontext():
                while built.counters["updates"] < cell.updates:
                    result = built.train()
            after = built.evaluate()["evaluation"]
        finally:
            built.stop()
    return before, result, after


def judged(before: dict[str, Any], result: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The figures of a row."""
    return {
        **{f"{name}_before": before[name] for name in ("win_rate", "reward_mean")},
        **{name: after[name] for name in ("win_rate", "reward_mean", "kl_ref", "ppl_completion", "ppl_diluted")},
        "updates_made": result["num_updates_lifetime"], "oldest": result["staleness"]["max"],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(serve(Cell, run))
