"""What the process that runs a reward may use: set by that process on itself, before it loads any foreign
code.

| limit     | kept by                                                | what the function sees               |
|-----------|--------------------------------------------------------|--------------------------------------|
| memory    | RLIMIT_AS                                              | ``MemoryError``                      |
| file size | RLIMIT_FSIZE                                           | ``OSError`` (file too large)         |
| processes | RLIMIT_NPROC (root is exempt); counting by the parent  | ``BlockingIOError``, or it is killed |
| network   | a seccomp filter on Linux; an audit hook everywhere    | ``PermissionError``                  |

These bound accidents and careless code. They are no jail for hostile native code: for that, run the whole
worker in a container or a virtual machine.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from dataclasses import dataclass

from envs.errors import BadEnv

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
# machine: (architecture as the audit system numbers it, number of socket(2))
_SYSTEM = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP = 425  # it can open sockets past a filter on socket(2)
_AF_UNIX = 1
_OTHER_THREADS = 256  # RLIMIT_NPROC counts all threads of the user; room for those that other programs start


@dataclass(frozen=True)
class Limits:
    """Bounds of one reward process.

    memory_bytes     address space; 4 GiB holds torch on a CPU, a CUDA context needs far more
    file_bytes       largest file it may write
    processes        how many processes it may have below itself
    output_bytes     how much of what it prints is kept (the end of it); the rest is read and dropped
    network          True opens the network, and hands over environment variables that look like secrets
    load_timeout_s   for importing what the function needs, once per process
    """

    memory_bytes: int = 4 << 30
    file_bytes: int = 64 << 20
    processes: int = 64
    output_bytes: int = 64 << 10
    network: bool = False
    load_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "file_bytes", "processes", "output_bytes", "load_timeout_s"):
            if not getattr(self, name) > 0:
                raise BadEnv(f"Limits.{name} is {getattr(self, name)!r}; it must be above 0")


def apply_limits(limits: Limits) -> bool:
    """Bind the calling process for good. Returns whether the kernel too keeps the network rule."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_AS, limits.memory_bytes)
    if hasattr(resource, "RLIMIT_NPROC"):
        _lower(resource.RLIMIT_NPROC, _threads_of_user() + limits.processes + _OTHER_THREADS)
    if limits.network:
        return True
    sys.addaudithook(_deny_network)
    return _install_socket_filter()


def descendants(pid: int) -> list[int]:
    """Living processes below ``pid``, from /proc; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in _numbers_in_proc():
        try:
            with open(f"/proc/{entry}/stat", "rb") as stat:
                state, parent = stat.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):  # it ended while the table was read
            continue
        if state not in (b"Z", b"X"):
            children.setdefault(int(parent), []).append(entry)
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _numbers_in_proc() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _threads_of_user() -> int:
    user, total = os.getuid(), 0
    for pid in _numbers_in_proc():
        try:
            if os.stat(f"/proc/{pid}").st_uid == user:
                total += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:  # it ended, or is not ours to read
            continue
    return total


def _lower(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _deny_network(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.__new__" and arguments[1] != _AF_UNIX:
        raise PermissionError("the network is closed to reward functions; Limits(network=True) opens it")


def set_process_option(option: int, value: int, pointer: object = 0) -> bool:
    """``prctl(2)``; False where the kernel refuses or is not Linux."""
    return sys.platform == "linux" and bool(ctypes.CDLL(None).prctl(option, value, pointer, 0, 0) == 0)


def _install_socket_filter() -> bool:
    """Let the kernel refuse every socket but AF_UNIX, in this process and in all below it."""
    if platform.machine() not in _SYSTEM or sys.byteorder != "little":
        return False
    architecture, socket_number = _SYSTEM[platform.machine()]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06  # classic BPF: ld [k], jeq, jge, ret
    allow, deny = 8, 9
    # code, jump to if true, jump to if false, operand; jumps are absolute here, relative in the kernel
    steps = [
        (load, 0, 0, 4),  # architecture of the system call
        (equal, 2, deny, architecture),
        (load, 0, 0, 0),  # number of the system call
        (at_least, deny, 4, 0x40000000),  # the x32 numbering of x86
        (equal, deny, 5, _IO_URING_SETUP),
        (equal, 6, allow, socket_number),
        (load, 0, 0, 16),  # first argument: the address family
        (equal, allow, deny, _AF_UNIX),
        (answer, 0, 0, 0x7FFF0000),
        (answer, 0, 0, 0x00050000 | 13),  # errno EACCES
    ]
    jumps = (equal, at_least)
    program = b"".join(
        struct.pack("<HBBI", code, *((yes - i - 1, no - i - 1) if code in jumps else (0, 0)), operand)
        for i, (code, yes, no, operand) in enumerate(steps)
    )
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(steps), ctypes.addressof(buffer))
    pointer = ctypes.create_string_buffer(header, len(header))
    return set_process_option(_PR_SET_NO_NEW_PRIVS, 1) and set_process_option(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(pointer))
    )
