"""B9: workers that die, fall silent, hang over a weight push or serve a damaged one change nothing but the time.

Two workers, asynchronous mode, Hugging Face engine, a tiny model. A run with faults (``_faulty_worker.py``) is compared
with a calm one: it ends, every prompt is learnt from exactly once, and the weights at its end are equal bit for bit. That
says too that no prompt was answered with other weights, another seed or another order. The next fault may come while the
victim of the last one is still starting again, so that at times nobody is left.

Detection is the time from the fault, as the worker noted it, to the record of it in the run's events.jsonl, which must be
the one that this fault should give: silence found by the deadline, a damaged push by the digest that the worker echoes.
The deadline is 5 s. The knob behind it (``worker_timeout_s``) is 4: it counts from the request, and the driver looks
twice a second. A run that does not end within its wall limit is a hang.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks._faulty_worker import FAULTS, FaultyWorker
from benchmarks._gate_runs import Gate, distance, policy_of, small_config
from benchmarks._results import note
from benchmarks._statistics import median
from benchmarks._tasks import WORDS

DEADLINE_S, WORKER_TIMEOUT_S = 5.0, 4.0
PROMPTS, VOCABULARY, TOKENS = 8, 256, 8
FAULTS_A_RUN = 20
START_S, RECOVERY_S = 300.0, 120.0  # what a busy machine may need for a start and for a fault
SILENT = "no answer within"
# fault -> (kind of event, whether its detail names the deadline; None where there is no telling)
SIGNS = {
    "killed": ("worker_died", False),
    "dropped": ("worker_died", True),
    "stalled": ("worker_died", True),
    "corrupted": ("weight_digest_mismatch", None),
}


class Hung(Exception):
    """The wall limit of a run has passed."""


@dataclass
class Ending:
    """How a run ended. seconds: fault -> from each of them to its record. missed: those that have not the right one."""

    weights: dict[str, torch.Tensor] | None = None
    trained: Counter = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {fault: [] for fault in FAULTS})
    missed: list[str] = field(default_factory=list)
    losses: int = 0


@contextlib.contextmanager
def wall_limit(seconds: float) -> Iterator[None]:
    """Raise Hung in this thread after so long; where even that does not help, end the process a minute later."""

    def late(*_: Any) -> None:
        raise Hung(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + 60.0, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


def _build(folder: Path, updates: int) -> Any:
    config = small_config(
        "async", updates, prompts=PROMPTS, prompt_tokens=TOKENS, new_tokens=TOKENS, hidden=32, layers=1, heads=1,
        logp_probe=0, worker_timeout_s=WORKER_TIMEOUT_S, engine_start_timeout_s=300.0, stall_timeout_s=300.0,
        worker_restart_budget=1000, run_folder=str(folder / "run"),
    )  # fmt: skip
    settings = {"prompt_tokens": TOKENS, "vocabulary": VOCABULARY, "count": 4096, "faults": str(folder)}
    config.environment(WORDS, env_config=settings)
    config.env_runners(num_env_runners=2, num_cpus_per_env_runner=0.5, env_runner_cls=FaultyWorker)
    return config.build_algo()


def _play(folder: Path, faults: list[str], updates: int) -> Ending:
    """One run in which ``faults`` happen, in this order, one a round at most."""
    ending = Ending()
    with contextlib.suppress(Hung), wall_limit(START_S + RECOVERY_S * len(faults)):
        algorithm = _build(folder, updates)
        try:
            waiting = [f"armed-{number:02d}-{fault}" for number, fault in enumerate(faults)]
            for number in range(updates):
                ready = any(
                    worker.state == "serving" and worker.started for worker in algorithm.pool._workers
                )
                # What would be generated after the last round is never asked for, nor missed.
                if waiting and ready and number < updates - 3 and not any(folder.glob("armed-*")):
                    (folder / waiting.pop(0)).touch()
                algorithm.train()
            ending.weights = policy_of(algorithm)
        finally:
            algorithm.stop()
    rounds = _lines(folder / "run" / "rounds.jsonl")
    ending.trained = Counter(tuple(prompt) for record in rounds for prompt in record["trained"])
    events = _lines(folder / "run" / "events.jsonl")
    ending.losses = sum(event["event"] == "worker_died" for event in events)
    for number, fault in enumerate(faults):
        seconds = _detected(folder / f"happened-{number:02d}-{fault}", fault, events)
        if isinstance(seconds, float):
            ending.seconds[fault].append(seconds)
        else:
            ending.missed.append(f"{fault}: {seconds}")
    return ending


def _detected(happened: Path, fault: str, events: list[dict[str, Any]]) -> float | str:
    """Seconds from a fault to the first record of its victim, or why that is not the right one."""
    if not happened.exists() or not happened.read_text():
        return "it was armed and never happened" if happened.exists() else "it never happened"
    fact = json.loads(happened.read_text())
    victim = f"worker {fact['worker']}"
    later = [
        event for event in events
        if event["time"] >= fact["time"] and event["event"] in ("worker_died", "weight_digest_mismatch")
        and event["detail"].startswith((f"{victim}:", f"{victim} "))
    ]  # fmt: skip
    kind, by_deadline = SIGNS[fault]
    if not later or later[0]["event"] != kind or by_deadline not in (None, SILENT in later[0]["detail"]):
        return f"found as {later[0]['event']} ({later[0]['detail']})" if later else f"not found, of {victim}"
    return later[0]["time"] - fact["time"]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _plan(repeats: int, seed: int) -> list[list[str]]:
    """Each fault ``repeats`` times, in random order, over runs."""
    faults = [fault for fault in FAULTS for _ in range(repeats)]
    random.Random(seed).shuffle(faults)
    return [faults[start : start + FAULTS_A_RUN] for start in range(0, len(faults), FAULTS_A_RUN)]


def fault_gates(repeats: int, seed: int) -> list[Gate]:
    """``repeats`` of each of the four faults."""
    plan = _plan(repeats, seed)
    updates = 3 * len(plan[0]) + 6
    with tempfile.TemporaryDirectory(prefix="rllib-ext-faults-") as home:
        endings = []
        for number, faults in enumerate([[], *plan]):
            folder = Path(home) / str(number)
            folder.mkdir()
            note(f"B9: run {number} of {len(plan)}, {len(faults)} faults (seed {seed})")
            endings.append(_play(folder, faults, updates))
    calm, *disturbed = endings
    return [_same(calm, disturbed, updates, seed), _found(disturbed, repeats)]


def _same(calm: Ending, disturbed: list[Ending], updates: int, seed: int) -> Gate:
    hangs = sum(ending.weights is None for ending in [calm, *disturbed])
    wrong = sum(
        abs(ending.trained[prompt] - 1) for ending in disturbed for prompt in ending.trained | calm.trained
    )
    ended = [ending.weights for ending in disturbed if ending.weights is not None]
    unequal = [
        calm.weights is None or any(not torch.equal(calm.weights[name], weights[name]) for name in weights)
        for weights in ended
    ]
    gaps = [distance(calm.weights, weights) for weights in ended] if calm.weights is not None else []
    faults = sum(len(ending.missed) + sum(map(len, ending.seconds.values())) for ending in disturbed)
    details = {
        "runs": len(disturbed), "updates_a_run": updates, "faults": faults, "hangs": hangs, "seed": seed,
        "prompts_lost_or_twice": wrong, "runs_with_other_weights": sum(unequal),
        "largest_weight_difference": max(gaps, default=None),
        "workers_lost_without_a_fault": sum(ending.losses for ending in disturbed) - faults,
    }  # fmt: skip
    whole = len(calm.trained) == updates * PROMPTS and set(calm.trained.values()) == {1}
    broken = hangs + wrong + sum(unequal)
    claim = (
        f"runs with {faults} faults end, learn from every prompt once and end with the weights of a calm run"
    )
    return Gate(
        "B9",
        claim,
        float(broken),
        0.0,
        "hangs, prompts and runs that break it",
        whole and not broken,
        details,
    )


def _found(disturbed: list[Ending], repeats: int) -> Gate:
    found = {fault: [s for ending in disturbed for s in ending.seconds[fault]] for fault in FAULTS}
    missed = [why for ending in disturbed for why in ending.missed]
    slowest = max((s for values in found.values() for s in values), default=math.inf)
    details = {
        fault: {"found": len(values), "of": repeats, "median_s": median(values) if values else None,
                "largest_s": max(values, default=None)} for fault, values in found.items()
    }  # fmt: skip
    return Gate(
        "B9 detection", "from a fault to the record of it, each found by the sign that it should give", slowest,
        DEADLINE_S, "s", not missed and slowest <= DEADLINE_S, {"missed": missed, **details},
    )  # fmt: skip
