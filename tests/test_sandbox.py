"""Faults that rewards of users bring, injected one by one: each may cost its own sample and nothing else."""

import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from chaos.inject import tries
from sandbox_faults import TIMEOUT_S, call, children, linux_only, misbehaving, sandbox

from envs.errors import BadEnv
from envs.text.sandbox import Sandbox
from envs.text.sandbox_limits import Limits

__all__ = ["sandbox"]

ROOT = Path(__file__).resolve().parents[1]
HANGS = tries(1, 10)  # of each kind


@pytest.mark.fault("E2", tries=HANGS)
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
    for _ in range(HANGS):
        start = time.monotonic()
        (lost,) = box.run([call(fault, prompt=str(tmp_path))])
        waited = time.monotonic() - start
        assert lost.score is None and "timed out" in lost.reason
        assert TIMEOUT_S <= waited < TIMEOUT_S + 1.0
        assert len(psutil.Process().children()) == direct, (
            "the replacement is started before the call returns"
        )
        start = time.monotonic()
        assert box.run([call("fine")])[0].score == 1.0
        assert time.monotonic() - start < 5.0
        assert len(children()) == processes
        assert not [child for child in children() if child.status() == psutil.STATUS_ZOMBIE]


@pytest.mark.fault("E1")
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


def test_a_forked_copy_cannot_answer_in_place_of_the_function(sandbox):
    outcomes = sandbox(misbehaving(), timeout_s=5).run([call("return twice"), call("exit"), call("fine")])
    assert [outcome.score for outcome in outcomes] == [1.0, None, 1.0]


def test_arguments_arrive_as_they_were_sent(sandbox):
    messages = ({"role": "user", "content": "hello"},)
    long, odd = "x" * 1_000_000, "\ud800 \x00 \u202e \U0001f600"

    def make():
        def reward(*, prompt, completion, reference):
            return float(prompt == messages and completion == (long + odd) and reference is None)

        return reward

    assert sandbox(make(), timeout_s=5).run([call(long + odd, prompt=messages)])[0].score == 1.0


@pytest.mark.fault("E2", tries=2)
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


@pytest.mark.fault("E2")
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


@pytest.mark.fault("E2")
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
        "call = dict(prompt='', completion='', reference=None)\n"
        "print(Sandbox(lambda **k: 3.0, timeout_s=5).run([call])[0].score)"
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


@pytest.mark.fault("E2", tries=3)
def test_a_function_that_always_hangs_costs_a_batch_three_deadlines(sandbox):
    """Sixty-four samples at one deadline each would outlast every patience of a rollout worker."""
    began = time.monotonic()
    outcomes = sandbox(misbehaving(), timeout_s=0.5).run([call("sleep")] * 64)
    assert [outcome.score for outcome in outcomes] == [None] * 64
    assert sum("was killed" in outcome.reason for outcome in outcomes) == 3
    assert time.monotonic() - began < 64 * 0.5
