"""Runs cells of the off-policyness study one after another and prints one JSON line for each.

    python -m benchmarks._offpolicy_runs < cells.jsonl

A process of its own, so that several can run side by side and one that dies costs one cell.
"""

from __future__ import annotations

import sys
import tempfile
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
    from rllib_ext.registry import config_class

    name, _ = METHODS[cell.method]
    model = policy_of(cell.width)
    with tempfile.TemporaryDirectory(prefix="rllib-ext-offpolicy-") as folder, workers_in_process():
        config = config_class(name)()
        config.environment("ControlledTLDR", env_config={"size": 65536})
        config.debugging(seed=cell.seed, log_level="ERROR").evaluation(evaluation_interval=None)
        config.training(**cell.settings(model), run_folder=folder)
        algorithm = config.build_algo()
        try:
            before = algorithm.evaluate()["evaluation"]
            result: dict[str, Any] = {}
            while algorithm.counters["updates"] < cell.updates:
                result = algorithm.train()
            after = algorithm.evaluate()["evaluation"]
        finally:
            algorithm.stop()
    return {
        **asdict(cell),
        **{f"{name}_before": before[name] for name in ("win_rate", "reward_mean")},
        **{name: after[name] for name in ("win_rate", "reward_mean", "kl_ref", "ppl_completion", "ppl_diluted")},
        "updates_made": result["num_updates_lifetime"], "oldest": result["staleness"]["max"],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(serve(Cell, run))
