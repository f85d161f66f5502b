"""End a process of another node for good, even one that is stopped (SIGSTOP, a frozen container).

``ray.kill`` asks the process to end itself, and one that is stopped does not hear it. Here its own node's kernel is
told, by a task that Ray runs there: SIGKILL ends what is stopped. A process is its id and its start time, so another one
that has got the same id since is left alone.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rllib_ext.runtime.process_identity import is_dead, this_process


def this_actor_process() -> dict[str, Any]:
    """Which process this is, and on which node of the cluster."""
    return {**this_process(), "node": ray.get_runtime_context().get_node_id()}


def end_process(process: dict[str, Any]) -> ray.ObjectRef:
    """Have it killed on its node; does not wait. process: what `this_actor_process` said there."""
    there = NodeAffinitySchedulingStrategy(process["node"], soft=False)
    return _end.options(scheduling_strategy=there).remote(process)


@ray.remote(num_cpus=0, max_retries=0)
def _end(process: dict[str, Any]) -> bool:
    """Whether it was there to be killed."""
    if is_dead(process, age=0.0) or process["pid"] == os.getpid():
        return False
    try:
        os.kill(process["pid"], signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
