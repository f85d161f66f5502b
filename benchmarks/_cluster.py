"""A Ray cluster on this machine whose nodes come and go: autoscaler v2 with nodes that are processes.

``ray.cluster_utils.AutoscalingCluster`` is of no use here: its template is not in the wheel, and it stops every Ray on
the machine. This one starts a head of its own, with port, folder and token of its own, and stops what it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HEAD_ID = "f" * 51 + "00000"
HEAD, WORKER = "ray.head.default", "worker"
START_LIMIT_S, STOP_LIMIT_S = 60.0, 20.0


@dataclass(frozen=True)
class Scale:
    """head_cpus, worker_cpus: what a node offers; most: workers beside the head; idle_s: after which one goes."""

    head_cpus: int = 1
    worker_cpus: int = 2
    most: int = 3
    idle_s: float = 6.0


@dataclass(frozen=True)
class Cluster:
    """address: of the head. environment: what a driver needs to join it. log: of head and autoscaler."""

    address: str
    environment: dict[str, str]
    log: Path


@contextlib.contextmanager
def autoscaled_cluster(scale: Scale) -> Iterator[Cluster]:
    """The running cluster; at the end its processes are gone, whatever happened."""
    folder = Path(tempfile.mkdtemp(prefix="rllib-ext-cluster-", dir="/tmp"))  # sockets must have short names
    host, port = _own_address(), _free_port()
    address = f"{host}:{port}"
    (folder / "cluster.json").write_text(json.dumps(_definition(scale, address)))
    shared = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    of_head = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    }
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--include-dashboard=false"),
        *(f"--port={port}", f"--node-ip-address={host}", f"--num-cpus={scale.head_cpus}"),
        *(f"--temp-dir={folder}", f"--autoscaling-config={folder / 'cluster.json'}"),
    ]  # fmt: skip
    log = folder / "head.log"
    with log.open("w") as stream:
        head = subprocess.Popen(
            command, stdout=stream, stderr=stream, env={**os.environ, **shared, **of_head}, start_new_session=True
        )  # fmt: skip
    try:
        _await_head(head, host, port, log)
        yield Cluster(address, {**shared, "RAY_ADDRESS": address}, log)
    finally:
        stop(head.pid)


def _definition(scale: Scale, address: str) -> dict[str, Any]:
    """What ``ray up`` would read; lists that are left out end the autoscaler."""
    empty = ("cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands",
             "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands", "rsync_exclude",
             "rsync_filter")  # fmt: skip
    worker = {
        "resources": {"CPU": scale.worker_cpus},
        "node_config": {},
        "min_workers": 0,
        "max_workers": scale.most,
    }
    return {
        "cluster_name": "on-this-machine",
        "max_workers": scale.most,
        "upscaling_speed": 100.0,
        "idle_timeout_minutes": scale.idle_s / 60,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": address,
            "launch_multiple": True,
            "head_node_id": HEAD_ID,
        },
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "head_node_type": HEAD,
        "available_node_types": {
            HEAD: {"resources": {"CPU": scale.head_cpus}, "node_config": {}, "max_workers": 0},
            WORKER: worker,
        },
        **{name: [] for name in empty},
    }


def stop(pid: int) -> None:
    """End a process and all that it started: asked first, then killed."""
    try:
        root = psutil.Process(pid)
        family = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return
    for how in (signal.SIGTERM, signal.SIGKILL):
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)
        _, family = psutil.wait_procs(family, timeout=STOP_LIMIT_S / 2)


def _await_head(head: subprocess.Popen, host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and head.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1.0):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the head did not start: {log.read_text()[-2000:]}")


def _own_address() -> str:
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("", 0))
        return int(taken.getsockname()[1])
