"""B14: nothing grows: resident memory of driver and worker, and bytes in Ray's object store, over hundreds of rounds."""

from __future__ import annotations

import gc
from typing import Any

import psutil
import ray
from ray._private.internal_api import node_stats

from benchmarks._gate_runs import Gate, small_run
from benchmarks._meter import on_workers
from benchmarks._segments import drain

LIMIT = 0.05
SETTLED = 50  # rounds after which caches and pools have their size


def _store_bytes() -> int:
    node = ray.nodes()[0]
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False)
    return int(stats.store_stats.object_store_bytes_used)


def _reading(algorithm: Any, processes: dict[str, psutil.Process], number: int) -> dict[str, float]:
    drain(algorithm)
    gc.collect()
    memory = {f"{name}_rss": float(process.memory_info().rss) for name, process in processes.items()}
    return {"round": number, "store_bytes": float(_store_bytes()), **memory}


def leak_gate(rounds: int, every: int) -> tuple[Gate, list[dict[str, float]]]:
    """(gate, readings). Growth of a process: the mean of the last quarter of its readings over that after ``SETTLED``."""
    algorithm = small_run(
        "async", rounds, prompts=8, new_tokens=8, prompt_tokens=8, hidden=32, layers=1, heads=1
    )
    readings = []
    settled = min(SETTLED, rounds // 4)
    try:
        processes = {
            "driver": psutil.Process(),
            "worker": psutil.Process(on_workers(algorithm, "process_id")[0]),
        }
        for number in range(1, rounds + 1):
            algorithm.iterate()
            on_workers(algorithm, "take_laps") if number % every == 0 else None
            algorithm.stamps.clear()
            if number == settled or (number > settled and number % every == 0):
                readings.append(_reading(algorithm, processes, number))
    finally:
        algorithm.stop()
    last = readings[-max(1, len(readings) // 4) :]
    growth = {
        name: sum(r[name] for r in last) / len(last) / readings[0][name] - 1
        for name in ("driver_rss", "worker_rss")
    }
    store = max(r["store_bytes"] for r in last) - readings[0]["store_bytes"]
    snapshot = 4.0 * sum(p.numel() for p in algorithm.learner_group._learner.language_module.parameters())
    worst = max(growth.values())
    passed = worst < LIMIT and store <= 2 * snapshot
    details = {**growth, "store_growth_bytes": store, "snapshot_bytes": snapshot, "rounds": rounds}
    claim = f"growth of resident memory after round {settled} of {rounds}; the object store stays as it is"
    return Gate("B14", claim, worst, LIMIT, "of the memory then", passed, details), readings
