"""Names that come from outside stay inside the folder they belong to.

A checkpoint's manifest, a config or a command line may carry a file name that somebody else chose. Two
functions are the only ways from such a name to a path:

* ``plain_name`` for a single component (a checkpoint file, a group of tensors): an allow-list, because a
  deny-list of separators, drive letters and control characters is never complete;
* ``contained`` for a relative path of several components (a file of a run folder): the syntax is checked
  first, then the path is resolved, links included, and must still lie below its root.

Left out: a root that somebody changes between the check and the use. A run folder belongs to the user who
runs it.
"""

from __future__ import annotations

import re
from pathlib import Path

from rllib_ext.errors import Untrusted

_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,126}[A-Za-z0-9_\-])?")
_DRIVE = re.compile(r"[A-Za-z]:")


def plain_name(name: object, what: str) -> str:
    """``name`` if it is one harmless path component, else ``Untrusted``.

    Letters, digits, ``_``, ``-`` and ``.`` (neither first nor last), at most 128 characters: valid on every
    file system, the same bytes in every encoding, and unable to name a parent, a root or a hidden file.
    """
    if not isinstance(name, str) or not _PLAIN.fullmatch(name):
        raise Untrusted(
            f"{what} has the name {_shown(name)}, which is not a plain name. "
            "Use letters, digits, '_', '-' and inner dots, at most 128 characters."
        )
    return name


def contained(root: Path | str, name: str, what: str = "file") -> Path:
    """The resolved path of ``root / name``, which is certain to lie below ``root``; otherwise ``Untrusted``.

    Refused: empty and absolute names, ``..``, components that begin with ``~``, backslashes, drive letters,
    control characters, text that no file system can hold, and links that lead out of ``root``.
    """
    if not isinstance(name, str) or not name or _looks_hostile(name):
        raise Untrusted(
            f"{what} name {_shown(name)} is not a path inside {root}. "
            "Use a relative path without '..', '~', backslashes, drive letters or control characters."
        )
    try:
        base = Path(root).resolve()
        path = (base / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise Untrusted(
            f"{what} name {_shown(name)} cannot be resolved inside {root} ({error}). Choose another name."
        ) from error
    if path == base or not path.is_relative_to(base):
        raise Untrusted(
            f"{what} name {_shown(name)} leads outside {root}. Remove the link or choose another name."
        )
    return path


def _looks_hostile(name: str) -> bool:
    if name.startswith("/") or "\\" in name or _DRIVE.match(name):
        return True
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in name):
        return True
    return any(part == ".." or part.startswith("~") for part in name.split("/"))


def _shown(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= 120 else text[:117] + "..."
