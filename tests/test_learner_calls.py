"""What learners answer, and that neither an error nor a missing answer passes for one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from ray.rllib.utils.actor_manager import RemoteCallResults, ResultOrError

from rllib_ext.errors import CheckpointCorrupt, Stalled
from rllib_ext.runtime.learner_calls import call_learners, learner_deaths


class Group:
    """RLlib's group of remote learners as far as a call can tell; an answer is a value, an error, or missing."""

    is_local = False

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = answers, SimpleNamespace()

    def __len__(self) -> int:
        return len(self.answers)

    def foreach_learner(self, function: Any, **arguments: Any) -> RemoteCallResults:
        self.asked = SimpleNamespace(function=function, **arguments)
        results = RemoteCallResults()
        for number in arguments.get("remote_actor_ids", range(len(self.answers))):
            answer = self.answers[number]
            if isinstance(answer, Exception):
                results.add_result(number, ResultOrError(error=answer), None)
            elif answer is not None:
                results.add_result(number, ResultOrError(result=answer), None)
        return results


def test_answers_come_in_order_and_the_first_learner_can_be_asked_alone() -> None:
    group = Group(1, 2, 3)
    assert call_learners(group, print, timeout_s=5.0, weight=7) == [1, 2, 3]
    assert (group.asked.timeout_seconds, group.asked.weight) == (5.0, 7)
    assert call_learners(group, print, timeout_s=5.0, first_only=True) == [1]
    assert group.asked.remote_actor_ids == [0]


@pytest.mark.fault("B5")
def test_an_error_of_any_learner_is_raised_as_itself() -> None:
    with pytest.raises(CheckpointCorrupt, match="does not fit"):
        call_learners(Group(1, CheckpointCorrupt("does not fit")), print, timeout_s=5.0)


@pytest.mark.fault("A7")
def test_a_dead_learner_is_stalled_with_a_way_on() -> None:
    with pytest.raises(Stalled, match=r"process died.*rllib-ext resume") as caught:
        call_learners(Group(1, ActorDiedError()), print, timeout_s=5.0)
    assert caught.value.exit_code == 4
    with pytest.raises(Stalled, match="process died"), learner_deaths():
        raise ActorDiedError()


@pytest.mark.fault("A7")
@pytest.mark.parametrize("answers", [(None,), (1, None)])
def test_a_learner_that_does_not_answer_is_missed(answers: tuple) -> None:
    with pytest.raises(Stalled, match=f"1 of {len(answers)} learners"):
        call_learners(Group(*answers), print, timeout_s=5.0)
