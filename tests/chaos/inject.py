"""What the tests of the fault battery share: how often to try, seeds that are printed, processes to do harm to."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable

import psutil

TIER = "RLLIB_EXT_TEST_BATTERY"  # handed down to the processes that run tests


def set_tier(tier: str) -> None:
    os.environ[TIER] = tier


def tries(quick: int, full: int) -> int:
    """How often: ``full`` under ``--battery full``, else ``quick``."""
    return full if os.environ.get(TIER) == "full" else quick


def seeded() -> random.Random:
    """A source of random instants and places whose seed a failing test shows."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    return random.Random(seed)


def until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for ``condition``; the seconds that it took. A hang is a failure."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
