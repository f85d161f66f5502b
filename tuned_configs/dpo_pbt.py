"""Population-based training of AsyncOnlineDPO: learning rate and beta change while the population trains.

At every interval the worst quarter goes on from checkpoints of the best quarter, with settings near theirs: what comes
out is a schedule, not one setting. A trial that goes on so takes weights, optimizer moments, counters and random state
from the checkpoint, and lr and beta from its new configuration. All members share the seed, hence the order of prompts; a
checkpoint of another seed's run is refused. Source: Jaderberg et al. 2017, "Population Based Training of Neural Networks"
(arXiv 1711.09846).
"""

from __future__ import annotations

import argparse

from ray import tune
from ray.tune import TuneConfig, Tuner
from ray.tune.schedulers import PopulationBasedTraining

from tuned_configs import _dpo_search as search

INTERVALS = 8  # in a run; 3 with --smoke
CHECKPOINTS_KEPT = 8  # the one that another trial is to go on from must not be gone before it begins


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    return search.arguments(
        "dpo_pbt", __doc__, argv, samples=8, smoke_samples=2, counted="members of the population; default: 8"
    )


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner."""
    lr = search.SMOKE_LR if args.smoke else search.LR
    scheduler = PopulationBasedTraining(
        time_attr=search.TIME,
        perturbation_interval=max(1, args.updates // (3 if args.smoke else INTERVALS)),
        hyperparam_mutations={"lr": tune.loguniform(*lr), "beta": tune.loguniform(*search.BETA)},
    )
    tune_config = TuneConfig(
        metric=search.METRIC, mode="max", scheduler=scheduler, num_samples=args.num_samples
    )
    return search.build(args, search.one_seed(args), tune_config, checkpoints_kept=CHECKPOINTS_KEPT)


def main(argv: list[str] | None = None) -> int:
    """Run the search."""
    args = arguments(argv)
    return search.run(args, search.one_seed(args), build)


if __name__ == "__main__":
    raise SystemExit(main())
