"""ASHA over learning rate and beta of AsyncOnlineDPO: many settings begin, the worse half of each rung ends early.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934). Rungs are numbers of
optimizer updates. With ``--seeds S`` every drawn setting is trained with S seeds, each a trial of its own.
"""

from __future__ import annotations

import argparse

from ray.tune import TuneConfig, Tuner, grid_search
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from tuned_configs import _dpo_search as search
from tuned_configs import _flags

RUNGS, REDUCTION = 8, 2  # the first rung is at an eighth of the updates (a third with --smoke); half goes on


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    return search.arguments(
        "dpo_asha", __doc__, argv, samples=32, smoke_samples=4, counted="settings that are drawn; default: 32"
    )


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner."""
    scheduler = ASHAScheduler(
        time_attr=search.TIME,
        max_t=args.updates,
        grace_period=max(1, args.updates // (3 if args.smoke else RUNGS)),
        reduction_factor=REDUCTION,
    )
    # Settings are drawn once and kept over the seeds; the draws are the same whenever the search begins anew.
    drawn = BasicVariantGenerator(constant_grid_search=True, random_state=0)
    tune_config = TuneConfig(
        metric=search.METRIC, mode="max", scheduler=scheduler, search_alg=drawn, num_samples=args.num_samples
    )
    return search.build(args, _seeds(args), tune_config)


def _seeds(args: argparse.Namespace) -> dict[str, list[int]]:
    return grid_search(_flags.seeds(args))


def main(argv: list[str] | None = None) -> int:
    """Run the search."""
    args = arguments(argv)
    return search.run(args, _seeds(args), build)


if __name__ == "__main__":
    raise SystemExit(main())
