"""Calls to the learners of an RLlib LearnerGroup that cannot fail in silence.

RLlib hands an error of a remote learner back as if it were its answer, and leaves out who did not answer in time. A
checkpoint that did not fit would then count as restored, and a dead learner as one that published nothing. Here every
learner has answered, or the call raises. Left out: RLlib's own ``LearnerGroup.update`` has no deadline; a learner that
hangs in it, instead of dying, is waited for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from rllib_ext.errors import Stalled


def call_learners(
    group: Any, function: Callable[..., Any], *, timeout_s: float, first_only: bool = False, **arguments: Any
) -> list[Any]:
    """``function(learner, **arguments)`` on every learner, or on the first one; their answers, in order.

    Raises what the function raised, or Stalled where a learner died or did not answer within ``timeout_s`` seconds.
    """
    whom = {"remote_actor_ids": [0]} if first_only and not group.is_local else {}
    results = list(group.foreach_learner(function, timeout_seconds=timeout_s, **whom, **arguments))
    with learner_deaths():
        for result in results:
            if not result.ok:
                raise result.get()
    asked = 1 if first_only or group.is_local else len(group)
    if len(results) < asked:
        raise Stalled(
            f"{asked - len(results)} of {asked} learners died before or did not answer within {timeout_s:g} s; "
            "rllib-ext resume continues from the last checkpoint"
        )
    return [result.get() for result in results]


@contextlib.contextmanager
def learner_deaths() -> Iterator[None]:
    """Turns the death of a learner's process within the block into Stalled, which says how to go on."""
    import ray

    try:
        yield
    except ray.exceptions.RayActorError as error:
        why = str(error).splitlines()
        raise Stalled(
            f"a learner's process died ({why[0] if why else type(error).__name__}). It is not restarted, because its "
            "weights and optimizer went with it: rllib-ext resume continues from the last checkpoint, and Tune tries "
            "the trial again from there. Look at the memory of its node"
        ) from error
