"""What else ran on the machine meanwhile: a timing is valid only where this process tree had the cores to itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

BUSY_LIMIT = 1.2  # wall over CPU seconds of a busy phase
FOREIGN_LIMIT = 0.2  # cores that others kept busy


@dataclass(frozen=True)
class Reading:
    """Seconds since some start: wall, CPU of the whole machine, CPU of this process tree."""

    wall: float
    machine: float
    tree: float

    @staticmethod
    def take() -> Reading:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        guest = getattr(times, "guest", 0.0) + getattr(
            times, "guest_nice", 0.0
        )  # part of user and nice already
        return Reading(time.perf_counter(), sum(times) - idle - guest, _tree_cpu())

    def foreign_cores(self, later: Reading) -> float:
        """Mean number of cores that were busy, or stolen, for others between two readings."""
        foreign = (later.machine - self.machine) - (later.tree - self.tree)
        return max(0.0, foreign / max(1e-9, later.wall - self.wall))


def _tree_cpu() -> float:
    own = psutil.Process()
    total = 0.0
    for process in [own, *own.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        total += times.user + times.system
    return total


def reasons_against(busy: dict[str, tuple[float, float]], foreign_cores: float) -> list[str]:
    """Why a sample is invalid; empty for a valid one. busy: role -> (wall, CPU) seconds of its busy phases."""
    found = [
        f"{role}: wall/CPU {wall / cpu:.2f} > {BUSY_LIMIT}"
        for role, (wall, cpu) in busy.items()
        if cpu > 0 and wall / cpu > BUSY_LIMIT
    ]
    if foreign_cores > FOREIGN_LIMIT:
        found.append(f"others kept {foreign_cores:.2f} cores busy > {FOREIGN_LIMIT}")
    return found
