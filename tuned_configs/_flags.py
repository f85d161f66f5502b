"""The flags that every sweep has, what they mean for its trials, and the Ray session that it runs in."""

from __future__ import annotations

import argparse
import json
from contextlib import AbstractContextManager

from rllib_ext.errors import BadConfig
from rllib_ext.runtime.ray_session import available_cores, ray_session

LEAST_CPUS = 2  # a trial with one worker reserves two: a learner's and the worker's


def parser(name: str, description: str | None, *, samples: str, smoke: str) -> argparse.ArgumentParser:
    """A parser with the shared flags. samples, smoke: what ``--num-samples`` counts and ``--smoke`` runs here."""
    made = argparse.ArgumentParser(
        prog=f"rllib-ext sweep {name}", description=(description or "").partition("\n")[0]
    )
    made.add_argument("--seeds", type=int, default=5, help="seeds 1 to this number; with --smoke: 1")
    made.add_argument("--num-samples", type=int, default=1, help=samples)
    made.add_argument("--set", type=json.loads, default={}, help="further settings, a JSON object")
    made.add_argument("--storage-path", default="runs", help="a folder, or a URI that every node reaches")
    made.add_argument("--name", default=name, help="of the sweep's folder there")
    made.add_argument("--address", default=None, help="join this Ray cluster; default: a session of its own")
    made.add_argument("--smoke", action="store_true", help=smoke)
    made.add_argument("--resume", action="store_true", help="only go on with a sweep that was begun")
    made.add_argument("--dry-run", action="store_true", help="print the trials as JSON and stop")
    return made


def seeds(args: argparse.Namespace) -> list[int]:
    """1 to ``--seeds``; the first alone with ``--smoke``. Raises BadConfig where there would be no trial."""
    if args.seeds < 1 or args.num_samples < 1:
        raise BadConfig(f"--seeds {args.seeds} and --num-samples {args.num_samples} must be 1 or more.")
    return [1] if args.smoke else list(range(1, args.seeds + 1))


def session(args: argparse.Namespace) -> AbstractContextManager[None]:
    """The Ray session of the sweep: one that runs already, the cluster of ``--address``, or a local one of its own."""
    if args.address:
        import ray

        if ray.is_initialized():
            raise BadConfig(
                "--address is given, but a Ray session runs already; set RAY_ADDRESS before it starts"
            )
    return ray_session(max(LEAST_CPUS, available_cores()), args.address)
