"""The process of a benchmark: offline, one thread unless told otherwise, a local Ray session, and the machine it ran on.

Call ``quiet_process`` before anything imports torch, Ray or vLLM.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_worker_niceness": "0",  # Ray's workers would yield to the driver, which is one of the sides compared
}
OBJECT_STORE_BYTES = 1024 * 2**20


def quiet_process() -> None:
    """Set what threads, caches and logs depend on; never over what the user has set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    for name in ("ray", "ray.rllib", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)


def scratch(name: str) -> Path:
    """A folder that outlives the run, for models that are trained once and used again."""
    folder = Path(tempfile.gettempdir()) / "rllib-ext-benchmarks" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def ray_session(cpus: int = 8) -> Iterator[None]:
    """A local session. ``cpus`` is what may be reserved, not what there is: only one side is active at a time."""
    import ray
    import torch

    import rllib_ext

    torch.set_num_threads(1)
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
    )
    try:
        rllib_ext.register()
        yield
    finally:
        ray.shutdown()


def machine() -> dict[str, Any]:
    """What the figures depend on; not the machine's name."""
    import torch

    from rllib_ext.runtime.manifest import package_versions
    from rllib_ext.runtime.ray_session import available_cores

    return {
        "cores": available_cores(),
        "cpu": _cpu_name(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "versions": package_versions(),
        "load_average_at_start": [round(value, 2) for value in os.getloadavg()],
    }


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
