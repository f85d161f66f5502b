"""Faults that user-supplied rewards bring, injected one by one: each may cost its own sample and nothing else."""

import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from envs.errors import BadEnv
from envs.text.sandbox import Sandbox
from envs.text.sandbox_limits import Limits

TIMEOUT_S = 0.8
ROOT = Path(__file__).resolve().parents[1]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, prctl and seccomp")


def call(completion, prompt="", reference=None):
    return {"prompt": prompt, "completion": completion, "reference": reference}


def children():
    return psutil.Process().children(recursive=True)


@pytest.fixture
def sandbox():
    """Makes sandboxes; afterwards none of their processes may be left."""
    before, made = len(children()), []

    def make(function, *, timeout_s=TIMEOUT_S, **limits):
        made.append(Sandbox(function, timeout_s=timeout_s, limits=Limits(**limits)))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert len(children()) == before


def misbehaving():
    """One function with a fault per completion. Made inside a function, so that it travels by value."""

    def reward(*, prompt, completion, reference):
        import ctypes
        import os
        import re
        import subprocess
        import sys
        import time

        if completion == "loop in Python":
            while True:
                pass
        if completion == "loop in C that holds the interpreter lock":
            re.match(r"(a+)+$", "a" * 64 + "b")
        if completion == "sleep that holds the interpreter lock":
            ctypes.PyDLL(None).sleep(60)
        if completion == "sleep":
            time.sleep(60)
        if completion == "deadlock on import":
            sys.path.insert(0, prompt)
            import hangs_on_import  # noqa: F401
        if completion == "exit":
            os._exit(3)
        if completion == "segmentation fault":
            ctypes.string_at(0)
        if completion == "raise SystemExit":
            sys.exit(4)
        if completion == "memory":
            hog = [bytearray(1 << 26) for _ in range(160)]
            return float(len(hog))
        if completion == "processes":
            for _ in range(1000):
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
        if completion == "leave a process behind and raise":
            subprocess.Popen(["sleep", "60"], start_new_session=True)
            raise ValueError("after starting a process")
        if completion == "return twice":
            os.fork()
        if completion == "big file":
            with open(prompt, "wb") as file:
                for _ in range(1024):
                    file.write(bytes(1 << 20))
        if completion == "print":
            for _ in range(25):
                print("x" * 1_000_000)
            print("the end")
        if completion == "garbage on the channel":
            for fd in range(3, 64):
                try:
                    os.write(fd, b"[1, 2]\n")
                except OSError:
                    continue
        return 1.0

    return reward


@pytest.mark.parametrize(
    "fault",
    [
        "loop in Python",
        "loop in C that holds the interpreter lock",
        "sleep that holds the interpreter lock",
        "sleep",
        "deadlock on import",
    ],
)
def test_a_hanging_call_is_killed_at_its_deadline_and_the_next_is_scored(sandbox, fault, tmp_path):
    (tmp_path / "hangs_on_import.py").write_text("import threading; threading.Event().wait()\n")
    box = sandbox(misbehaving())
    assert box.run([call("fine")])[0].score == 1.0
    processes, direct = len(children()), len(psutil.Process().children())
    start = time.monotonic()
    (lost,) = box.run([call(fault, prompt=str(tmp_path))])
    waited = time.monotonic() - start
    assert lost.score is None and "timed out" in lost.reason
    assert TIMEOUT_S <= waited < TIMEOUT_S + 1.0
    assert len(psutil.Process().children()) == direct, "the replacement is started before the call returns"
    start = time.monotonic()
    assert box.run([call("fine")])[0].score == 1.0
    assert time.monotonic() - start < 5.0
    assert len(children()) == processes
    assert not [child for child in children() if child.status() == psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("exit", "exit code 3"),
        ("segmentation fault", "SIGSEGV"),
        ("raise SystemExit", "SystemExit"),
        ("garbage on the channel", "channel"),
    ],
)
def test_a_call_that_ends_or_confuses_its_process_costs_one_sample(sandbox, fault, reason):
    first, lost, last = sandbox(misbehaving(), timeout_s=5).run([call("fine"), call(fault), call("fine")])
    assert (first.score, lost.score, last.score) == (1.0, None, 1.0)
    assert reason in lost.reason


def test_a_crash_keeps_the_stack_that_the_interpreter_printed(sandbox):
    (lost,) = sandbox(misbehaving(), timeout_s=5).run([call("segmentation fault")])
    assert "Segmentation fault" in lost.trace and "in reward" in lost.trace


@linux_only
def test_memory_is_bounded_and_a_spent_process_is_replaced(sandbox):
    box = sandbox(misbehaving(), timeout_s=10, memory_bytes=400 << 20)
    lost, fine = box.run([call("memory"), call("fine")])
    assert lost.score is None and "MemoryError" in lost.reason
    assert fine.score == 1.0


@linux_only
def test_a_fork_bomb_is_ended_with_all_its_processes(sandbox):
    box = sandbox(misbehaving(), timeout_s=10, processes=16)
    start = time.monotonic()
    lost, fine = box.run([call("processes"), call("fine")])
    assert lost.score is None and fine.score == 1.0
    assert time.monotonic() - start < 5.0
    assert len(children()) == 2, "the supervisor and the worker"


@linux_only
def test_processes_that_a_failed_call_left_behind_are_ended(sandbox):
    lost, fine = sandbox(misbehaving(), timeout_s=5).run(
        [call("leave a process behind and raise"), call("fine")]
    )
    assert "ValueError" in lost.reason and fine.score == 1.0
    assert len(children()) == 2


def test_a_forked_copy_cannot_answer_in_place_of_the_function(sandbox):
    outcomes = sandbox(misbehaving(), timeout_s=5).run([call("return twice"), call("exit"), call("fine")])
    assert [outcome.score for outcome in outcomes] == [1.0, None, 1.0]


def test_written_files_are_bounded(sandbox, tmp_path):
    target = tmp_path / "big"
    lost, fine = sandbox(misbehaving(), timeout_s=10, file_bytes=3 << 20).run(
        [call("big file", prompt=str(target)), call("fine")]
    )
    assert "File too large" in lost.reason and fine.score == 1.0
    assert target.stat().st_size <= 3 << 20


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


@linux_only
@pytest.mark.parametrize("completion", ["here", "in another program"])
def test_the_network_is_closed_unless_it_is_asked_for(sandbox, completion):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        closed = sandbox(network_user(), timeout_s=5).run([call(completion, prompt=port)])
        opened = sandbox(network_user(), timeout_s=5, network=True).run([call(completion, prompt=port)])
    assert closed[0].score is None and opened[0].score == 1.0


def test_sockets_inside_the_machine_still_work(sandbox):
    assert sandbox(network_user(), timeout_s=5).run([call("local pair")])[0].score == 1.0


def test_secrets_of_the_environment_stay_outside_unless_the_network_is_open(sandbox, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_API_KEY", "canary")

    def make():
        def reward(*, prompt, completion, reference):
            import os

            return float("canary" in os.environ.values())

        return reward

    assert sandbox(make(), timeout_s=5).run([call("")])[0].score == 0.0
    assert sandbox(make(), timeout_s=5, network=True).run([call("")])[0].score == 1.0


def test_arguments_arrive_as_they_were_sent(sandbox):
    messages = ({"role": "user", "content": "hello"},)
    long, odd = "x" * 1_000_000, "\ud800 \x00 \u202e \U0001f600"

    def make():
        def reward(*, prompt, completion, reference):
            return float(prompt == messages and completion == (long + odd) and reference is None)

        return reward

    assert sandbox(make(), timeout_s=5).run([call(long + odd, prompt=messages)])[0].score == 1.0


def test_a_function_that_cannot_be_loaded_is_tried_once_per_batch(sandbox, tmp_path, monkeypatch):
    module = tmp_path / "reward_module_that_changes.py"
    good = "def reward(*, prompt, completion, reference):\n    return 2.0\n"
    module.write_text(good)
    monkeypatch.syspath_prepend(str(tmp_path))
    import reward_module_that_changes

    box = sandbox(reward_module_that_changes.reward, timeout_s=5, load_timeout_s=1.0)
    for content, reason in [("import time\ntime.sleep(60)\n", "timed out"), ("1 / 0\n", "ZeroDivisionError")]:
        module.write_text(content)
        start = time.monotonic()
        outcomes = box.run([call("")] * 3)
        assert time.monotonic() - start < 2.5
        assert all(o.score is None and "did not load" in o.reason and reason in o.reason for o in outcomes)
    module.write_text(good)
    assert [outcome.score for outcome in box.run([call("")] * 2)] == [2.0, 2.0]


def test_a_sandbox_starts_late_closes_twice_and_starts_again(sandbox):
    before = len(children())
    box = sandbox(misbehaving(), timeout_s=5)
    assert len(children()) == before
    assert box.run([]) == [] and len(children()) == before
    for _ in range(2):
        assert box.run([call("fine")])[0].score == 1.0
        assert len(children()) > before
        box.close()
        box.close()
        assert len(children()) == before


def test_a_sandbox_pickles_without_its_process(sandbox):
    box = sandbox(misbehaving(), timeout_s=5)
    box.run([call("fine")])
    copy = pickle.loads(pickle.dumps(box))
    try:
        assert copy.run([call("fine")])[0].score == 1.0
        assert copy.limits == box.limits and copy.timeout_s == box.timeout_s
    finally:
        copy.close()


def test_threads_that_share_a_sandbox_get_their_own_scores(sandbox):
    def make():
        def reward(*, prompt, completion, reference):
            return float(completion)

        return reward

    box, results = sandbox(make(), timeout_s=5), {}

    def ask(thread):
        results[thread] = [o.score for o in box.run([call(str(1000 * thread + i)) for i in range(50)])]

    threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert results == {thread: [1000.0 * thread + i for i in range(50)] for thread in range(4)}


@linux_only
def test_nothing_survives_a_caller_that_is_killed(tmp_path):
    report = tmp_path / "pid"
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from envs.text.sandbox import Sandbox

def reward(*, prompt, completion, reference):
    import ctypes, os, subprocess
    below = subprocess.Popen(["sleep", "60"], start_new_session=True)
    with open(completion + ".part", "w") as file:
        file.write(f"{{os.getppid()}} {{os.getpid()}} {{below.pid}}")
    os.rename(completion + ".part", completion)
    ctypes.PyDLL(None).sleep(60)

Sandbox(reward, timeout_s=50).run([dict(prompt="", completion={str(report)!r}, reference=None)])
"""
    caller = subprocess.Popen([sys.executable, "-c", script])
    try:
        wait_for(report.exists)
        pids = [int(pid) for pid in report.read_text().split()]
        assert all(psutil.pid_exists(pid) for pid in pids)
    finally:
        caller.kill()
        caller.wait(timeout=10)
    wait_for(lambda: not any(is_alive(pid) for pid in pids))


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.02)


def test_the_fresh_interpreter_holds_nothing_of_the_caller(sandbox):
    def make():
        def reward(*, prompt, completion, reference):
            import sys

            return float(len({"torch", "ray", "vllm", "pytest", "numpy"} & sys.modules.keys()))

        return reward

    start = time.monotonic()
    assert sandbox(make(), timeout_s=5).run([call("")])[0].score == 0.0
    assert time.monotonic() - start < 5.0


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(BadEnv, match="timeout_s"):
        Sandbox(print, timeout_s=0)
    with pytest.raises(BadEnv, match="timeout_s"):
        Sandbox(print, timeout_s=float("nan"))
    with pytest.raises(BadEnv, match="memory_bytes"):
        Limits(memory_bytes=0)
    lock = threading.Lock()
    with pytest.raises(BadEnv, match="cannot be sent"):
        Sandbox(lambda **_: lock.locked(), timeout_s=1)


@linux_only
def test_a_stopped_supervisor_is_ended_by_force(sandbox, monkeypatch):
    monkeypatch.setattr("envs.text.sandbox_process.END_WAIT_S", 0.3)

    def make():
        def reward(*, prompt, completion, reference):
            import os
            import signal
            import time

            if completion == "stop":
                os.kill(os.getppid(), signal.SIGSTOP)
                time.sleep(60)
            return 1.0

        return reward

    lost, fine = sandbox(make()).run([call("stop"), call("fine")])
    assert lost.score is None and fine.score == 1.0


def test_the_environment_module_is_found_from_any_working_folder(tmp_path):
    """The process imports ``envs`` from where the caller has it, whatever the caller's working folder is."""
    script = (
        "import sys, os; sys.path.insert(0, sys.argv[1]); from envs.text.sandbox import Sandbox\n"
        "print(Sandbox(lambda **k: 3.0, timeout_s=5).run([dict(prompt='', completion='', reference=None)])[0].score)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=30,
    )
    assert done.stdout.strip() == b"3.0", done.stderr.decode()
