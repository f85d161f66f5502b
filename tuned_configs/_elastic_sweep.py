"""What the sweeps of Elastic Reset on language models share: the Tuner, and the table at the end."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

import pandas
from ray.tune import TuneConfig, Tuner

import rllib_ext
from rllib_ext.analysis.rows import flatten
from rllib_ext.registry import algorithm
from rllib_ext.runtime.sweep import Sweep
from tuned_configs import _flags

SHOWN = ("kl_beta", "reset_every", "ema_decay", "seed")
MEASURED = ("er/num_resets", "evaluation/reward_mean", "evaluation/ppl_reference", "evaluation/kl_ref")


def tuner(
    args: argparse.Namespace, space: Mapping[str, Any], make_env: Callable[[dict[str, Any]], Any]
) -> Tuner:
    """The Tuner: a checkpoint an iteration, three further attempts each, an interrupted sweep continued.

    make_env: what ``space["env"]`` names; registered here, where the driver is.
    """
    from ray.tune.registry import register_env

    rllib_ext.register()
    register_env(space["env"], make_env)
    return Sweep(
        args.name,
        algorithm("ElasticResetAsyncPPO"),
        space,
        storage=args.storage_path,
        tune=TuneConfig(metric="reward/mean", mode="max", num_samples=args.num_samples),
        max_failures=0 if args.smoke else 3,
    ).tuner(must_exist=args.resume)


def run(
    args: argparse.Namespace,
    space: Callable[[argparse.Namespace], dict[str, Any]],
    build: Callable[[argparse.Namespace], Tuner],
) -> int:
    """Run the sweep, print its table, and say how its frontier is drawn; with ``--dry-run`` print the space."""
    if args.dry_run:
        print(json.dumps(space(args), indent=1))
        return 0
    with _flags.session(args):
        results = build(args).fit()
    rows = [
        [result.config[name] for name in SHOWN]
        + [flatten(result.metrics or {}).get(name) for name in MEASURED]
        for result in results
    ]
    print(pandas.DataFrame(rows, columns=[*SHOWN, *MEASURED]).to_string(index=False))
    print(f"frontier: rllib-ext plot {results.experiment_path}")
    return 1 if results.num_errors else 0
