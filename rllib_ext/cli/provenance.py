"""``run.json``: by which command, with which versions and on what hardware a run was made.

Environment variables are not in it, and neither is the machine's name.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rllib_ext.cli.settings import RunSettings
from rllib_ext.runtime.manifest import package_versions


def provenance(settings: RunSettings, words: Sequence[str]) -> dict[str, Any]:
    """The content of ``run.json``."""
    return {
        "command": shlex.join(["rllib-ext", *words]),
        "algorithm": settings.algorithm,
        "env": settings.env,
        "seed": settings.values["seed"],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": package_versions(),
        "hardware": _hardware(),
    }


def _hardware() -> dict[str, Any]:
    import torch

    from rllib_ext.runtime.ray_session import available_cores

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "cores": available_cores(),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": gpus,
        "platform": f"{platform.system()} {platform.machine()}",
    }
