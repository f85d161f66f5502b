"""Real rollout workers, killed and frozen: the weights at the end are those of a run that nothing happened to.

That one comparison says all of it: a prompt that was lost, asked twice, answered with other weights or with another
seed would change them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from chaos.dying_worker import PHASES, DyingWorker
from chaos.inject import alive, seeded, tries, until
from engine_fixture import equal, running, tiny_config, weights_of
from tiny_language import save_tiny_model

KILLS, ALL_AT_ONCE, FREEZES, PUBLISHED = tries(4, 20), tries(1, 5), tries(1, 5), tries(1, 5) * len(PHASES)
UPDATES = max(3 * KILLS + 4, 2 * PUBLISHED + 4)  # harm is done in every third round at most
SETTINGS: dict[str, Any] = {
    "num_env_runners": 2,
    "total_updates": UPDATES,
    "worker_restart_budget": 1000,
    "engine_start_timeout_s": 200.0,
}
Recorder = Callable[[str, object], None]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def calm(ray_session: Any, model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The weights of a run that nothing happens to."""
    with running(tiny_config(model, **SETTINGS), tmp_path_factory.mktemp("calm")) as algorithm:
        for _ in range(UPDATES):
            algorithm.train()
        return weights_of(algorithm)


def workers(algorithm: Any) -> list[int]:
    """The process ids of both workers, once both are there and answer: one that was killed at the end of the round before
    counts as serving until somebody asks it for something.
    """
    pool, found = algorithm.pool, []

    def everybody() -> bool:
        pool._supervise()
        if any(worker.state != "serving" for worker in pool._workers):
            return False
        asked = [worker.handle.apply.remote(lambda runner: os.getpid()) for worker in pool._workers]
        try:
            found[:] = ray.get(asked, timeout=200)
        except ray.exceptions.RayActorError:
            return False
        return True

    until(everybody, 200, "every worker is back")
    return found


def ledger_of(folder: Path) -> tuple[Counter, Counter, int]:
    """Times every prompt of every epoch was learnt from; events by kind; prompts that were lost or came twice."""
    records = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    trained = Counter(tuple(prompt) for record in records for prompt in record["trained"])
    path = folder / "events.jsonl"
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.exists() else []
    wanted = UPDATES * 8
    return trained, Counter(events), wanted - len(trained) + sum(count - 1 for count in trained.values())


def in_a_moment(draw: random.Random, harm: Callable[[], None]) -> threading.Timer:
    """Do harm at a random instant of the round that is about to be played."""
    timer = threading.Timer(draw.uniform(0.0, 0.3), harm)
    timer.start()
    return timer


def disturbed(
    model: str, folder: Path, count: int, harm: Callable[[Any], Callable[[], None]], **more: Any
) -> Iterator[float]:
    """A run in which harm is done in ``count`` rounds; the seconds that each of these took. Then the weights."""
    draw = seeded()
    rounds = set(draw.sample(range(1, UPDATES - 1, 3), count))
    with running(tiny_config(model, **SETTINGS, **more), folder) as algorithm:
        for number in range(UPDATES):
            timer = in_a_moment(draw, harm(algorithm)) if number in rounds else None
            began = time.monotonic()
            algorithm.train()
            if timer is not None:
                timer.join()
                yield time.monotonic() - began
        yield weights_of(algorithm)


@pytest.mark.fault("A1", tries=KILLS)
@pytest.mark.fault("A4", tries=KILLS)
def test_workers_killed_at_random_instants(
    calm: dict[str, Any], model: str, tmp_path: Path, record_property: Recorder
) -> None:
    draw = random.Random(0)

    def kill(algorithm: Any) -> Callable[[], None]:
        pid = draw.choice(workers(algorithm))
        return lambda: os.kill(pid, signal.SIGKILL)

    *seconds, weights = disturbed(model, tmp_path, KILLS, kill)
    _, events, lost = ledger_of(tmp_path)
    record_property("lost", lost)
    assert lost == 0 and equal(calm, weights)
    assert events["worker_died"] == KILLS, events
    assert max(seconds) < 60


@pytest.mark.fault("A2", tries=ALL_AT_ONCE)
def test_all_workers_killed_at_once_come_back(
    calm: dict[str, Any], model: str, tmp_path: Path, record_property: Recorder
) -> None:
    def kill(algorithm: Any) -> Callable[[], None]:
        pids = workers(algorithm)
        return lambda: [os.kill(pid, signal.SIGKILL) for pid in pids] and None

    *seconds, weights = disturbed(model, tmp_path, ALL_AT_ONCE, kill)
    _, events, lost = ledger_of(tmp_path)
    record_property("lost", lost)
    assert lost == 0 and equal(calm, weights)
    assert events["worker_died"] == 2 * ALL_AT_ONCE and max(seconds) < 120


@pytest.mark.fault("A5", tries=FREEZES)
def test_a_frozen_worker_is_found_by_its_deadline(
    calm: dict[str, Any], model: str, tmp_path: Path, record_property: Recorder
) -> None:
    """A stopped process keeps its sockets open and its actor "alive": only work that does not come back tells."""
    frozen: list[int] = []

    def freeze(algorithm: Any) -> Callable[[], None]:
        frozen.append(workers(algorithm)[len(frozen) % 2])
        return lambda: os.kill(frozen[-1], signal.SIGSTOP)

    try:
        *_, weights = disturbed(model, tmp_path, FREEZES, freeze, worker_timeout_s=15.0)
        _, events, lost = ledger_of(tmp_path)
        record_property("lost", lost)
        assert lost == 0 and equal(calm, weights)
        assert events["worker_died"] == FREEZES, events
        details = (tmp_path / "events.jsonl").read_text()
        assert details.count("no answer within") == FREEZES
    finally:
        for pid in filter(alive, frozen):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.fault("A6", tries=PUBLISHED)
def test_kill_9_at_every_phase_of_a_publication(
    calm: dict[str, Any], model: str, tmp_path: Path, record_property: Recorder
) -> None:
    plan = {str(2 * number + 1): PHASES[number % len(PHASES)] for number in range(PUBLISHED)}
    notes = tmp_path / "notes"
    notes.mkdir()
    config = tiny_config(model, env_config={"deaths": {"folder": str(notes), "plan": plan}}, **SETTINGS)
    config.env_runners(env_runner_cls=DyingWorker)
    with running(config, tmp_path / "run") as algorithm:
        for _ in range(UPDATES):
            algorithm.train()
        weights = weights_of(algorithm)
    _, events, lost = ledger_of(tmp_path / "run")
    record_property("lost", lost)
    happened = {note.name: note.read_text() for note in notes.iterdir()}
    assert happened == plan and events["worker_died"] >= PUBLISHED
    assert lost == 0 and equal(calm, weights)
    assert not events["weight_digest_mismatch"], "no worker claimed weights that it does not serve"
