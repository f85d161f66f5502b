"""Claim: a sweep's waiting trials bring nodes and let them go; one asynchronous run gains and loses workers with them.

A cluster of Ray's autoscaler (v2) whose nodes are processes of this machine (``_cluster.py``); each driver is a process
of its own that joins it:

    sweep   three trials of two CPUs on a head that has one: 1 -> 4 -> 1 nodes, every trial finished
    run     asynchronous online DPO with vLLM on one worker; two more join as nodes come; the raylet of one node is killed
            with -9, a new node takes its place. No restart; no prompt is learnt from twice and none is left out

``nodes over time`` is the figure. No figure is a speed.

    python -m benchmarks.autoscaling [--quick] [--repeats 3]
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

import psutil  # noqa: E402

from benchmarks._cluster import Scale, autoscaled_cluster, stop  # noqa: E402
from benchmarks._pictures import steps_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
DRIVER_LIMIT_S = 420.0
SCALES = {
    "sweep": Scale(head_cpus=1, worker_cpus=2, most=3),
    "run": Scale(head_cpus=1, worker_cpus=1, most=2),
}


def drive(what: str, folder: Path) -> dict[str, Any]:
    """Run a driver on a cluster of its own; what it found, its nodes over time, and what was left running."""
    with autoscaled_cluster(SCALES[what]) as cluster:
        driver = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._autoscaled", what, str(folder)],
            cwd=ROOT, env={**os.environ, **cluster.environment}, start_new_session=True,
            stdout=(folder / "driver.log").open("w"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            code: int | str = driver.wait(DRIVER_LIMIT_S)
        except subprocess.TimeoutExpired:
            code = "none in time"
        finally:
            stop(driver.pid)
    if code != 0:
        raise RuntimeError(f"the driver ended with {code}: {(folder / 'driver.log').read_text()[-3000:]}")
    found = json.loads((folder / "result.json").read_text())
    history = [json.loads(line) for line in (folder / "nodes.jsonl").read_text().splitlines()]
    return {**found, "history": history, "left_running": left_running(cluster.address)}


def left_running(address: str) -> list[str]:
    """Names of processes that still speak of the cluster's address."""
    return [
        process.info["name"]
        for process in psutil.process_iter(["name", "cmdline"])
        if any(address in word for word in process.info["cmdline"] or [])
    ]


def passed(what: str, found: dict[str, Any]) -> bool:
    """Whether everything that is claimed of it was seen."""
    nodes = found["nodes"]
    if what == "sweep":
        scaled = nodes[0] == 1 and max(nodes) == 4 and nodes[-1] == 1
        return scaled and found["finished"] == 3 and not found["errors"] and not found["left_running"]
    grew = max(found["workers"]) == 3 and found["refilled"] and found["back_to_one"]
    return grew and not found["trained_twice"] and not found["missing"] and not found["left_running"]


def main() -> int:
    options = arguments(__doc__, repeats=3).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is stopped then, too
    results = Results("autoscaling", options)
    rows, histories, seen = [], {}, []
    for repeat in range(1 if options.quick else options.repeats):
        for what in SCALES:
            with tempfile.TemporaryDirectory(prefix="rllib-ext-autoscaling-") as folder:
                found = drive(what, Path(folder))
            note(f"{what} {repeat + 1}: nodes {found['nodes']}, passed: {passed(what, found)}")
            histories[f"{what} {repeat + 1}"] = found["history"]
            rows += [{"what": what, "repeat": repeat + 1, **line} for line in found["history"]]
            seen.append({"what": what, "repeat": repeat + 1, "passed": passed(what, found), **found})
    results.table(rows)
    results.figure(steps_figure("Nodes over time", "seconds", "nodes", histories))
    counts = {what: [one["passed"] for one in seen if one["what"] == what] for what in SCALES}
    reached = all(all(values) for values in counts.values())
    results.close({"reached": reached, **{f"{what}_passed": sum(v) for what, v in counts.items()}}, runs=seen)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
