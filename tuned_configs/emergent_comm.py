"""Emergent communication under competition: the curve of cooperation over biases, its random search, negotiators' grid.

--env SenderReceiver   --bias × --channel × seed with the published best hyper-parameters; a bias without published ones
                       (180, or any other number) has the package's defaults
  --search             instead, ``--num-samples`` settings drawn at random for each bias and channel (published: 100),
                       every one with every seed: both rates 1e-4 to 1e-2 and the entropy's weight 1e-4 to 1, evenly in
                       their logarithm, both widths 16 to 64, a vocabulary of 64, 128 or 256
--env Negotiation      --channels × --termination × --reward × seed: 2,000 batches of 128 games with the fast encoder,
                       judged every 500

A run on the circle is 30 epochs of 250 updates of 64 games, and its score the mean over its last 10. The report draws the
curve and the scatter of both losses (``rllib-ext plot`` draws them again). Drawn settings follow from ``--search-seed``
alone, so an interrupted search goes on as the same search.

Sources: arXiv 2101.10276, sections 4 and 5 and its search; for the negotiators arXiv 1804.03980.
"""

from __future__ import annotations

import argparse
import itertools
import math
from functools import partial
from typing import Any

import numpy as np
from ray.tune import Tuner

from envs.games.bargain import REWARDS
from envs.games.negotiation_core import CHANNELS, TERMINATION
from rllib_ext.errors import BadConfig
from rllib_ext.registry import config_class
from tuned_configs import _flags
from tuned_configs._algorithm_sweep import checked, run, tuner
from tuned_configs._emergent_settings import BIASES, EPOCHS, best
from tuned_configs._points import Points

UPDATES, STEPS = "num_updates_lifetime", "num_env_steps_sampled_lifetime"
ON_CIRCLE = ("discrete", "continuous")
ROUNDS, BATCHES = 4, 500  # of negotiation: judgements, and batches between them
RATES, ENTROPIES, WIDTHS, VOCABULARIES = (1e-4, 1e-2), (1e-4, 1.0), (16, 64), (64, 128, 256)
METRICS = {
    "SenderReceiver": (
        UPDATES,
        *(f"protocol/{name}" for name in ("loss_sum", "sender_loss", "receiver_loss", "mutual_information", "drift")),
    ),
    "Negotiation": (
        UPDATES,
        *(f"protocol/{name}" for name in ("own_A", "own_B", "joint_optimality", "agreed", "turns")),
    ),
}  # fmt: skip


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "emergent_comm",
        __doc__,
        samples="runs of every trial; with --search: settings drawn for each bias and channel, default 100",
        smoke="two biases, or two rules of negotiation, two short iterations, one seed",
    )
    parser.set_defaults(num_samples=None)
    parser.add_argument("--env", default="SenderReceiver", choices=METRICS, help="default: SenderReceiver")
    add = partial(parser.add_argument, nargs="+", metavar="VALUE")
    add("--bias", type=float, default=list(map(float, BIASES)), help="axis: degrees, 0 to 180")
    add("--channel", default=list(ON_CIRCLE), choices=ON_CIRCLE, help=f"axis: {', '.join(ON_CIRCLE)}")
    add("--channels", default=list(CHANNELS), choices=CHANNELS, help=f"axis: {', '.join(CHANNELS)}")
    add("--termination", default=list(TERMINATION), choices=TERMINATION, help="axis: accept, match")
    add("--reward", default=["selfish", "prosocial"], choices=REWARDS, help=f"axis: {', '.join(REWARDS)}")
    parser.add_argument("--search", action="store_true", help="draw settings at random instead of the best")
    parser.add_argument("--search-seed", type=int, default=0, help="what the drawn settings follow from")
    args = parser.parse_args(argv)
    if args.search and args.env != "SenderReceiver":
        raise BadConfig("--search draws settings of SenderReceiver; leave out --env Negotiation")
    args.drawn = (args.num_samples or (2 if args.smoke else 100)) if args.search else 0
    args.num_samples = 1 if args.search or args.num_samples is None else args.num_samples
    if args.smoke:
        args.bias, args.channel = args.bias[:4:3], args.channel[:1]
        args.channels, args.termination, args.reward = (
            args.channels[:2],
            args.termination[:1],
            args.reward[:1],
        )
    return args


def fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of every trial."""
    own: dict[str, Any] = {"env": args.env, "num_env_runners": 0, "num_learners": 0}
    if args.env == "Negotiation":
        own |= {"encoder": "mlp", "updates_per_iteration": 20 if args.smoke else BATCHES}
    elif args.smoke:
        own["updates_per_iteration"] = 50
    return own | args.set


def stop(args: argparse.Namespace) -> dict[str, float]:
    """When a trial ends: after so many updates of fresh games, with PPO after as many steps as these games have."""
    config = config_class("EmergentComm")().update_from_dict(fixed(args))
    updates = (2 if args.smoke else (ROUNDS if args.env == "Negotiation" else EPOCHS)) * config.updates
    return {UPDATES: updates} if config.mode == "paper" else {STEPS: 2 * updates * config.games}


def trials(args: argparse.Namespace) -> Points:
    """Every combination of the axes, with every seed. Raises BadConfig where one cannot hold."""
    points = _rules(args) if args.env == "Negotiation" else _circles(args)
    return checked("EmergentComm", fixed(args), points, args)


def _rules(args: argparse.Namespace) -> Points:
    names = ("channels", "termination", "reward")
    every = itertools.product(*(getattr(args, name) for name in names))
    return [{"env_config": dict(zip(names, values, strict=True))} for values in every]


def _circles(args: argparse.Namespace) -> Points:
    random, found = np.random.default_rng(args.search_seed), []
    for channel, bias in itertools.product(args.channel, args.bias):
        settings, game = best(channel, bias)
        for drawn in [_draw(random) for _ in range(args.drawn)] or [{**settings, **_game_only(game)}]:
            vocabulary = drawn.pop("vocabulary")
            found.append({**_defaults(), **drawn, "env_config": {**game, "vocabulary": vocabulary}})
    return found


def _game_only(game: dict[str, Any]) -> dict[str, Any]:
    return {"vocabulary": game.get("vocabulary", VOCABULARIES[1])}


def _defaults() -> dict[str, Any]:
    defaults = config_class("EmergentComm")()
    names = ("receiver_hidden", "receiver_lr", "sender_hidden", "sender_lr", "sender_entropy_coeff")
    return {name: getattr(defaults, name) for name in names}


def _draw(random: np.random.Generator) -> dict[str, Any]:
    """One setting of the published search."""

    def log_uniform(low: float, high: float) -> float:
        return float(math.exp(random.uniform(math.log(low), math.log(high))))

    return {
        "receiver_lr": log_uniform(*RATES),
        "sender_lr": log_uniform(*RATES),
        "sender_entropy_coeff": log_uniform(*ENTROPIES),
        "receiver_hidden": int(random.integers(WIDTHS[0], WIDTHS[1] + 1)),
        "sender_hidden": int(random.integers(WIDTHS[0], WIDTHS[1] + 1)),
        "vocabulary": int(random.choice(VOCABULARIES)),
    }


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner: trials that stop at a number of environment steps, an interrupted sweep continued."""
    results = ROUNDS if args.env == "Negotiation" else EPOCHS
    return tuner(args, "EmergentComm", fixed(args), trials(args), stop(args), results)


def main(argv: list[str] | None = None) -> int:
    """Run the sweep, print its table, draw it, and print one JSON line."""
    args = arguments(argv)
    if args.env == "Negotiation":
        knobs = ["env_config/channels", "env_config/termination", "env_config/reward"]
    else:
        knobs = [
            "env_config/channel",
            "env_config/bias",
            *(["sender_lr", "receiver_lr"] if args.search else []),
        ]
    plan = {"fixed": fixed(args), "stop": stop(args), "trials": trials(args)}
    return run(args, plan, build, knobs=[*knobs, "seed"], metrics=METRICS[args.env])


if __name__ == "__main__":
    raise SystemExit(main())
