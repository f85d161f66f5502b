"""What a run shows to the outside while it is up: its sockets (G8) and its argument lists (G7).

The run is one that a user starts who has set nothing about Ray. Ray listens on an address that other machines reach,
which no setting of a local session changes; what closes these ports is the token that every caller must have.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from chaos.inject import until

CANARY = "canary-59d0c2b8aa"
RAY = (
    "raylet",
    "gcs_server",
    "ray::",
    "ray-dashboard",
    "dashboard",
    "runtime_env",
    "log_monitor",
    "monitor.py",
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


@dataclass
class Running:
    """A run that is training. environment: what its processes were started with."""

    home: Path
    environment: dict[str, str]
    processes: list[psutil.Process]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("up")
    words = ["train", "AsyncOnlineDPO", "--smoke", "--name", "up", "--storage-path", str(home)]
    for setting in ("engine=hf", "num_learners=1", "total_updates=100000"):
        words += ["--set", setting]
    environment = {**os.environ, "WANDB_API_KEY": CANARY, "HF_TOKEN": CANARY, "HOME": str(home)}
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        environment.pop(name, None)
    with (home / "log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "rllib_ext.cli", *words], stdout=log, stderr=log, env=environment,
            start_new_session=True,
        )  # fmt: skip
    found: list[psutil.Process] = []
    try:
        until(lambda: run.poll() is not None or [*home.glob("AsyncOnlineDPO-*/result.json")], 300, "a result")
        assert run.poll() is None, (home / "log").read_text()[-3000:]
        found = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        yield Running(home, environment, found)
    finally:
        for pid in [process.pid for process in found] or [run.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.wait(timeout=30)


def listening(running: Running) -> list[tuple[str, str, int]]:
    """(process, address, port) of every socket that the run listens on."""
    found = []
    for process in running.processes:
        with suppress(psutil.NoSuchProcess):
            name = " ".join(process.cmdline())[:300] or process.name()
            found += [
                (name, connection.laddr.ip, connection.laddr.port)
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
    return found


@pytest.mark.fault("G8")
def test_only_rays_own_processes_listen_beyond_the_loopback_interface(running: Running) -> None:
    sockets = listening(running)
    assert len(running.processes) > 4 and sockets, "the run's processes were not found"
    beyond = [(name, at, port) for name, at, port in sockets if not ipaddress.ip_address(at).is_loopback]
    others = [found for found in beyond if not any(word in found[0] for word in RAY)]
    # The program that the user started is a worker of Ray too, with one socket of its own.
    assert len(others) <= 1 and all("rllib_ext.cli train" in name for name, _, _ in others), others


JOIN = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, include_dashboard=None)
print("inside", len(ray.nodes()))
"""


def join(running: Running, home: Path, **variables: str) -> subprocess.CompletedProcess:
    """What a program gets that tries to join the run's cluster."""
    ports = {port for name, at, port in listening(running) if name.split()[0].endswith("gcs_server")
             and not ipaddress.ip_address(at).is_loopback and _speaks_gcs(name, port)}  # fmt: skip
    (address,) = [f"127.0.0.1:{port}" for port in ports]
    environment = {
        **running.environment,
        "HOME": str(home),
        **variables,
        "RAY_gcs_rpc_server_connect_timeout_s": "3",
    }
    return subprocess.run(
        [sys.executable, "-c", JOIN, address], capture_output=True, text=True, timeout=150, env=environment
    )


def _speaks_gcs(command: str, port: int) -> bool:
    """The server's own port, of those that it listens on: the one that it was told, where it was told one."""
    told = [word.partition("=")[2] for word in command.split() if word.startswith("--gcs_server_port=")]
    return not told or told[0] in ("0", str(port))


@pytest.mark.fault("G8", tries=2)
def test_nobody_joins_without_the_runs_token(running: Running, tmp_path: Path) -> None:
    token = (running.home / ".ray" / "auth_token").read_text()
    welcome = join(running, running.home, RAY_AUTH_MODE="token")
    assert welcome.returncode == 0 and "inside 1" in welcome.stdout, welcome.stderr[-2000:]
    for variables in (
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * len(token)},
        {"RAY_AUTH_MODE": "disabled"},
    ):
        turned_away = join(running, tmp_path, **variables)
        assert turned_away.returncode != 0 and "inside" not in turned_away.stdout


@pytest.mark.fault("G7")
def test_no_secret_is_in_an_argument_list(running: Running) -> None:
    lines = []
    for process in running.processes:
        with suppress(psutil.NoSuchProcess):
            lines.append(" ".join(process.cmdline()))
    token = (running.home / ".ray" / "auth_token").read_text()
    assert len(lines) > 4 and [line for line in lines if CANARY in line or token in line] == []


@pytest.mark.fault("G7")
def test_no_secret_is_in_what_a_run_writes_while_it_is_up(running: Running) -> None:
    token = (running.home / ".ray" / "auth_token").read_text()
    files = [path for path in running.home.rglob("*") if path.is_file() and path.parent.name != ".ray"]
    assert len(files) > 5
    for secret in (CANARY, token):
        assert [str(path) for path in files if secret.encode() in path.read_bytes()] == []
