"""Writing so that a crash, a full disk or a lost mount leaves either the old bytes or the new ones, never a
mixture.

The recipe is POSIX's: write under a temporary name, fsync the file, rename over the old name, fsync the
folder. Without the first fsync the rename may reach the disk before the data; without the second the rename
itself may be lost.

Every ``OSError`` of a write becomes a ``StorageError`` that says what could not be written, where, and what
to do. It stays an ``OSError`` with its ``errno``, so a trainer can go on and try again later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

from rllib_ext.errors import RllibExtError

_ADVICE = {
    errno.ENOSPC: ("storage full", "free space there or move the run to a larger disk"),
    errno.EDQUOT: ("storage quota used up", "free space there or raise the quota"),
    errno.EFBIG: ("file size limit reached", "raise the limit (ulimit -f) or use another file system"),
    errno.EROFS: ("storage is read-only", "remount it writable or move the run"),
    errno.EACCES: ("no permission to write", "change the folder's permissions or move the run"),
    errno.EPERM: ("no permission to write", "change the folder's permissions or move the run"),
    errno.ENOENT: ("storage vanished", "bring the folder or its mount back, or move the run"),
    errno.ESTALE: ("network storage is stale", "mount it again or move the run"),
    errno.EIO: ("storage reports an input/output error", "check the disk, then move the run to another one"),
}
_FSYNC_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_OS_ERROR = re.compile(r"os error (\d+)")


class StorageError(RllibExtError, OSError):
    """Something could not be written; what was there before is still there."""

    exit_code = 4


@contextlib.contextmanager
def storage_errors(where: Path, doing: str) -> Iterator[None]:
    """Turns an ``OSError`` of the block into a ``StorageError`` about ``doing`` at ``where``."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        code = error.errno if error.errno is not None else errno.EIO
        reason, advice = _ADVICE.get(code, (os.strerror(code), "see whether the folder can be written to"))
        raise StorageError(
            code,
            f"{reason} at {where}: {doing} failed ({error}). Nothing older was deleted; "
            f"{advice}. Training can go on and the next save tries again.",
        ) from error


def os_error_in(error: Exception) -> OSError:
    """The ``OSError`` that a Rust library reports as text, ``... (os error 28)``, else ``EIO``."""
    found = _OS_ERROR.search(str(error))
    code = int(found[1]) if found else errno.EIO
    return OSError(code, str(error))


def fsync(path: Path) -> None:
    """Flushes a file or a folder to the device.

    A folder on some network and FUSE file systems answers that fsync does not exist for it. There the rename
    is as durable as that file system makes it, and nothing better is to be had; any other failure is raised.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _FSYNC_UNSUPPORTED or not path.is_dir():
            raise
    finally:
        os.close(handle)


def write_new(path: Path, data: bytes) -> None:
    """Writes a file that must not exist yet, and flushes it."""
    with open(path, "xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def replace(path: Path, data: bytes) -> None:
    """Gives ``path`` the content ``data`` in one step: readers see the old bytes or the new ones.

    The temporary file carries a fresh name, so that two writers cannot write into each other's; it is
    removed when the write fails, to give the space back.
    """
    temporary = path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex}")
    try:
        write_new(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    fsync(path.parent)
