"""Runs cells of the communication study one after another and prints one JSON line for each.

python -m benchmarks._comm_runs < cells.jsonl
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import torch  # noqa: E402

from benchmarks._pieces import serve  # noqa: E402

POINTS = 20  # of a learning curve
EVALUATED, RECORDED = 256, 60  # episodes: for success; for probes and symmetry


@dataclass(frozen=True)
class Cell:
    """One team. steps: of the environment."""

    method: str
    dim: int
    seed: int
    steps: int


def run(cell: Cell) -> dict[str, Any]:
    """Train a team on Beacon, then look at what it says and what that is worth."""
    from rllib_ext import ContrastiveCommConfig
    from rllib_ext.contrastive_comm.examining import examine

    torch.set_num_threads(1)
    config = ContrastiveCommConfig().environment("Beacon").debugging(seed=cell.seed, log_level="ERROR")
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=64)
    config.training(comm=cell.method, message_dim=cell.dim)
    algorithm = config.build_algo()
    curve: list[tuple[int, float]] = []
    try:
        while algorithm.env_steps() < cell.steps:
            sampled = algorithm.train()["env_runners"]
            if algorithm.env_steps() >= (len(curve) + 1) * cell.steps / POINTS:
                curve.append((algorithm.env_steps(), float(sampled["success_mean"])))
        worker = algorithm.env_runner_group.local_env_runner
        episodes, _, _ = worker.play_episodes(EVALUATED)
        records = examine(worker, episodes=RECORDED, seed=cell.seed, pictures=False)
    finally:
        algorithm.stop()
    mean = {
        name: sum(one[name] for one in episodes) / len(episodes) for name in ("success", "episode_len_mean")
    }
    found = [{"measure": one.measure, "value": one.value, "detail": one.detail} for one in records]
    final = {"success": mean["success"], "length": mean["episode_len_mean"]}
    return {**asdict(cell), **final, "curve": curve, "records": found}


if __name__ == "__main__":
    sys.exit(serve(Cell, run))
