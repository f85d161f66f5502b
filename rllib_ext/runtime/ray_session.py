"""The Ray session of a command: quiet, local, without a dashboard, or a cluster that is joined.

Its environment variables are set before Ray is imported, and never over what a user has set. A session that
exists already (a notebook, a test) is used and left running.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # actors without GPUs keep the driver's view of the devices
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # the C++ core would write its notes into the live table
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's 15 starves the generators wherever anything else runs
    "TOKENIZERS_PARALLELISM": "false",
}


@contextlib.contextmanager
def ray_session(cpus: int, address: str | None) -> Iterator[None]:
    """A Ray session; ``cpus``: of a local one."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    import rllib_ext

    ours = not ray.is_initialized()
    if ours:
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        local: dict[str, Any] = {"num_cpus": cpus} if address == "local" else {}
        with _stderr_held_back(), _sigterm_as_interrupt():
            ray.init(
                address=address,
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **local,
            )
    try:
        rllib_ext.register()
        yield
    finally:
        if ours:
            ray.shutdown()


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """While it starts, Ray answers SIGTERM by leaving the program; here that is an interrupt like Ctrl-C."""
    try:
        yield
    except SystemExit as leaving:
        raise KeyboardInterrupt from leaving


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Keep back what the C++ core writes at its start; show it where the start fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read()[-4000:])
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
