"""Drivers of ``rllib-ext train`` that are killed at random moments and started again: what B10 does to runs.

SIGKILL goes to the driver alone, as from an out-of-memory killer; its Ray session has to end by itself. What still lives
a minute later is counted and ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks._results import note

ENVIRONMENT = "ControlledTLDR"
CHECKPOINT_EVERY = 3
GRACE_S = 60.0
LIMIT_S = 600.0  # of one session, from start to end or kill
INSTANTS_S = 0.5  # about two rounds
PYTHONPATH = os.pathsep.join(
    [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)


@dataclass(frozen=True)
class Moment:
    """When to kill: ``delay`` seconds after the run's record of ``update``, or with None in the start of a session, after
    the share ``delay`` of the seconds that a calm run took to its first round.
    """

    update: int | None
    delay: float


@dataclass
class Killed:
    """A run that was killed ``kills`` times. left: processes of dead sessions that did not end by themselves. start_s:
    from the start of a calm run's session to its first round.
    """

    folder: Path
    kills: int = 0
    sessions: int = 0
    hangs: int = 0
    failed: str = ""
    start_s: float = 0.0
    left: list[str] = field(default_factory=list)


def moments(draw: random.Random, kills: int, updates: int) -> list[Moment]:
    """A quarter in the start of a session, the others after updates, earliest first."""
    starts = [Moment(None, draw.random()) for _ in range(kills // 4)]
    marks = sorted(draw.randrange(1, updates - 2) for _ in range(kills - len(starts)))
    found: list[Moment] = [Moment(mark, draw.uniform(0.0, INSTANTS_S)) for mark in marks]
    for start in starts:
        found.insert(draw.randrange(len(found) + 1), start)
    return found


def train_words(model: str, storage: Path, mode: str, updates: int) -> list[str]:
    """The command line of a run of ``mode`` with a model in the folder ``model``."""
    settings = {
        "model": model, "mode": mode, "engine": "hf", "total_updates": updates, "prompts_per_minibatch": 8,
        "max_prompt_tokens": 40, "max_new_tokens": 12, "temperature": 1.0, "missing_eos": "keep", "lr": 1e-3,
        "engine_threads": 1, "learner_threads": 1, "logp_probe": 0,
    }  # fmt: skip
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return [
        "train", "AsyncOnlineDPO", "--env", ENVIRONMENT, "--env-set", "size=1024", *sets, "--name", mode, "--seed", "1",
        "--storage-path", str(storage), "--checkpoint-every", str(CHECKPOINT_EVERY), "--evaluate-every", "0", "--quiet",
    ]  # fmt: skip


def run_killed(words: list[str], folder: Path, plan: list[Moment], start_s: float) -> Killed:
    """Begin the run, kill it at every moment of the plan, resume it after each, and let it end."""
    run = Killed(folder, start_s=start_s)
    for moment in [*plan, None]:
        command = words if not folder.exists() else ["resume", str(folder), "--quiet"]
        ended = _session(run, command, moment)
        if run.failed or ended:
            break
    return run


def _session(run: Killed, command: list[str], moment: Moment | None) -> bool:
    """Whether the session reached its own end."""
    run.sessions += 1
    log = run.folder.parent / f"{run.folder.name}-{run.sessions}.log"
    before = _rounds(run.folder)
    with log.open("w") as stream:
        driver = subprocess.Popen(
            [sys.executable, "-m", "rllib_ext.cli", *command], stdout=stream, stderr=stream, start_new_session=True,
            cwd=run.folder.parent, env={**os.environ, "PYTHONPATH": PYTHONPATH},
        )  # fmt: skip
    due = _wait(driver, run, moment, before)
    if driver.poll() is None:
        family = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait(timeout=60)
        run.left += _end(family)
        if due:
            run.kills += 1
            note(f"B10: {run.folder.name}, kill {run.kills} after {_rounds(run.folder)} rounds on record")
        else:
            run.hangs, run.failed = run.hangs + 1, f"session {run.sessions} did not end within {LIMIT_S:g} s"
        return False
    if driver.returncode:
        run.failed = f"session {run.sessions} ended with {driver.returncode}: {log.read_text()[-2000:]}"
    return True


def _wait(driver: subprocess.Popen, run: Killed, moment: Moment | None, before: int) -> bool:
    """Until the driver ends, is due to be killed (True), or has taken too long."""
    began = time.monotonic()
    starting = moment is not None and moment.update is None
    due = began + moment.delay * run.start_s if moment is not None and starting else None
    while driver.poll() is None and time.monotonic() - began < LIMIT_S:
        if due is not None and time.monotonic() >= due:
            return True
        if _rounds(run.folder) > before:
            run.start_s = run.start_s or time.monotonic() - began
            if moment is not None and due is None and _updates(run.folder) >= (moment.update or 0):
                due = time.monotonic() + moment.delay
        time.sleep(0.02)
    return False


def _end(family: list[psutil.Process]) -> list[str]:
    """Wait for the processes of a dead session; the names of those that had to be killed."""
    deadline = time.monotonic() + GRACE_S
    while (living := [process for process in family if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    names = []
    for process in living:
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(process.name())
            process.kill()
    return names


def _lives(process: psutil.Process) -> bool:
    """A zombie does not; who adopts orphans here may leave them so."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _text(folder: Path) -> str:
    path = folder / "rounds.jsonl"
    return path.read_text() if path.exists() else ""


def _rounds(folder: Path) -> int:
    """Lines of the run's rounds, those that were done twice included."""
    return _text(folder).count("\n")


def _updates(folder: Path) -> int:
    """The update after the newest whole line."""
    whole = _text(folder).split("\n")[:-1]
    return int(json.loads(whole[-1])["updates"]) if whole else 0
