"""The flags that every sweep has, what they mean for its trials, and the Ray session that it runs in."""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rllib_ext.errors import BadConfig, unknown_name
from rllib_ext.runtime.ray_session import available_cores, ray_session

LEAST_CPUS = 2  # a trial with one worker reserves two: a learner's and the worker's


def parser(name: str, description: str | None, *, samples: str, smoke: str) -> argparse.ArgumentParser:
    """A parser with the shared flags. samples, smoke: what ``--num-samples`` counts and ``--smoke`` runs here."""
    made = _Parser(prog=f"rllib-ext sweep {name}", description=(description or "").partition("\n")[0])
    made.add_argument("--seeds", type=int, default=5, help="seeds 1 to this number; with --smoke: 1")
    made.add_argument("--num-samples", type=int, default=1, help=samples)
    made.add_argument("--set", type=_settings, default={}, help="further settings, a JSON object")
    made.add_argument("--storage-path", default="runs", help="a folder, or a URI that every node reaches")
    made.add_argument("--name", default=name, help="of the sweep's folder there")
    made.add_argument("--address", default=None, help="join this Ray cluster; default: a session of its own")
    made.add_argument("--smoke", action="store_true", help=smoke)
    made.add_argument("--resume", action="store_true", help="only go on with a sweep that was begun")
    made.add_argument("--dry-run", action="store_true", help="print the trials as JSON and stop")
    return made


class _Parser(argparse.ArgumentParser):
    """argparse with whole words only, and with an unknown flag answered by the nearest right one."""

    def __init__(self, **settings: str) -> None:
        super().__init__(allow_abbrev=False, **settings)  # type: ignore[arg-type]

    def parse_args(self, args: Sequence[str] | None = None, namespace=None) -> argparse.Namespace:  # type: ignore[override]
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            self.error(str(unknown_name("argument", rest[0].partition("=")[0], self._option_string_actions)))
        return found


def _settings(text: str) -> dict:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object such as " + '{"lr": 1e-4}')
    return value


def seeds(args: argparse.Namespace) -> list[int]:
    """1 to ``--seeds``; the first alone with ``--smoke``. Raises BadConfig where there would be no trial."""
    if args.seeds < 1 or args.num_samples < 1:
        raise BadConfig(f"--seeds {args.seeds} and --num-samples {args.num_samples} must be 1 or more.")
    return [1] if args.smoke else list(range(1, args.seeds + 1))


def engine() -> str:
    """The generation engine that is installed: vLLM, or else Hugging Face's own generation."""
    return "vllm" if importlib.util.find_spec("vllm") else "hf"


def local_storage(args: argparse.Namespace) -> Path:
    """Where files that are not Tune's go: beside the sweep, or ./runs where the sweep is in object storage."""
    return Path("runs" if "://" in args.storage_path else args.storage_path).expanduser().absolute()


def session(args: argparse.Namespace) -> AbstractContextManager[None]:
    """The Ray session of the sweep: one that runs already, the cluster of ``--address``, or a local one of its own."""
    if args.address:
        import ray

        if ray.is_initialized():
            raise BadConfig(
                "--address is given, but a Ray session runs already; set RAY_ADDRESS before it starts"
            )
    return ray_session(max(LEAST_CPUS, available_cores()), args.address)
