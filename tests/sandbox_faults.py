"""A sandbox per test, a function with a fault per completion, and what the sandbox tests measure with."""

import sys
from contextlib import suppress

import psutil
import pytest

from envs.text.sandbox import Sandbox
from envs.text.sandbox_limits import Limits

TIMEOUT_S = 0.8
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, prctl and seccomp")


def call(completion, prompt="", reference=None):
    return {"prompt": prompt, "completion": completion, "reference": reference}


def children():
    """Every process below this one, but for a Ray session of the suite, whose workers come and go."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if not any("/ray/" in word for word in child.cmdline()[:3]):
                found += [child, *child.children(recursive=True)]
    return found


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
            for fd in range(3, 4096):
                try:
                    os.write(fd, b"[1, 2]\n")
                except OSError:
                    continue
        return 1.0

    return reward
