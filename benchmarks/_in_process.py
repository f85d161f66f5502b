"""Rollout workers in the driver's own process, for studies whose runs are shorter than the start of a process.

Same class, same calls, same answers: `Handle` stands for the actor that RLlib would have made, does what it is asked at
once, and gives Ray references to its answers. Nothing is generated while the learner learns, so this is for synchronous
runs, where nothing would be anyway. A row that was made this way equals one that was made with a worker's process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import ray
from ray.rllib.env.env_runner_group import EnvRunnerGroup


class Call:
    """What ``handle.method`` is: ``remote(...)`` does it."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def remote(self, *arguments: Any, **named: Any) -> ray.ObjectRef:
        found = {name: _fetched(value) for name, value in named.items()}
        return ray.put(self._function(*map(_fetched, arguments), **found))


def _fetched(value: Any) -> Any:
    """What Ray does with references among the arguments of a call."""
    return ray.get(value, timeout=60.0) if isinstance(value, ray.ObjectRef) else value


class Handle:
    """Stands for the actor of ``worker``."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def __getattr__(self, name: str) -> Call:
        return Call(getattr(self._worker, name))


@contextlib.contextmanager
def workers_in_process() -> Iterator[None]:
    """Within, RLlib's groups make rollout workers in this process."""
    kill = ray.kill

    def make(group: Any, **settings: Any) -> Any:
        worker = group.env_runner_cls(**{name: _fetched(value) for name, value in settings.items()})
        return worker if settings["worker_index"] == 0 else Handle(worker)

    def end(handle: Any, **how: Any) -> None:
        if not isinstance(handle, Handle):
            kill(handle, **how)

    with mock.patch.object(EnvRunnerGroup, "_make_worker", make), mock.patch.object(ray, "kill", end):
        yield
