"""The package's error tree. Every message says what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from envs.errors import BadData, BadEnv, RllibExtError

__all__ = [
    "BadConfig",
    "BadData",
    "BadEnv",
    "CheckpointCorrupt",
    "NonFinite",
    "RllibExtError",
    "Stalled",
    "Untrusted",
    "unknown_name",
]


class BadConfig(RllibExtError, ValueError):
    """A setting that is unknown, out of range, or at odds with another one."""

    exit_code = 2


class CheckpointCorrupt(RllibExtError):
    """A checkpoint that is incomplete or whose bytes are not those that were written."""

    exit_code = 3


class Untrusted(RllibExtError):
    """Something that could run code or leave its folder came from outside the trust boundary."""

    exit_code = 3


class NonFinite(RllibExtError):
    """Losses, gradients or rewards stopped being numbers for longer than training tolerates."""

    exit_code = 4


class Stalled(RllibExtError):
    """Someone that the run waits for did not answer before the deadline."""

    exit_code = 4


def unknown_name(kind: str, name: str, known: Iterable[str]) -> BadConfig:
    """The error for a name that is not in a table: it answers with the nearest right one."""
    known = sorted(known)
    lowered = {item.lower(): item for item in known}
    same = lowered.get(name.lower())  # right but for its capitals
    nearest = [same] if same else difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    if not nearest:
        nearest = [lowered[hit] for hit in difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.4)]
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return BadConfig(f"unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")
