"""Workers that join a run and are refilled: who is asked for, how often, and that the run goes on meanwhile."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from rollout_crew import Crew, right, tickets
from scripted_worker import weights

from rllib_ext.llm.recruiting import Recruiter
from rllib_ext.llm.rollouts import RolloutPool
from rllib_ext.llm.workers import Worker

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def crew(ray_session: ModuleType, tmp_path: Path) -> Iterator[Crew]:
    home = tmp_path / "home"
    home.mkdir()
    made = Crew(ray_session, home, tmp_path)
    veterans, Crew.veterans = Crew.veterans, {}
    yield made
    for handle in made.handles.values():
        ray_session.kill(handle, no_restart=True)
    Crew.veterans = veterans


def play_until(condition: Callable[[], bool], pool: RolloutPool, begin: int = 0) -> int:
    """Rounds of three chunks until the condition holds; returns the number of the next round."""
    deadline = time.monotonic() + 90.0  # a new actor takes seconds, on a busy machine many
    for number in itertools.count(begin):
        asked = tickets(number, chunks=3)
        pool.submit(asked, weights(number))
        assert right(pool.collect(asked), asked, number)
        if condition():
            return number + 1
        if time.monotonic() > deadline:
            break
    raise AssertionError(f"it did not happen within 90 s, {number - begin} rounds")


# ----- who is asked for


def team(*states: str) -> list[Worker]:
    return [Worker(number, None, state=state) for number, state in enumerate(states, start=1)]


def test_asked_for_once_and_up_to_the_most() -> None:
    hired: list[int] = []
    recruiter = Recruiter(hired.append, most=4, budget=9)
    workers = team("serving", "returning")
    workers += recruiter.recruit(workers)
    assert hired == [3, 4] and [worker.state for worker in workers[2:]] == ["joining"] * 2
    assert recruiter.recruit(workers) == [] and hired == [3, 4], "they are on their way"


def test_the_lost_are_replaced_under_new_numbers_within_an_hourly_budget() -> None:
    hired: list[int] = []
    now = [0.0]
    recruiter = Recruiter(hired.append, most=2, budget=2, clock=lambda: now[0])
    workers = team("serving", "gone")
    for expected in ([3], [3, 4], [3, 4]):
        workers += recruiter.recruit(workers)
        assert hired == expected
        workers[-1].state = "gone"
        now[0] += 10
    now[0] = 3601
    workers += recruiter.recruit(workers)
    assert hired == [3, 4, 5], "one replacement is more than an hour ago"


# ----- in a pool


def test_a_worker_joins_while_the_run_goes_on(crew: Crew) -> None:
    pool = crew.hire([], [], first=1, most=2)
    assert pool.size == 1
    following = play_until(lambda: pool.size == 2, pool)
    assert crew.kinds() == {"worker_joined": 1}
    play_until(lambda: bool(crew.asked("calls", 2)), pool, following)
    assert pool.restarts == 0


@pytest.mark.fault("A4")
def test_a_worker_lost_for_good_is_replaced_by_another(crew: Crew) -> None:
    pool = crew.hire([], ["well", "kill"], [], first=2, most=2, restarts=0)
    following = play_until(lambda: crew.kinds()["worker_joined"] == 1, pool)
    assert crew.kinds()["worker_given_up"] == 1 and pool.size == 2
    play_until(lambda: bool(crew.asked("calls", 3)), pool, following)


@pytest.mark.fault("A4")
def test_a_recruit_whose_engine_does_not_start_is_given_up_and_another_asked_for(crew: Crew) -> None:
    pool = crew.hire([], [], [], first=1, most=2, unfit=[2])
    play_until(lambda: crew.kinds()["worker_joined"] == 1, pool)
    assert dict(crew.events)["worker_joined"] == "worker 3 joined the run"
    assert "worker 2: its actor does not come up" in dict(crew.events)["worker_given_up"]
    assert not crew.asked("calls", 2) and pool.restarts == 0
