"""Runs cells of ``cooperation_curve`` and ``negotiation`` one after another and prints one JSON line for each.

    python -m benchmarks._emergent_runs < cells.jsonl

The package's own path: `EmergentComm` on RLlib, learner and games in this process.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import torch  # noqa: E402

from benchmarks._pieces import serve  # noqa: E402


@dataclass(frozen=True)
class Cell:
    """One pair of agents. name: what the settings are called; iterations: of EmergentComm."""

    name: str
    seed: int
    env: str
    iterations: int
    env_config: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def run(cell: Cell) -> dict[str, Any]:
    """Train a pair; what its protocol was worth after every iteration, and the CPU seconds of the training."""
    import rllib_ext
    from rllib_ext import EmergentCommConfig

    torch.set_num_threads(1)
    rllib_ext.register()
    config = EmergentCommConfig().environment(cell.env, env_config=dict(cell.env_config))
    config.training(**cell.settings).debugging(seed=cell.seed, log_level="ERROR")
    algorithm = config.build_algo()
    began = time.process_time()
    try:
        curve = [algorithm.train()["protocol"] for _ in range(cell.iterations)]
    finally:
        algorithm.stop()
    spent = time.process_time() - began
    plain = [{name: float(value) for name, value in point.items()} for point in curve]
    return {**asdict(cell), "cpu_s": spent, "curve": plain}


if __name__ == "__main__":
    sys.exit(serve(Cell, run))
