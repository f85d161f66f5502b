"""What sweeps over the settings of one algorithm share: trials found valid before any begins, their Tuner, their end."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune import Tuner

import rllib_ext
from rllib_ext.errors import unknown_name
from rllib_ext.registry import algorithm, config_class
from rllib_ext.runtime.sweep import Sweep
from tuned_configs import _flags
from tuned_configs._outcome import conclude
from tuned_configs._points import Points, listed


def checked(name: str, fixed: Mapping[str, Any], points: Points, args: argparse.Namespace) -> Points:
    """The points, each with every seed of ``args``, after `require_valid`."""
    require_valid(name, fixed, points, args)
    return [{**point, "seed": seed} for point in points for seed in _flags.seeds(args)]


def require_valid(name: str, fixed: Mapping[str, Any], points: Points, args: argparse.Namespace) -> None:
    """Raises BadConfig where a point is no configuration of the algorithm ``name``, before any trial is begun, and names
    a setting of ``--set`` that there is not.
    """
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)  # what it says of every configuration
    defaults = config_class(name)()
    for setting in args.set:
        if not hasattr(defaults, setting):
            raise unknown_name("setting in --set", setting, vars(defaults))
    for point in points:
        config_class(name)().update_from_dict({**fixed, **point}).validate()


def tuner(
    args: argparse.Namespace,
    name: str,
    fixed: Mapping[str, Any],
    points: Points,
    stop: Mapping[str, float],
    results: int,
    scheduler: Any = None,
) -> Tuner:
    """The Tuner over these trials of the algorithm ``name``: an interrupted sweep is continued. results: of a trial, of
    which every tenth is a checkpoint. scheduler: Tune's, that may end trials early.
    """
    rllib_ext.register()
    space, tune_config = listed(fixed, points, args.num_samples)
    tune_config.scheduler = scheduler
    return Sweep(
        args.name,
        algorithm(name),
        space,
        storage=args.storage_path,
        tune=tune_config,
        stop=stop,
        checkpoint_frequency=max(1, results // 10),
        verbose=0 if args.smoke else 1,
    ).tuner(must_exist=args.resume)


def run(
    args: argparse.Namespace,
    plan: Mapping[str, Any],
    build: Callable[[argparse.Namespace], Tuner],
    *,
    knobs: Sequence[str],
    metrics: Sequence[str],
    x: str | None = None,
) -> int:
    """Run the sweep, print its table, draw it, and print one JSON line; with ``--dry-run`` print the plan alone."""
    began = time.monotonic()
    if args.dry_run:
        print(json.dumps(plan, indent=1))
        return 0
    with _flags.session(args):
        results = build(args).fit()
    return conclude(args, results, began, knobs=knobs, metrics=metrics, x=x)
