"""Elastic Reset on IMDB: a positive end for half a review, with the settings of the paper's released configuration.

Sweeps beta of the KL penalty for PPO, and reset period, decay of the average and beta for Elastic Reset, over the seeds.
Source: Elastic Reset (arXiv 2312.07551), IMDB configurations of its RL4LMs fork. One iteration there is 1,280 tokens (27
completions of 48) and five passes in mini-batches of 64 tokens; here 28 completions and five passes, so an update sees a
whole batch. ``--smoke`` trains a small random model on a lexicon's reward for four updates.
"""

from __future__ import annotations

import argparse
from typing import Any

from ray.tune import Tuner

from tuned_configs import _elastic_sweep, _flags

PASSES, ITERATIONS = 5, 50
IMDB = {
    "samples_per_prompt": 1, "prompts_per_minibatch": 28, "updates_per_minibatch": PASSES, "mode": "sync",
    "max_prompt_tokens": 64, "max_new_tokens": 48, "missing_eos": "keep", "temperature": 1.0,
    "lr": 1e-6, "lr_schedule": "constant", "weight_decay": 1e-6, "max_grad_norm": 0.5,
    "gamma": 0.99, "gae_lambda": 0.95, "clip": 0.2, "value_coef": 0.5, "value_clip": 0.2,
    "total_updates": PASSES * ITERATIONS, "evaluation_interval": 1, "evaluation_temperature": 1.0,
    "drift_tokens": 65_536, "kl_controller": "rl4lms",
}  # fmt: skip
ELASTIC = {"ema_decay": 0.995, "reset_every": 17, "reset_offset": 0, "kl_beta": 0.001, "kl_beta_target": 1.0}
PPO = {"variant": "none", "kl_beta": 0.1, "kl_beta_target": 0.5}
# What is swept, by method: the ranges of the development configurations, around the released values.
SWEEPS: dict[str, dict[str, list[Any]]] = {
    "kl_penalty": {"kl_beta": [0.0, 0.001, 0.01, 0.1, 0.3, 1.0]},
    "elastic_reset": {"kl_beta": [0.0, 0.001, 0.01, 0.1], "reset_every": [10, 17, 25], "ema_decay": [0.99, 0.995, 0.999]},
    "ema_only": {"kl_beta": [0.0, 0.001, 0.01, 0.1]},
    "reset_to_init": {"kl_beta": [0.0, 0.001, 0.01, 0.1]},
    "reset_to_ema": {"kl_beta": [0.0, 0.001, 0.01, 0.1]},
}  # fmt: skip


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "elastic_reset_imdb",
        __doc__,
        samples="runs of every point of the grid and seed",
        smoke="four updates, one seed, a lexicon's reward",
    )
    parser.set_defaults(name=None)
    parser.add_argument("--method", default="elastic_reset", choices=sorted(SWEEPS))
    parser.add_argument("--fixed", action="store_true", help="the released values alone, without a grid")
    parser.add_argument("--model", default="lvwerra/gpt2-imdb", help="hub name or folder of the SFT model")
    parser.add_argument(
        "--reward-model", default="lvwerra/distilbert-imdb", help="classifier; its positive class is paid"
    )
    parser.add_argument("--data", default=None, help="local file in IMDB's columns; none: the hub's")
    args = parser.parse_args(argv)
    args.name = args.name or f"elastic_reset_imdb_{args.method}"
    return args


def space(args: argparse.Namespace) -> dict[str, Any]:
    """The trials' settings: fixed ones, the method's own, and the grid over its knobs and the seeds."""
    own = PPO if args.method == "kl_penalty" else {**ELASTIC, "variant": args.method}
    if args.method == "ema_only":
        own |= {"evaluate_with": "ema", "export": "ema"}
    grid = {} if args.fixed or args.smoke else SWEEPS[args.method]
    small = {"total_updates": 4, "updates_per_minibatch": 1, "prompts_per_minibatch": 4, "reset_every": 2, "engine": "hf",
             "max_new_tokens": 8, "evaluation_prompts": 8, "drift_tokens": 256}  # fmt: skip
    env = {"lexicon": args.smoke, "reward_model": args.reward_model}
    return {
        "env": "SentimentByClassifier",
        "env_config": env | ({"data": args.data} if args.data else {}),
        "model": args.model,
        **IMDB,
        **own,
        **(small if args.smoke else {}),
        **args.set,
        **{name: {"grid_search": values} for name, values in grid.items()},
        "seed": {"grid_search": _flags.seeds(args)},
    }


def sentiment(settings: dict[str, Any]) -> Any:
    """Sentiment with its reward made where the worker is: a classifier's probability, or the lexicon of ``--smoke``."""
    from envs.text import Sentiment
    from envs.text.sentiment import LexiconSentiment

    settings = dict(settings)
    lexicon, folder = settings.pop("lexicon"), settings.pop("reward_model")
    if lexicon:
        return Sentiment(reward=LexiconSentiment(), **settings)
    from tuned_configs._positive import PositiveProbability

    return Sentiment(reward=PositiveProbability(folder), **settings)


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner over the method's grid."""
    return _elastic_sweep.tuner(args, space(args), sentiment)


def main(argv: list[str] | None = None) -> int:
    """Run the sweep and print its table."""
    return _elastic_sweep.run(arguments(argv), space, build)


if __name__ == "__main__":
    raise SystemExit(main())
