"""Contrastive communication: what messages are worth, over method, kappa, temperature, window and message size.

Every axis is a list of values, every combination a trial with every seed; a method that has no such setting (`none` has
no kappa, `aecomm` no window) is run once for all values of it. Trials stop at a number of environment steps and are
evaluated once, at the end. ``--env`` chooses the setting:

Beacon            the small setting: PPO's settings of ContrastiveCommConfig, 200,000 steps, some minutes a trial
PredatorPrey, TrafficJunction, FindGoal
                  the paper's: lr 3e-4, gradient norm 2500, entropy 0.01, value 0.5, discount 0.99, 12 environments (its
                  12 processes), stretches of 20 steps or more. Find-Goal's length is in none of the texts that could be
                  read: as Traffic-Junction's. Not run in full here

Sources: CACL (arXiv 2307.01403) and the table of its workshop predecessor (Lo & Sengupta 2022). Not the paper's: PPO for
the asynchronous actor-critic with returns of 5 steps; Adam's epsilon, which goes with sums of gradients there.
"""

from __future__ import annotations

import argparse
import itertools
import json
from functools import partial
from typing import Any

from ray.tune import Tuner

from rllib_ext.contrastive_comm.knobs import METHODS
from rllib_ext.errors import BadConfig
from rllib_ext.registry import config_class
from tuned_configs import _flags
from tuned_configs._algorithm_sweep import checked, run, tuner
from tuned_configs._points import Points

STEPS = "num_env_steps_sampled_lifetime"
PAPER: dict[str, Any] = {
    "lr": 3e-4,
    "gamma": 0.99,
    "entropy_coeff": 0.01,
    "vf_loss_coeff": 0.5,
    "grad_clip": 2500.0,
    "num_envs_per_env_runner": 12,
    "num_minibatches": 1,  # all 12 trajectories are contrasted at once
    "max_messages": 4096,
}
# Environment -> (environment steps, its arguments, settings beside the defaults).
SETTINGS: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "Beacon": (200_000, {}, {}),
    "PredatorPrey": (30_000_000, {}, {**PAPER, "rollout_steps": 50}),
    "TrafficJunction": (
        10_000_000,
        {
            "difficulty": "easy",
            "dim": 8,
            "max_cars": 5,
            "vision": 1,
            "add_rate_min": 0.1,
            "add_rate_max": 0.3,
        },
        {**PAPER, "rollout_steps": 20},
    ),
    "FindGoal": (10_000_000, {}, {**PAPER, "rollout_steps": 64}),
}
SMOKE_STEPS = 16_384
SMOKE: dict[str, Any] = {"num_envs_per_env_runner": 64, "rollout_steps": 16, "num_minibatches": 2}
PLAYED = ("cacl", "aecomm", "none")
# Axis -> (the setting that it is, methods that have it; None: all but "none").
AXES: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "comm": ("comm", METHODS),
    "kappa": ("comm_coeff", ("cacl", "aecomm", "cacl+dial", "aecomm+dial")),
    "temperature": ("temperature", ("cacl", "cacl+dial")),
    "window": ("window", ("cacl", "cacl+dial")),
    "message_dim": ("message_dim", tuple(name for name in METHODS if name != "none")),
}
METRICS = (
    STEPS,
    "evaluation/env_runners/success_mean",
    "evaluation/env_runners/episode_return_mean",
    "env_runners/success_mean",
    "env_runners/episode_len_mean",
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "contrastive_comm",
        __doc__,
        samples="runs of every trial",
        smoke=f"{' '.join(PLAYED)}, {SMOKE_STEPS:,} steps, one seed",
    )
    parser.add_argument("--env", default="Beacon", choices=SETTINGS, help="default: Beacon")
    add = partial(parser.add_argument, nargs="+", metavar="VALUE")
    add("--comm", default=list(PLAYED), choices=METHODS, help=f"axis: {', '.join(METHODS)}")
    add(
        "--kappa",
        type=_number_or_none(float),
        default=[None],
        help="axis: weight of the message loss; none: the method's",
    )
    add("--temperature", type=float, default=[0.1], help="axis: eta of the contrastive loss")
    add("--window", type=_number_or_none(int), default=[5], help="axis: steps; none: the whole episode")
    add("--message-dim", type=int, default=[4], help="axis: numbers a message")
    parser.add_argument(
        "--steps", type=int, default=None, help="environment steps of a trial; default: the setting's"
    )
    args = parser.parse_args(argv)
    if args.steps is None:
        args.steps = SMOKE_STEPS if args.smoke else SETTINGS[args.env][0]
    if args.steps < 1:
        raise BadConfig(f"--steps is {args.steps}; it must be 1 or more")
    return args


def _number_or_none(kind: type) -> Any:
    def read(word: str) -> Any:
        return None if word.lower() in ("none", "null") else kind(word)

    read.__name__ = kind.__name__  # what argparse calls it where a word is neither
    return read


def fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of every trial."""
    _, env_config, settings = SETTINGS[args.env]
    own = {
        "env": args.env,
        "env_config": env_config,
        "num_env_runners": 0,
        **settings,
        **(SMOKE if args.smoke else {}),
        **args.set,
    }
    config = config_class("ContrastiveComm")().update_from_dict({**own, "comm": "cacl"})
    a_round = config.num_envs_per_env_runner * config.rollout_steps * max(1, config.num_env_runners)
    at_end = {"evaluation_interval": -(-args.steps // a_round), "evaluation_duration": 128}
    return {**at_end, "evaluation_duration_unit": "episodes", **own}


def trials(args: argparse.Namespace) -> Points:
    """Every combination of the axes that differs, with every seed. Raises BadConfig where one cannot hold."""
    defaults = config_class("ContrastiveComm")()
    found = {}
    for values in itertools.product(*(getattr(args, axis) for axis in AXES)):
        point = {setting: value for (setting, _), value in zip(AXES.values(), values, strict=True)}
        for setting, methods in AXES.values():
            if point["comm"] not in methods:
                point[setting] = getattr(defaults, setting)
        found[json.dumps(point)] = point
    return checked("ContrastiveComm", fixed(args), list(found.values()), args)


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner: trials that stop at a number of environment steps, an interrupted sweep continued."""
    own = fixed(args)
    stop = {STEPS: args.steps}
    return tuner(args, "ContrastiveComm", own, trials(args), stop, own["evaluation_interval"])


def main(argv: list[str] | None = None) -> int:
    """Run the sweep, print its table, draw it, and print one JSON line."""
    args = arguments(argv)
    knobs = [setting for axis, (setting, _) in AXES.items() if len(getattr(args, axis)) > 1 or axis == "comm"]
    plan = {"fixed": fixed(args), "stop": {STEPS: args.steps}, "trials": trials(args)}
    return run(args, plan, build, knobs=[*knobs, "seed"], metrics=METRICS)


if __name__ == "__main__":
    raise SystemExit(main())
