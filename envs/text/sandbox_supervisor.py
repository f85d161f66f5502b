"""The process between the caller and the reward: it starts the one that runs the function, and cleans up
after it.

It runs no foreign code, so it can always act. It ends when the worker ends, when it is told to (SIGTERM), or
when the caller is gone (its end of the request pipe is closed), and before it goes it kills and reaps
everything below it: on Linux it adopts the orphans of its descendants, so that neither processes nor zombies
are left to others.
"""

import faulthandler
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from envs.text.sandbox_limits import descendants, set_process_option

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLEAR_S = 2.0


def supervise(work: Callable[[], None], request_fd: int, reply_fd: int) -> None:
    """Fork, run ``work`` in the child, end with the child's exit status. Never returns.

    The fork is safe here and would not be in the caller: this interpreter is new and has a single thread.
    """
    set_process_option(PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    worker = os.fork()
    if worker == 0:
        _become_worker(wake_read, wake_write)
        work()
        sys.stdout.flush()
        os._exit(0)
    os.close(reply_fd)  # or the caller would not see the end of the worker
    status = _watch(worker, request_fd, wake_read)
    _clear(worker)
    _leave(status)


def _become_worker(wake_read: int, wake_write: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.close(wake_read)
    os.close(wake_write)
    set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch(worker: int, request_fd: int, wake_read: int) -> int:
    """Wait for the worker's end and return its status, or 0 where the caller has gone or asks for the end."""
    poller = select.poll()
    poller.register(wake_read, select.POLLIN)
    poller.register(request_fd, 0)  # of the pipe only its end is of interest; the requests are for the worker
    while True:
        events = poller.poll()
        for pid, status in _reaped():
            if pid == worker:
                return status
        if any(fd == request_fd for fd, _ in events) or signal.SIGTERM in _read_all(wake_read):
            return 0


def _read_all(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except BlockingIOError:
        return b""


def _reaped() -> list[tuple[int, int]]:
    """Everybody who has ended: process id and status."""
    found = []
    try:
        while (entry := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(entry)
    except ChildProcessError:
        pass
    return found


def _clear(worker: int) -> None:
    """Kill and reap until nobody is left; again and again, because a fork bomb goes on between two looks."""
    end = time.monotonic() + CLEAR_S
    while time.monotonic() < end:
        for pid in {worker, *descendants(os.getpid())}:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _leave(status: int) -> None:
    """End as the worker ended, so that the caller reads its fate from this process."""
    if os.WIFSIGNALED(status):
        faulthandler.disable()
        if (number := os.WTERMSIG(status)) != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))
