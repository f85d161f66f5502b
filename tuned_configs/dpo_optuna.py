"""Optuna over learning rate and beta of AsyncOnlineDPO: each trial's settings follow from the rewards of those before.

The sampler is Optuna's tree-structured Parzen estimator, its first draws random; source: Bergstra et al. 2011,
"Algorithms for Hyper-Parameter Optimization". Trials run to their end. Needs the extra ``tune``.
"""

from __future__ import annotations

import argparse
import importlib.util

from ray.tune import TuneConfig, Tuner

from rllib_ext.errors import BadConfig
from tuned_configs import _dpo_search as search

CONCURRENT = 2  # of them, so that a draw has most of the others' rewards to go by


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    return search.arguments(
        "dpo_optuna", __doc__, argv, samples=32, smoke_samples=4, counted="trials; default: 32"
    )


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner."""
    if importlib.util.find_spec("optuna") is None:
        raise BadConfig('dpo_optuna needs optuna, which is not installed: pip install "rllib-ext[tune]"')
    from ray.tune.search.optuna import OptunaSearch

    seed = search.one_seed(args)
    tune_config = TuneConfig(
        metric=search.METRIC,
        mode="max",
        search_alg=OptunaSearch(seed=seed),
        num_samples=args.num_samples,
        max_concurrent_trials=CONCURRENT,
    )
    return search.build(args, seed, tune_config)


def main(argv: list[str] | None = None) -> int:
    """Run the search."""
    args = arguments(argv)
    return search.run(args, search.one_seed(args), build)


if __name__ == "__main__":
    raise SystemExit(main())
