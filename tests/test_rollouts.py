"""The pool of rollout workers under fire: every ticket answered once, by whoever lives, or an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from psutil import STATUS_STOPPED, Process, pid_exists
from rollout_crew import Crew, right, tickets
from scripted_worker import weights

from rllib_ext.errors import BadEnv, RllibExtError, Stalled
from rllib_ext.llm import rollouts
from rllib_ext.llm.rollouts import RolloutPool
from rllib_ext.llm.workers import Limits, Request, Worker

pytestmark = pytest.mark.timeout(240)  # a hang is a failure


@pytest.fixture(scope="module")
def home(ray_session: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("home")
    for handle in Crew.veterans.values():
        ray_session.kill(handle, no_restart=True)
    Crew.veterans.clear()


@pytest.fixture
def crew(ray_session: ModuleType, home: Path, tmp_path: Path) -> Iterator[Crew]:
    made = Crew(ray_session, home, tmp_path)
    yield made
    made.dismiss()


def until(condition: Callable[[], bool], pool: RolloutPool, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the pool did not get there in time"
        pool._wait_once()


# ----- nothing goes wrong


def test_answers_come_once_in_the_order_asked_for(crew: Crew) -> None:
    pool = crew.hire([], [])
    rounds = [tickets(number, chunks=3) for number in range(4)]
    for version, asked in enumerate(rounds):
        pool.submit(asked, weights(version))
    for version in (0, 2, 3, 1):  # an evaluation may overtake
        asked = rounds[version][::-1]
        assert right(pool.collect(asked), asked, version)
    calls = crew.asked()
    assert len(calls) == 12 == len(set(calls)) and not crew.events
    assert {line.split()[3] for line in calls} == {"0"} and pool.restarts == pool.requeued_prompts == 0
    assert crew.asked(number=1) and crew.asked(number=2), "both work"


def test_splits_do_not_answer_for_one_another(crew: Crew) -> None:
    pool = crew.hire([])
    train, held_out = tickets(1, split="train"), tickets(1, split="validation")
    pool.submit(train, weights(1))
    pool.submit(held_out, weights(2))
    assert right(pool.collect(held_out), held_out, 2) and right(pool.collect(train), train, 1)


def test_waiting_for_what_was_never_asked_is_an_error_and_no_hang(crew: Crew) -> None:
    pool = crew.hire([])
    asked = tickets(0)
    with pytest.raises(RllibExtError, match="was never submitted"):
        pool.collect(asked)
    pool.submit(asked, weights())
    pool.collect(asked)
    with pytest.raises(RllibExtError, match=r"or delivered before"):
        pool.collect(asked)
    with pytest.raises(RllibExtError, match="submitted twice"):
        pool.submit(asked[:1], weights())
    pool.submit(tickets(5), weights())
    pool.forget()
    with pytest.raises(RllibExtError, match="was never submitted"):
        pool.collect(tickets(5))


def test_after_forgetting_the_same_tickets_get_new_answers(crew: Crew) -> None:
    pool = crew.hire(["slowly"], ["slowly"])
    asked = tickets(0, chunks=5)
    pool.submit(asked, weights(1))
    pool.forget()
    pool.submit(asked, weights(2))
    assert right(pool.collect(asked), asked, 2)


def test_a_learner_that_takes_long_costs_no_worker(crew: Crew) -> None:
    """Answers that have been lying there for longer than a worker may take are answers all the same."""
    pool = crew.hire([], [])
    for number in range(3):
        pool.submit(tickets(number), weights())
        lying = [ref for worker in pool._workers for ref in worker.requests]
        crew.ray.wait(lying, num_returns=len(lying), timeout=90)
        crew.later_s += 1000
        assert right(pool.collect(tickets(number)), tickets(number), 0)
    assert not crew.events and pool.restarts == 0


def test_a_second_answer_is_ignored(crew: Crew) -> None:
    pool = crew.hire([])
    asked = tickets(0, chunks=1)
    pool.submit(asked, weights())
    worker = pool._workers[0]
    request = next(iter(worker.requests.values()))
    (first,) = pool.collect(asked)
    first.worker = 99
    pool._accept(request, worker, first)  # delivered already
    assert not pool._answers
    again = tickets(1, chunks=1)
    pool.submit(again, weights())
    request = next(iter(worker.requests.values()))
    until(lambda: bool(pool._answers), pool)
    pool._accept(request, worker, first)  # answered already
    assert right(pool.collect(again), again, 0)


# ----- workers die


@pytest.mark.fault("A1")
def test_a_workers_death_costs_nothing(crew: Crew) -> None:
    pool = crew.hire(["well", "kill"], ["slowly"] * 3)
    rounds = [tickets(number) for number in range(3)]
    for version, asked in enumerate(rounds):
        pool.submit(asked, weights(version))
    for version, asked in enumerate(rounds):
        assert right(pool.collect(asked), asked, version)
    until(lambda: crew.kinds()["worker_replaced"] == 1, pool)
    assert crew.kinds()["worker_died"] == pool.restarts == 1 and pool.size == 2
    lost = {line.rsplit(" ", 3)[0] for line in crew.asked() if line.split()[3] != "0"}
    assert pool.requeued_prompts >= 2 * len(lost) >= 2
    for line in crew.asked():
        kept = line.split()
        assert int(kept[4]) == 100 * int(kept[1]) + int(kept[2]), "the same seed"
        assert kept[5] == kept[1], "the same weights"
    assert crew.reborn() == 1
    pool.submit(tickets(9), weights(9))
    assert right(pool.collect(tickets(9)), tickets(9), 9)


@pytest.mark.fault("A3")
def test_a_dead_engine_is_replaced_with_its_worker(crew: Crew) -> None:
    pool = crew.hire(["engine_dead"])
    pool.submit(tickets(0), weights(4))
    assert right(pool.collect(tickets(0)), tickets(0), 4)
    assert ("worker_died", "worker 1: EngineDead: the cache is gone") in crew.events
    assert crew.reborn() == 1
    again = [line.split()[2] for line in crew.asked() if line.split()[3] == "1"]
    assert again == ["0", "1"], "back to the front of the queue, in order"


@pytest.mark.fault("A5")
def test_a_worker_that_hangs_is_killed_and_replaced(crew: Crew) -> None:
    pool = crew.hire(["well", "hang"])
    for number in range(2):
        pool.submit(tickets(number, chunks=1), weights())
    assert right(pool.collect(tickets(0, chunks=1)), tickets(0, chunks=1), 0)
    pool._wait_once()
    assert not crew.events
    crew.later_s += 91
    assert right(pool.collect(tickets(1, chunks=1)), tickets(1, chunks=1), 0)
    assert crew.kinds() == {"worker_died": 1, "prompts_requeued": 1, "worker_replaced": 1}
    assert "no answer within 90 s" in crew.events[0][1]


@pytest.mark.fault("A5")
def test_a_worker_whose_process_is_stopped_is_ended_and_replaced(crew: Crew) -> None:
    """Ray alone would leave the process where it is: it does not hear that it should end."""
    pool = crew.hire(["well", "freeze"])
    for number in range(2):
        pool.submit(tickets(number, chunks=1), weights())
    assert right(pool.collect(tickets(0, chunks=1)), tickets(0, chunks=1), 0)
    frozen = pool._workers[0].process["pid"]
    until(lambda: Process(frozen).status() == STATUS_STOPPED, pool)
    crew.later_s += 91
    assert right(pool.collect(tickets(1, chunks=1)), tickets(1, chunks=1), 0)
    assert crew.kinds() == {"worker_died": 1, "prompts_requeued": 1, "worker_replaced": 1}
    assert pool._workers[0].process["pid"] != frozen and not pid_exists(frozen)


@pytest.mark.fault("A4")
def test_a_worker_that_died_while_idle_is_noticed_and_its_work_moves(crew: Crew) -> None:
    pool = crew.hire([], [])
    crew.ray.kill(crew.handles[1], no_restart=True)
    for number in range(3):
        pool.submit(tickets(number), weights())
        assert right(pool.collect(tickets(number)), tickets(number), 0)
    until(lambda: pool.size == 1, pool)
    assert crew.kinds()["worker_given_up"] == 1


# ----- workers die too often


@pytest.mark.fault("A4")
def test_a_worker_that_keeps_dying_is_given_up_and_the_others_go_on(crew: Crew) -> None:
    pool = crew.hire(["exit"] * 9, ["slowly"] * 40, worker_restart_budget=1)
    for number in range(40):
        pool.submit(tickets(number), weights())
        assert right(pool.collect(tickets(number)), tickets(number), 0)
        if pool.size == 1:
            break
    assert pool.size == 1 and crew.kinds()["worker_given_up"] == 1 and pool.restarts == 2
    assert "2 failures within an hour" in dict(crew.events)["worker_given_up"]


@pytest.mark.fault("A2")
@pytest.mark.fault("A4")
def test_nobody_left_is_said_at_once_and_by_name(crew: Crew) -> None:
    pool = crew.hire(["kill"], ["exit"], worker_restart_budget=0)
    pool.submit(tickets(0), weights())
    with pytest.raises(Stalled, match=r"worker 1 gone.*worker 2 gone.*rllib-ext resume") as error:
        pool.collect(tickets(0))
    assert error.value.exit_code == 4
    with pytest.raises(Stalled):
        pool.collect(tickets(0))


@pytest.mark.fault("A4")
def test_an_actor_that_may_not_restart_is_given_up(crew: Crew) -> None:
    pool = crew.hire(["exit"], restarts=0)
    pool.submit(tickets(0), weights())
    with pytest.raises(Stalled, match="worker 1 gone"):
        pool.collect(tickets(0))


@pytest.mark.fault("A4")
def test_nobody_comes_back_in_time(crew: Crew) -> None:
    pool = crew.hire(["exit"], births=["well", "hang"])
    pool.submit(tickets(0), weights())
    until(lambda: pool._workers[0].state == "returning", pool)
    pool._wait_once()
    crew.later_s += 91
    with pytest.raises(Stalled, match="worker 1 returning"):
        pool.collect(tickets(0))


@pytest.mark.fault("A4")
def test_a_restart_that_takes_too_long_is_a_failure_too(crew: Crew) -> None:
    crew.hire(["hang"])
    now = [0.0]
    worker = Worker(1, crew.handles[1], clock=lambda: now[0])
    worker.ask(Request(tickets(0)[0], weights()))
    assert len(worker.lose("killed")) == 1
    limits = Limits(engine_start_timeout_s=5, worker_timeout_s=1, stall_timeout_s=1, worker_restart_budget=1)
    for seconds, late in ((0.6, False), (1000, False), (2, False), (2, False), (2, True)):
        now[0] += seconds  # 1000: the driver was busy elsewhere, and has not waited
        assert not worker.is_back()
        for _ in range(3 if late else 0):
            now[0] += 0.7
            worker.is_back()
        assert worker.overdue(limits) == ("it did not come back within 5 s" if late else None)


# ----- answers that are wrong, and errors that are the user's


@pytest.mark.fault("A6")
def test_answers_of_other_weights_are_asked_again_of_a_fresh_worker(crew: Crew) -> None:
    pool = crew.hire(["well", "wrong_digest"])
    for number in range(2):
        pool.submit(tickets(number, chunks=1), weights(number + 3))
        assert right(pool.collect(tickets(number, chunks=1)), tickets(number, chunks=1), number + 3)
    assert crew.kinds()["weight_digest_mismatch"] == pool.restarts == crew.reborn() == 1
    assert [line.split()[3] for line in crew.asked()] == ["0", "0", "1"] and pool.requeued_prompts == 2


def test_an_error_of_the_package_comes_through_as_itself(crew: Crew) -> None:
    pool = crew.hire(["bad_env"])
    pool.submit(tickets(0), weights())
    with pytest.raises(BadEnv, match=r"^observation is a number$") as error:
        pool.collect(tickets(0))
    assert type(error.value) is BadEnv and not crew.events


def test_a_ticket_that_breaks_every_worker_is_named(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "_ATTEMPTS", 2)
    pool = crew.hire(["raise_"], ["raise_"])
    pool.submit(tickets(3, chunks=1), weights())
    with pytest.raises(
        RllibExtError, match=r"prompts \[30, 31\] of round 3 \(train\) failed 2 times.*KeyError"
    ):
        pool.collect(tickets(3, chunks=1))


def test_stopping_ends_everybody(crew: Crew) -> None:
    pool = crew.hire([], [])
    pool.submit(tickets(0), weights())
    pool.stop()
    assert len(crew.asked("stops")) == 2
    deadline = time.monotonic() + 90
    for handle in crew.handles.values():
        with pytest.raises(crew.ray.exceptions.RayActorError):
            while time.monotonic() < deadline:
                crew.ray.get(handle.ping.remote(), timeout=90)
