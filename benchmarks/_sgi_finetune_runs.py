"""Runs cells of the finetuning study one after another and prints one JSON line for each.

python -m benchmarks._sgi_finetune_runs < cells.jsonl
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import torch  # noqa: E402

from benchmarks._pieces import serve  # noqa: E402

POINTS = 10  # of a learning curve
ARMS: dict[str, dict[str, Any]] = {
    "scratch": {},
    "pretrained": {},
    "frozen": {"freeze_encoder": True},
    "random frozen": {"freeze_encoder": True},
}


@dataclass(frozen=True)
class Cell:
    """One run. folder: pretrained, or "". steps: of the agent. games: of the evaluation at the end."""

    game: str
    arm: str
    seed: int
    steps: int
    games: int
    folder: str


def run(cell: Cell) -> dict[str, Any]:
    """Finetune for some thousand steps, then play."""
    from rllib_ext.sgi.rainbow import SGIRainbowConfig

    torch.set_num_threads(1)
    each = cell.steps // POINTS
    config = (
        SGIRainbowConfig().environment(f"Atari100k/{cell.game}").debugging(seed=cell.seed, log_level="ERROR")
    )
    config.evaluation(evaluation_interval=POINTS, evaluation_duration=cell.games)
    config.training(
        **ARMS[cell.arm], encoder=None if cell.folder else "S", pretrained=cell.folder or None, updates_per_step=1,
        learning_starts=min(1000, cell.steps // 4), steps_per_iteration=each, replay_capacity=max(1000, cell.steps),
        importance_steps=cell.steps,
    )  # fmt: skip
    algorithm, curve = config.build_algo(), []
    cpu = time.process_time()
    try:
        for _ in range(POINTS):
            result = algorithm.train()
            score = result["env_runners"].get("episode_return_mean")
            curve.append(
                (algorithm.steps, time.process_time() - cpu, None if score is None else float(score))
            )
        found = result["evaluation"]["env_runners"]
        learned = {name: float(value) for name, value in result["learners"]["default_policy"].items()
                   if name in ("c51_loss", "spr_loss", "gradient_norm")}  # fmt: skip
    finally:
        algorithm.stop()
    return {
        **asdict(cell), "score": float(found["episode_return_mean"]), "length": float(found["episode_len_mean"]),
        "curve": curve, "updates": algorithm.updates, **learned,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(serve(Cell, run))
