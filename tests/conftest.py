"""What every test shares: a quiet, offline, one-thread process and, for those that ask, one Ray session.

Only the fixture `ray_session` starts Ray, once for the whole suite; a test that needs no Ray pays nothing.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from types import ModuleType

import pytest

pytest_plugins = ["chaos.battery"]

# Set before anything imports torch, Ray, transformers or vLLM; Ray's actors inherit it.
os.environ.update(
    {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MPLBACKEND": "Agg",
        # Nothing is fetched and nothing is reported.
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Tokens stay on, with one of this run's own: the user's token file is neither read nor written.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "1",
        "RAY_memory_monitor_refresh_ms": "0",  # a busy machine must not cost a test its worker
        "RAY_worker_niceness": "0",  # of 15, a worker starves beside another process of the suite
        # The engine runs inside its actor's process (no child), on a bounded cache.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        # Actors unpickle what tests define by importing it.
        "PYTHONPATH": os.pathsep.join(
            [os.path.dirname(__file__), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start Ray come first: they take minutes, and the processes that share the suite should end together."""
    first = {item.path for item in items if "ray_session" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in first)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[ModuleType]:
    """The module `ray` with a local session of two CPUs; one session serves every test that asks."""
    import logging

    import ray
    import torch

    torch.set_num_threads(1)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=True,
        logging_level=logging.ERROR,
        object_store_memory=512 * 2**20,
    )
    yield ray
    ray.shutdown()
