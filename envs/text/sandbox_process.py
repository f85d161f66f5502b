"""One reward process seen from outside: start it, talk to it under a deadline, end it with all that it
started.

The process is a fresh interpreter (``subprocess`` with pipes), never a fork: the worker that calls holds an
inference engine and its threads, and a forked copy of those can deadlock before it runs a line.
"""

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from envs.text.sandbox_limits import Limits, descendants

WATCH_S = 0.25  # how often a silent process is looked at
END_WAIT_S = 4.0
MAX_REPLY_BYTES = 1 << 20
SECRET = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|ACCESS_?KEY|CREDENTIAL|PRIVATE", re.IGNORECASE)
PROJECT = str(Path(__file__).resolve().parents[2])
BOOT = """
import json, os, sys
setup = os.fdopen(int(sys.argv[1]), "rb")
header = json.loads(setup.readline())
sys.path[:] = header["path"]
from envs.text.sandbox_child import start
start(setup, header, int(sys.argv[2]), int(sys.argv[3]))
"""


TIMED_OUT = "timed out"


class ProcessLost(Exception):
    """The process gave no answer: too late, ended, or over a limit. The text is the reason."""


class RewardProcess:
    """A running interpreter that holds one function. The constructor does not wait for it to be ready."""

    def __init__(self, payload: bytes, limits: Limits) -> None:
        self._limits = limits
        self._buffer = b""
        self.ready = False
        self.output = b""
        self.output_bytes = 0
        header = {"path": _import_path(), "limits": asdict(limits)}
        with tempfile.TemporaryFile() as setup:
            setup.write(json.dumps(header).encode() + b"\n" + payload)
            setup.seek(0)
            self._start(setup.fileno())

    def _start(self, setup_fd: int) -> None:
        request_read, self._requests = os.pipe()
        self._replies, reply_write = os.pipe()
        fds = (setup_fd, request_read, reply_write)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-X", "faulthandler", "-c", BOOT, *map(str, fds)],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(self._limits.network),
            )
        except OSError:
            os.close(self._requests)
            os.close(self._replies)
            raise
        finally:
            os.close(request_read)
            os.close(reply_write)
        self._stdout = self._process.stdout.fileno()  # type: ignore[union-attr]
        for fd in (self._requests, self._replies, self._stdout):
            os.set_blocking(fd, False)

    def exchange(self, message: bytes, deadline_s: float) -> dict[str, Any]:
        """Send ``message`` (may be empty) and return the next answer; ProcessLost at the deadline."""
        end = time.monotonic() + deadline_s
        looked = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            selector.register(self._stdout, selectors.EVENT_READ)
            if message:
                selector.register(self._requests, selectors.EVENT_WRITE)
            while (line := self._take_line()) is None:
                now = time.monotonic()
                if now >= end:
                    raise ProcessLost(f"{TIMED_OUT} after {deadline_s:g} s and was killed")
                if now - looked >= WATCH_S:
                    self._look()
                    looked = now
                for key, _ in selector.select(min(end - now, WATCH_S)):
                    if key.fd == self._requests:
                        message = self._send(message)
                        if not message:
                            selector.unregister(self._requests)
                    else:
                        self._receive(key.fd, selector)
        return _parsed(line)

    def _take_line(self) -> bytes | None:
        line, found, rest = self._buffer.partition(b"\n")
        if found:
            self._buffer = rest
            return line
        if len(self._buffer) > MAX_REPLY_BYTES:
            raise ProcessLost("wrote to the channel of the sandbox")
        return None

    def _send(self, message: bytes) -> bytes:
        try:
            return message[os.write(self._requests, message) :]
        except BlockingIOError:
            return message
        except BrokenPipeError:
            raise ProcessLost(self._epitaph()) from None

    def _receive(self, fd: int, selector: selectors.BaseSelector) -> None:
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        if fd == self._replies:
            if not data:
                raise ProcessLost(self._epitaph())
            self._buffer += data
        elif data:
            self.output_bytes += len(data)
            self.output = (self.output + data)[-self._limits.output_bytes :]
        else:
            selector.unregister(fd)  # the function closed its standard output; the answer may still come

    def _look(self) -> None:
        """Notice an end that a forked copy hides by holding the pipes, and too many processes."""
        if self._process.poll() is not None:
            raise ProcessLost(self._epitaph())
        below = len(descendants(self._process.pid)) - 1  # the supervisor's one child is the worker
        if below > self._limits.processes:
            raise ProcessLost(f"started {below} processes, limit {self._limits.processes}, and was killed")

    def _epitaph(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)
        code = self._process.returncode
        if code is None:
            return "closed the channel of the sandbox"
        if code >= 0:
            return f"ended its process with exit code {code}"
        try:
            return f"crashed its process ({signal.Signals(-code).name})"
        except ValueError:
            return f"crashed its process (signal {-code})"

    def kill(self) -> None:
        """End the process and everything below it, and reap it. Safe to call twice."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)  # the supervisor cleans up and ends
            try:
                self._process.wait(timeout=END_WAIT_S)
            except subprocess.TimeoutExpired:
                self._kill_group()
        self.abandon()

    def _kill_group(self) -> None:
        """For a supervisor that something has stopped."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # asleep in the kernel: reaped later
            self._process.wait(timeout=END_WAIT_S)

    def abandon(self) -> None:
        """Close this side of the pipes; the process, if it is alive and waiting, ends by itself."""
        for fd in (self._requests, self._replies):
            if fd >= 0:
                os.close(fd)
        self._requests = self._replies = -1
        if self._process.stdout is not None:
            self._process.stdout.close()


def _import_path() -> list[str]:
    return sys.path if PROJECT in sys.path else [*sys.path, PROJECT]


def _environment(network: bool) -> dict[str, str]:
    """One thread for numerical libraries (threads count as processes); no secrets offline."""
    kept = {name: value for name, value in os.environ.items() if network or not SECRET.search(name)}
    return {"OMP_NUM_THREADS": "1", **kept}


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ProcessLost("wrote to the channel of the sandbox")
    return answer
