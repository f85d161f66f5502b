"""What a reward process may use: memory, processes, files, output, network and secrets."""

import socket
import time

import pytest
from sandbox_faults import call, children, linux_only, misbehaving, sandbox

__all__ = ["sandbox"]


@pytest.mark.fault("E3")
@linux_only
def test_memory_is_bounded_and_a_spent_process_is_replaced(sandbox):
    box = sandbox(misbehaving(), timeout_s=10, memory_bytes=400 << 20)
    lost, fine = box.run([call("memory"), call("fine")])
    assert lost.score is None and "MemoryError" in lost.reason
    assert fine.score == 1.0


@pytest.mark.fault("E3")
@linux_only
def test_a_fork_bomb_is_ended_with_all_its_processes(sandbox):
    box = sandbox(misbehaving(), timeout_s=10, processes=16)
    start = time.monotonic()
    lost, fine = box.run([call("processes"), call("fine")])
    assert lost.score is None and fine.score == 1.0
    assert time.monotonic() - start < 5.0
    assert len(children()) == 2, "the supervisor and the worker"


@pytest.mark.fault("E3")
@linux_only
def test_processes_that_a_failed_call_left_behind_are_ended(sandbox):
    lost, fine = sandbox(misbehaving(), timeout_s=5).run(
        [call("leave a process behind and raise"), call("fine")]
    )
    assert "ValueError" in lost.reason and fine.score == 1.0
    assert len(children()) == 2


@pytest.mark.fault("E3")
def test_written_files_are_bounded(sandbox, tmp_path):
    target = tmp_path / "big"
    lost, fine = sandbox(misbehaving(), timeout_s=10, file_bytes=3 << 20).run(
        [call("big file", prompt=str(target)), call("fine")]
    )
    assert "File too large" in lost.reason and fine.score == 1.0
    assert target.stat().st_size <= 3 << 20


@pytest.mark.fault("E3")
def test_printing_is_drained_and_only_its_end_is_kept(sandbox):
    box = sandbox(misbehaving(), timeout_s=10, output_bytes=1000)
    assert box.run([call("print")])[0].score == 1.0
    assert len(box.last_output) == 1000 and box.last_output.endswith("the end\n")


def network_user():
    def reward(*, prompt, completion, reference):
        import socket
        import subprocess
        import sys

        code = f"import socket; socket.create_connection(('127.0.0.1', {prompt}), timeout=2)"
        if completion == "here":
            exec(code)
        if completion == "in another program":
            silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            return 1.0 if subprocess.run([sys.executable, "-c", code], **silent).returncode == 0 else None
        if completion == "local pair":
            for end in socket.socketpair():
                end.close()
        return 1.0

    return reward


@pytest.mark.fault("E3")
@linux_only
@pytest.mark.parametrize("completion", ["here", "in another program"])
def test_the_network_is_closed_unless_it_is_asked_for(sandbox, completion):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        closed = sandbox(network_user(), timeout_s=5).run([call(completion, prompt=port)])
        opened = sandbox(network_user(), timeout_s=5, network=True).run([call(completion, prompt=port)])
    assert closed[0].score is None and opened[0].score == 1.0


def test_sockets_inside_the_machine_still_work(sandbox):
    assert sandbox(network_user(), timeout_s=5).run([call("local pair")])[0].score == 1.0


@pytest.mark.fault("G7")
def test_secrets_of_the_environment_stay_outside_unless_the_network_is_open(sandbox, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_API_KEY", "canary")

    def make():
        def reward(*, prompt, completion, reference):
            import os

            return float("canary" in os.environ.values())

        return reward

    assert sandbox(make(), timeout_s=5).run([call("")])[0].score == 0.0
    assert sandbox(make(), timeout_s=5, network=True).run([call("")])[0].score == 1.0
