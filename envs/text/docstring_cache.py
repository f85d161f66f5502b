"""Summaries of a package, harvested once per version and kept in the user's cache folder.

One JSON-lines file per package, named after its version, the Python that parsed it and ``FORMAT``; the first
line says how many pairs follow and what they hash to. Files are written aside and renamed, so a reader sees a
whole file or none. A file that does not verify is rebuilt, and a cache that cannot be written costs time, not
the run; both are logged.
"""

import hashlib
import json
import logging
import os
import re
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from envs.errors import BadData
from envs.text.docstring_source import Pair, harvest, package_folder, source_files

FORMAT = 1  # raise it with every change of what is harvested
log = logging.getLogger(__name__)


def package_pairs(package: str) -> list[Pair]:
    """The pairs of an installed package, from the cache or else from its source files."""
    path = cache_folder() / _file_name(package)
    try:
        return _read(path)
    except FileNotFoundError:
        log.info("reading the docstrings of %s, once per version", package)
    except (OSError, ValueError) as error:
        log.warning("rebuilding %s, which does not verify: %s", path, error)
    pairs = harvest(package)
    try:
        _write(path, pairs)
    except OSError as error:
        log.warning("%s cannot be written, so it will be built again next time: %s", path, error)
    return pairs


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/rllib_ext/docstrings``, else below ``~/.cache``; relative values do not count."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "rllib_ext" / "docstrings"


def _file_name(package: str) -> str:
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    return f"{package}-{_version(package)}-{python}-f{FORMAT}.jsonl"


def _version(package: str) -> str:
    """The distribution's version; where there is none by that name, a fingerprint of the files."""
    root = package_folder(package)
    if root is None:
        raise BadData(f"package {package!r} is not installed; install it or do not name it")
    try:
        return re.sub(r"[^A-Za-z0-9.+]", "_", metadata.version(package))
    except metadata.PackageNotFoundError:
        stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in source_files(root)]
        return hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]


def _read(path: Path) -> list[Pair]:
    head, _, body = path.read_bytes().partition(b"\n")
    expected = json.loads(head)
    if not isinstance(expected, dict) or expected.get("sha256") != hashlib.sha256(body).hexdigest():
        raise ValueError("its content does not match its hash")
    pairs = [Pair(*json.loads(line)) for line in body.splitlines()]
    if len(pairs) != expected.get("pairs"):
        raise ValueError(f"it holds {len(pairs)} pairs instead of {expected.get('pairs')}")
    return pairs


def _write(path: Path, pairs: list[Pair]) -> None:
    body = b"".join(json.dumps(pair).encode() + b"\n" for pair in pairs)
    head = json.dumps({"format": FORMAT, "pairs": len(pairs), "sha256": hashlib.sha256(body).hexdigest()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as file:
        try:
            file.write(head.encode() + b"\n" + body)
            file.close()
            os.replace(file.name, path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
