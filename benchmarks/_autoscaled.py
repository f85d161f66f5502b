"""The drivers of ``autoscaling``: each joins the cluster of RAY_ADDRESS, notes how many nodes there are, and ends.

    python -m benchmarks._autoscaled sweep FOLDER    more trials than the head has room for, through ``Sweep``
    python -m benchmarks._autoscaled run FOLDER      one asynchronous run with workers on nodes that come and go

FOLDER/nodes.jsonl has a line for every change, FOLDER/result.json what was seen at the end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import psutil  # noqa: E402
import ray  # noqa: E402
from ray import tune  # noqa: E402

from benchmarks._cluster import HEAD_ID  # noqa: E402
from benchmarks._tasks import WORDS, register_words, words_model  # noqa: E402

TRIALS, TRIAL_SECONDS = 3, 20.0
MOST_WORKERS, PROMPTS = 3, 8
BACK = ("worker_joined", "worker_replaced")  # a lost actor comes back itself, or another one is asked for
LIMIT_S = 240.0


class Worker(tune.Trainable):
    """Counts to its number of seconds; takes up a whole worker node."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": 2}])

    def setup(self, config: dict[str, Any]) -> None:
        self.seconds = 0.0

    def step(self) -> dict[str, Any]:
        time.sleep(1.0)
        self.seconds += 1.0
        return {"time_total_s": self.seconds, "done": self.seconds >= TRIAL_SECONDS}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "seconds").write_text(str(self.seconds))

    def load_checkpoint(self, checkpoint: str) -> None:
        self.seconds = float(Path(checkpoint, "seconds").read_text())


class Census:
    """How many nodes live, a line for every change."""

    def __init__(self, path: Path) -> None:
        self.path, self.seen, self._stopped = path, [], threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            living = sum(node["Alive"] for node in ray.nodes())
            if not self.seen or self.seen[-1] != living:
                self.seen.append(living)
                line = {"seconds": round(time.monotonic() - self._began, 1), "nodes": living}
                with self.path.open("a") as stream:
                    stream.write(json.dumps(line) + "\n")
            time.sleep(0.5)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(5.0)


def until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def sweep(folder: Path, census: Census) -> dict[str, Any]:
    """Trials that wait for nodes; then the nodes go."""
    from rllib_ext.runtime.sweep import Sweep

    space = {"trial": tune.grid_search(list(range(TRIALS)))}
    grid = Sweep("waiting", Worker, space, storage=str(folder), verbose=0).tuner().fit()
    back = until(lambda: census.seen[-1] == 1, 90.0)
    return {"finished": sum(r.metrics["done"] for r in grid), "errors": grid.num_errors, "back_to_one": back}


def run(folder: Path, census: Census) -> dict[str, Any]:
    """Asynchronous online DPO: workers join as nodes come, a node is killed, another takes its place."""
    algorithm = configured(folder).build_algo()
    facts: dict[str, Any] = {"workers": [algorithm.pool.size], "killed": None, "refilled": False}
    deadline = time.monotonic() + LIMIT_S
    try:
        while not facts["refilled"] and time.monotonic() < deadline:
            algorithm.train()
            time.sleep(0.1)  # two cores: the nodes that are starting need them too
            if algorithm.pool.size != facts["workers"][-1]:
                facts["workers"].append(algorithm.pool.size)
            if facts["killed"] is None and algorithm.pool.size == MOST_WORKERS:
                facts["killed"] = kill_a_node()
            back = [line for line in lines(folder / "events.jsonl") if line["event"] in BACK]
            facts["refilled"] = facts["killed"] is not None and len(back) >= MOST_WORKERS
        for _ in range(4):  # with the new one
            algorithm.train()
        facts["updates"] = algorithm.counters["updates"]
    finally:
        algorithm.stop()
    trained = [tuple(prompt) for record in lines(folder / "rounds.jsonl") for prompt in record["trained"]]
    return facts | {
        "trained": len(trained),
        "trained_twice": len(trained) - len(set(trained)),
        "missing": PROMPTS * facts["updates"] - len(trained),
        "events": dict(Counter(line["event"] for line in lines(folder / "events.jsonl"))),
        "back_to_one": until(lambda: census.seen[-1] == 1, 90.0),
    }


def configured(folder: Path) -> Any:
    """One worker on the head from the beginning, two more that wait for nodes."""
    import rllib_ext

    rllib_ext.register()
    register_words()
    model = words_model(vocabulary=256, hidden=64, layers=2, heads=2, max_length=64)
    config = rllib_ext.AsyncOnlineDPOConfig().environment(
        WORDS, env_config={"prompt_tokens": 8, "vocabulary": 256, "count": 65536}
    )
    config.debugging(seed=0, log_level="ERROR").evaluation(evaluation_interval=None)
    config.env_runners(num_env_runners=1, num_cpus_per_env_runner=1)
    return config.training(
        model=model, engine=os.environ.get("AUTOSCALED_ENGINE", "vllm"), mode="async", max_env_runners=MOST_WORKERS,
        prompts_per_minibatch=PROMPTS, max_prompt_tokens=8, max_new_tokens=8, missing_eos="keep", lr=1e-4,
        total_updates=1_000_000, engine_threads=1, learner_threads=1, logp_probe=0, run_folder=str(folder),
    )  # fmt: skip


def kill_a_node() -> str:
    """kill -9 of the raylet of a worker node, as a spot machine goes; its id."""
    node = next(n for n in ray.nodes() if n["Alive"] and n["NodeID"] != HEAD_ID)
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.info["name"] == "raylet" and any(node["NodeID"] in word for word in words):
            process.send_signal(signal.SIGKILL)
            return str(node["NodeID"])
    raise RuntimeError(f"no raylet of node {node['NodeID']} runs on this machine")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def main() -> int:
    what, folder = sys.argv[1], Path(sys.argv[2])
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
    census = Census(folder / "nodes.jsonl")
    try:
        found = {"sweep": sweep, "run": run}[what](folder, census)
    finally:
        census.stop()
    (folder / "result.json").write_text(json.dumps({**found, "nodes": census.seen}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
