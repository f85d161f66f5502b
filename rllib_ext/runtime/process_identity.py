"""Whether the process that owns a lock is still the process that took it.

A process is its id *and* its start time, because a restarted container gives the same small ids again. The
machine is its host name *and* its process namespace, because two containers may share a host name and not
see each other's processes. Of a process elsewhere nothing can be known but its heartbeat.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "namespace": _namespace(),
        "started": _started(os.getpid()),
    }


def is_dead(owner: dict[str, Any], age: float) -> bool:
    if age > 2 * heartbeat_of(owner):
        return True
    if owner.get("host") != platform.node() or owner.get("namespace") != _namespace():
        return False
    pid = owner.get("pid")
    return not isinstance(pid, int) or _started(pid) != owner.get("started")


def heartbeat_of(owner: dict[str, Any]) -> float:
    value = owner.get("heartbeat_s")
    return float(value) if isinstance(value, (int, float)) and value > 0 else 10.0


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process of this machine started, in kernel ticks; ``None`` when it is gone or a zombie.

    ``/proc/<pid>/stat`` is ``pid (name) state ppid ...`` with the start as field 22; the name may hold
    spaces and brackets. Where there is no ``/proc``, signal 0 tells whether the id is in use, which is the
    best to be had.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    except OSError:
        if os.path.isdir("/proc/self"):
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "alive"
    return "alive"
