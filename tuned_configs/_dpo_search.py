"""What the three searches for settings of asynchronous online DPO share: flags, the space of lr and beta, small runs.

Time is counted in optimizer updates, never in iterations: an iteration in which every pair tied, or whose workers were
lost, is an iteration too. Trials are compared by the mean reward of the completions that they train on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune import TuneConfig, Tuner

import rllib_ext
from rllib_ext.errors import BadConfig
from rllib_ext.registry import algorithm
from rllib_ext.runtime.sweep import Sweep
from tuned_configs import _flags
from tuned_configs._controlled_start import ENVIRONMENT, controlled_start
from tuned_configs._outcome import conclude

METRIC, TIME = "reward/mean", "num_updates_lifetime"
UPDATES, SMOKE_UPDATES = 256, 12
SMOKE_SIZE = 64  # 32 a head: the least that vLLM takes on a CPU
SMOKE: dict[str, Any] = {
    "prompts_per_minibatch": 16,
    "max_prompt_tokens": 40,
    "max_new_tokens": 10,
    "evaluation_prompts": 128,
    "logp_probe": 0,
    "engine_threads": 1,
    "learner_threads": 1,
    "kv_cache_gib": 0.25,
    "num_cpus_for_main_process": 0.5,  # two trials share two cores
    "num_cpus_per_env_runner": 0.5,
    "num_cpus_per_learner": 0.5,
    "env_config": {"size": 4096},
}
# The paper's rate is 3e-6 for 410 million parameters and more; models of some ten thousand want a hundred times that.
LR, SMOKE_LR = (3e-7, 3e-5), (1e-4, 3e-3)
BETA = (0.01, 0.5)


def arguments(
    name: str,
    description: str | None,
    argv: list[str] | None,
    *,
    samples: int,
    smoke_samples: int,
    counted: str,
) -> argparse.Namespace:
    """The flags. samples, smoke_samples: defaults of --num-samples; counted: what it counts."""
    parser = _flags.parser(
        name, description, samples=counted, smoke=f"a small start of its own, {SMOKE_UPDATES} updates a trial"
    )
    parser.set_defaults(num_samples=None, seeds=1)
    parser.add_argument("--model", default=None, help="hub name or folder of the SFT model")
    parser.add_argument("--env", default=None, help=f"default: TLDR; with --smoke {ENVIRONMENT}")
    parser.add_argument(
        "--engine", default=_flags.engine(), choices=("vllm", "hf"), help="default: what is installed"
    )
    parser.add_argument(
        "--updates", type=int, default=None, help=f"default: {UPDATES}; with --smoke {SMOKE_UPDATES}"
    )
    args = parser.parse_args(argv)
    if not args.model and not args.smoke:
        raise BadConfig("no model: add --model <hub name or folder of an SFT model>, or try --smoke")
    args.num_samples = (
        (smoke_samples if args.smoke else samples) if args.num_samples is None else args.num_samples
    )
    args.updates = (SMOKE_UPDATES if args.smoke else UPDATES) if args.updates is None else args.updates
    args.env = args.env or (ENVIRONMENT if args.smoke else "TLDR")
    args.start = None if args.model else _flags.local_storage(args) / f"{args.name}-start"
    args.model = args.model or str(args.start / f"llama-{SMOKE_SIZE}")
    return args


def one_seed(args: argparse.Namespace) -> int:
    """The seed of a search that learns from one trial for the next."""
    if len(_flags.seeds(args)) > 1:
        raise BadConfig(
            f"--seeds {args.seeds}: this search learns from one trial for the next, so that its trials share a seed; "
            """run it again with --name and --set '{"seed": 2}'"""
        )
    return args.set.get("seed", 1)


def space(args: argparse.Namespace, seed: Any) -> dict[str, Any]:
    """The trials' settings; lr and beta are drawn."""
    return {
        **(SMOKE if args.smoke else {}),
        "env": args.env,
        "model": args.model,
        "engine": args.engine,
        "total_updates": args.updates,
        "evaluation_interval": args.updates,
        "seed": seed,
        "lr": tune.loguniform(*(SMOKE_LR if args.smoke else LR)),
        "beta": tune.loguniform(*BETA),
        **args.set,
    }


def build(args: argparse.Namespace, seed: Any, tune_config: TuneConfig, **settings: Any) -> Tuner:
    """The Tuner. settings: further ones of the `Sweep`."""
    rllib_ext.register()
    if args.start is not None:
        controlled_start(args.start, SMOKE_SIZE)
    return Sweep(
        args.name,
        algorithm("AsyncOnlineDPO"),
        space(args, seed),
        storage=args.storage_path,
        tune=tune_config,
        verbose=0 if args.smoke else 1,
        **settings,
    ).tuner(must_exist=args.resume)


def run(args: argparse.Namespace, seed: Any, build_it: Callable[[argparse.Namespace], Tuner]) -> int:
    """Run the search, print its table and its best trial, draw it, and print one JSON line."""
    began = time.monotonic()
    if args.dry_run:
        print(json.dumps({"samples": args.num_samples, "space": space(args, seed)}, indent=1, default=_drawn))
        return 0
    with _flags.session(args):
        results = build_it(args).fit()
    best = results.get_best_result(METRIC, "max", filter_nan_and_inf=True)
    metrics = (TIME, METRIC, "evaluation/reward_mean", "evaluation/win_rate", "evaluation/kl_ref")
    chosen = {name: best.config[name] for name in ("lr", "beta", "seed")}
    return conclude(args, results, began, knobs=("lr", "beta", "seed"), metrics=metrics, best=chosen)


def _drawn(domain: Any) -> str:
    """A domain in a dry run: where its values are drawn from."""
    return f"{domain.get_sampler()} in [{domain.lower:g}, {domain.upper:g}]"
