"""The last stage of ``rlhf_pipeline``: PPO (or RLOO in its place) against the proxy reward model.

The algorithm is RLlib's object as anybody would build it; the loop around it saves, goes on from the newest checkpoint,
and exports. ``mode="sync"`` with one worker goes on to the same weights as a run that never stopped.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rllib_ext.runtime.manifest import package_versions
from rllib_ext.runtime.run_folder import RunFolder, read_json
from rllib_ext.stages.runner import same_settings

Say = Callable[[str], None]


def reinforce(pipeline: Any, say: Say, stage: str = "ppo") -> dict[str, Any]:
    """Train into the folder ``stage``; the exported policy is in its model, what was reached in its done.json."""
    folder = pipeline.folder / stage
    done = folder / "done.json"
    if done.is_file():
        say(f"{pipeline.algorithm} is finished in {folder}")
        return read_json(done)
    facts = {"algorithm": pipeline.algorithm, "env": "TLDR"}
    with RunFolder(folder) as run, session():
        run.write_json("run.json", {**facts, "seed": pipeline.seed, "versions": package_versions()})
        same_settings(run, {**facts, **pipeline.policy})
        algorithm = config_of(pipeline, folder).build_algo()
        try:
            updates = _train(algorithm, pipeline, run, say)
            export(algorithm, folder / "model")
        finally:
            algorithm.stop()
        run.write_json("done.json", {"updates": updates})
    return read_json(done)


def config_of(pipeline: Any, folder: Path) -> Any:
    """The ``AlgorithmConfig``: the TL;DR environment on the controlled posts, rewarded by the proxy."""
    import rllib_ext
    from rllib_ext.llm.rewards import RewardModel

    rllib_ext.register()
    reward = RewardModel(pipeline.folder / "reward_model" / "model", name="proxy")
    posts = str(pipeline.folder / "data" / "posts")
    config = getattr(rllib_ext, f"{pipeline.algorithm}Config")()
    config.environment("TLDR", env_config={"data": posts, "reward": reward})
    config.env_runners(num_env_runners=1, num_cpus_per_env_runner=1)
    config.debugging(seed=pipeline.seed, log_level="ERROR").evaluation(evaluation_interval=None)
    return config.training(**pipeline.policy, run_folder=str(folder))


def _train(algorithm: Any, pipeline: Any, run: RunFolder, say: Say) -> int:
    from rllib_ext.llm import persistence

    name, total = pipeline.algorithm, pipeline.policy["total_updates"]
    if any(run.checkpoints.glob("step_*")):
        persistence.restore(algorithm, run.checkpoints)
        algorithm._iteration = algorithm.round  # one iteration is one round; Tune counts from it
        say(f"{name} goes on from update {algorithm.counters['updates']}")
    else:
        algorithm.evaluate()
    every = max(1, total // 4)
    due = (algorithm.counters["updates"] // every + 1) * every
    kept = snapshot_updates(total, pipeline.snapshots)
    while algorithm.counters["updates"] < total:
        result = algorithm.train()
        run.append_jsonl("result.json", {key: value for key, value in result.items() if key != "config"})
        updates = algorithm.counters["updates"]
        say(f"{name}: update {updates} of {total}, proxy reward {result['reward']['mean']:.2f}")
        if updates in kept:
            export(algorithm, snapshot_folder(run.path, updates))
        if updates >= due:
            persistence.save(algorithm, run.checkpoints)
            due = (updates // every + 1) * every
    algorithm.evaluate()
    return algorithm.counters["updates"]


def snapshot_updates(total: int, count: int) -> tuple[int, ...]:
    """The updates after which a snapshot is kept."""
    return tuple(sorted({max(1, round(total * (place + 1) / count)) for place in range(count)}))


def snapshot_folder(stage: Path, updates: int) -> Path:
    """Where the snapshot after so many updates is, below the stage's folder."""
    return stage / "snapshots" / f"update_{updates:06d}"


def export(algorithm: Any, to: Path) -> None:
    """The policy as a model folder, whole or not at all."""
    from rllib_ext.llm.export import export_algorithm

    to.parent.mkdir(parents=True, exist_ok=True)
    half = to.with_name(f".{to.name}.half")
    for folder in (half, to):
        shutil.rmtree(folder, ignore_errors=True)
    export_algorithm(algorithm, half)
    half.rename(to)


class session:
    """A quiet local Ray session, unless there is one already."""

    def __enter__(self) -> None:
        for name, value in (
            ("RAY_BACKEND_LOG_LEVEL", "fatal"),
            ("RAY_USAGE_STATS_ENABLED", "0"),
            ("RAY_worker_niceness", "0"),
        ):
            os.environ.setdefault(name, value)
        import ray

        for name in ("ray.rllib", "ray.tune"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)

    def __exit__(self, *error: object) -> None:
        import ray

        if self._ours:
            ray.shutdown()
