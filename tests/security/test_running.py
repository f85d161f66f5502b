"""What a run shows to the outside while it is up: its sockets (G8) and its argument lists (G7)."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
from chaos.inject import until

CANARY = "canary-59d0c2b8aa"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[psutil.Process]]:
    """Every process of a run that is training, secrets in its environment."""
    home = tmp_path_factory.mktemp("up")
    words = ["train", "AsyncOnlineDPO", "--smoke", "--name", "up", "--storage-path", str(home)]
    for setting in ("engine=hf", "num_learners=1", "total_updates=100000"):
        words += ["--set", setting]
    environment = {**os.environ, "WANDB_API_KEY": CANARY, "HF_TOKEN": CANARY}
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):  # as a user has it who has set nothing
        environment.pop(name, None)
    environment["HOME"] = str(home)  # Ray keeps a token there
    log = (home / "log").open("w")
    run = subprocess.Popen(
        [sys.executable, "-m", "rllib_ext.cli", *words], stdout=log, stderr=log, env=environment,
        start_new_session=True,
    )  # fmt: skip
    found: list[psutil.Process] = []
    try:
        until(
            lambda: run.poll() is not None or any(home.glob("AsyncOnlineDPO-*/result.json")),
            300,
            "a first result",
        )
        assert run.poll() is None, (home / "log").read_text()[-3000:]
        found = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        yield found
    finally:
        for process in [*found, *([psutil.Process(run.pid)] if run.poll() is None else [])]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        run.wait(timeout=30)


@pytest.mark.fault("G8")
def test_every_listening_socket_is_on_the_loopback_interface(family: list[psutil.Process]) -> None:
    listening = []
    for process in family:
        with suppress(psutil.NoSuchProcess):
            listening += [
                (process.name(), connection.laddr)
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
    assert len(family) > 4 and listening, "the run's processes were not found"
    assert [(name, at) for name, at in listening if not ipaddress.ip_address(at.ip).is_loopback] == []


@pytest.mark.fault("G7")
def test_no_secret_is_in_an_argument_list(family: list[psutil.Process]) -> None:
    lines = []
    for process in family:
        with suppress(psutil.NoSuchProcess):
            lines.append(" ".join(process.cmdline()))
    assert len(lines) > 4 and [line for line in lines if CANARY in line] == []
