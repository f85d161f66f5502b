"""Off-policyness: reward and KL of asynchronous methods over N, the mini-batches learnt from one generation round.

Every run takes the same number of optimizer updates, so a larger N means fewer generation rounds and older samples.
Source: "Asynchronous RLHF" (arXiv 2410.18252), section 3.2 and figure 4. ``--smoke`` runs N in {1, 4} for 8 updates.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from ray.tune import TuneConfig, Tuner

import rllib_ext
from rllib_ext.registry import algorithm
from rllib_ext.runtime.sweep import Sweep
from tuned_configs import _flags

N_VALUES = (1, 2, 4, 8, 16, 32, 64)
SMOKE_N_VALUES = (1, 4)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "offpolicyness",
        __doc__,
        samples="runs of every N and seed",
        smoke="N in {1, 4}, 8 updates, one seed",
    )
    parser.add_argument(
        "--algorithm",
        default="AsyncOnlineDPO",
        choices=["AsyncOnlineDPO", "AsyncRLOO", "AsyncPPO", "BestOfN"],
    )
    parser.add_argument("--model", required=True, help="hub name or folder of the SFT model")
    parser.add_argument("--env", default="TLDR")
    parser.add_argument("--env-config", type=json.loads, default={}, help="JSON object")
    parser.add_argument("--updates", type=int, default=256)
    return parser.parse_args(argv)


def space(args: argparse.Namespace) -> dict[str, Any]:
    """The trials' settings: fixed ones, and the grid over N and seed."""
    values = SMOKE_N_VALUES if args.smoke else N_VALUES
    updates = 8 if args.smoke else args.updates
    return {
        "env": args.env,
        "env_config": args.env_config,
        "model": args.model,
        "total_updates": updates,
        "evaluation_interval": 1 if args.smoke else None,
        **args.set,
        "minibatches_per_generation": {"grid_search": [n for n in values if n <= updates]},
        "seed": {"grid_search": _flags.seeds(args)},
    }


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner: nothing reported is lost, three further attempts each, an interrupted sweep continued."""
    rllib_ext.register()
    return Sweep(
        args.name,
        algorithm(args.algorithm),
        space(args),
        storage=args.storage_path,
        tune=TuneConfig(metric="reward/mean", mode="max", num_samples=args.num_samples),
    ).tuner(must_exist=args.resume)


def main(argv: list[str] | None = None) -> int:
    """Run the sweep and print its table."""
    args = arguments(argv)
    if args.dry_run:
        print(json.dumps(space(args), indent=1))
        return 0
    with _flags.session(args):
        results = build(args).fit()
    columns = [
        "config/minibatches_per_generation",
        "config/seed",
        "reward/mean",
        "staleness/mean",
        "staleness/max",
    ]
    table = results.get_dataframe()
    print(table[[column for column in columns if column in table]].to_string(index=False))
    return 1 if results.num_errors else 0


if __name__ == "__main__":
    raise SystemExit(main())
