"""kill -9 of a sweep's driver at random moments, again and again, with the same command after each (A8).

`test_sweep.py` kills once in two chosen places. Here a sweep is killed until it has had its share of kills, also in its
first seconds, and then left alone; its table must be that of an undisturbed one.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos.inject import seeded, tries
from test_sweep import STEPS, begin, reported

SWEEPS, KILLS = tries(1, 3), tries(3, 7)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def wait_or_kill(home: Path, seconds: float) -> bool:
    """Run the sweep's command for so long. Whether it was killed before its end."""
    driver = begin(home)
    end = time.monotonic() + seconds
    while driver.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    if driver.poll() is not None:
        assert driver.returncode == 0
        return False
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    return True


@pytest.mark.fault("A8", tries=SWEEPS * KILLS)
def test_drivers_killed_at_random_moments_lose_no_reported_step(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    draw, killed, lost = seeded(), 0, 0
    for number in range(SWEEPS):
        home = tmp_path / str(number)
        home.mkdir()
        best: dict[str, int] = {}
        for kill in range(KILLS):
            # The first one falls into the start-up; a later one may find the sweep finished, which is its end.
            if not wait_or_kill(home, draw.uniform(0.5, 5.0) if kill == 0 else draw.uniform(3.0, 15.0)):
                break
            killed += 1
            now = reported(home)
            lost += sum(max(0, step - now.get(trial, 0)) for trial, step in best.items())
            best = {trial: max(step, best.get(trial, 0)) for trial, step in now.items()}
        assert begin(home).wait(timeout=200) == 0
        table = json.loads((home / "table.json").read_text())
        assert [row[:3] for row in table] == [[1.0, STEPS, STEPS], [2.0, STEPS, 2.0 * STEPS]]
        assert {row[3] for row in table} >= best.keys() and len({row[3] for row in table}) == 2
        after = reported(home)
        lost += sum(max(0, step - after.get(trial, 0)) for trial, step in best.items())
    record_property("tries", killed)
    record_property("survived", killed)
    record_property("lost", lost)
    assert killed >= SWEEPS and lost == 0
