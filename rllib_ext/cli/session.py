"""The Ray session of a run, with room for what the run asks for, and the algorithm in it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rllib_ext.cli.settings import RunSettings
from rllib_ext.runtime.ray_session import available_cores, ray_session


@contextlib.contextmanager
def session_of(values: dict[str, Any], address: str | None) -> Iterator[None]:
    """A Ray session with room for the workers and learners that ``values`` ask for; everything is registered in it."""
    with ray_session(_cpus(values), address):
        import rllib_ext

        rllib_ext.register()
        yield


@contextlib.contextmanager
def running(settings: RunSettings, run_folder: Path) -> Iterator[Any]:
    """The algorithm of ``settings``, writing into ``run_folder``; stopped at the end."""
    algorithm = settings.build(run_folder).build_algo()
    try:
        yield algorithm
    finally:
        algorithm.stop()
        with contextlib.suppress(OSError):  # Tune's folder of the trial: empty, the run has its own
            Path(algorithm.logdir).rmdir()


def _cpus(values: dict[str, Any]) -> int:
    """The machine's cores; more, where the run's actors ask for more. They then share the cores."""
    runners = max(values["num_env_runners"], values.get("max_env_runners") or 0)
    workers = runners * values["num_cpus_per_env_runner"]
    workers += values.get("num_reward_workers", 0) * values.get("num_cpus_per_reward_worker", 0)
    return max(available_cores(), math.ceil(workers) + max(1, values["num_learners"]))
