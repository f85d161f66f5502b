"""Off-policyness: reward and KL of asynchronous methods over N, the mini-batches learnt from one generation round.

Every run takes the same number of optimizer updates, so a larger N means fewer generation rounds and older samples.
Source: "Asynchronous RLHF" (arXiv 2410.18252), section 3.2 and figure 4. ``--smoke`` runs N in {1, 4} for 8 updates.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner

import rllib_ext
from rllib_ext.registry import algorithm

N_VALUES = (1, 2, 4, 8, 16, 32, 64)
SMOKE_N_VALUES = (1, 4)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = argparse.ArgumentParser(prog="python -m tuned_configs.offpolicyness", description=__doc__)
    parser.add_argument(
        "--algorithm",
        default="AsyncOnlineDPO",
        choices=["AsyncOnlineDPO", "AsyncRLOO", "AsyncPPO", "BestOfN"],
    )
    parser.add_argument("--model", required=True, help="hub name or folder of the SFT model")
    parser.add_argument("--env", default="TLDR")
    parser.add_argument("--env-config", type=json.loads, default={}, help="JSON object")
    parser.add_argument("--set", type=json.loads, default={}, help="further settings, a JSON object")
    parser.add_argument("--updates", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 1 to this number")
    parser.add_argument("--storage-path", default="runs")
    parser.add_argument("--name", default="offpolicyness")
    parser.add_argument("--smoke", action="store_true", help="N in {1, 4}, 8 updates, one seed")
    parser.add_argument("--dry-run", action="store_true", help="print the space as JSON and stop")
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
        "seed": {"grid_search": list(range(1, 2 if args.smoke else args.seeds + 1))},
    }


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner: checkpoints at the end of every trial, three attempts each, an interrupted sweep continued."""
    rllib_ext.register()
    path = Path(args.storage_path).expanduser().absolute() / args.name
    trainable = algorithm(args.algorithm)
    if Tuner.can_restore(str(path)):
        return Tuner.restore(str(path), trainable=trainable, param_space=space(args), resume_errored=True)
    return Tuner(
        trainable,
        param_space=space(args),
        tune_config=TuneConfig(metric="reward/mean", mode="max"),
        run_config=RunConfig(
            name=args.name,
            storage_path=str(path.parent),
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=True, num_to_keep=2),
        ),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the sweep and print its table."""
    args = arguments(argv)
    if args.dry_run:
        print(json.dumps(space(args), indent=1))
        return 0
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
