"""The Ray session of a run, with room for its workers, and its algorithm while it runs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rllib_ext.cli.settings import RunSettings
from rllib_ext.runtime import ray_session as session


def ray_session(values: dict[str, Any], address: str | None) -> contextlib.AbstractContextManager[None]:
    """A Ray session with room for the workers and learners that ``values`` ask for."""
    return session.ray_session(_cpus(values), address)


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
    from rllib_ext.llm.threads import available_cores

    runners = max(values["num_env_runners"], values.get("max_env_runners") or 0)
    workers = runners * values["num_cpus_per_env_runner"]
    workers += values.get("num_reward_workers", 0) * values.get("num_cpus_per_reward_worker", 0)
    return max(available_cores(), math.ceil(workers) + max(1, values["num_learners"]))
