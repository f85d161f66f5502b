"""Atari in 100,000 steps: SGIRainbow from scratch, pretrained or frozen, SR-SPR and BBF's options, game by game.

Every agent plays every game with every seed, is evaluated once, at the end, on 100 games, and its score is the row. All
26 games of the benchmark as one command, on a cluster with --address:

    rllib-ext sweep sgi_finetune --games all --agents scratch pretrained --pretrained '/data/sgi/{game}' --seeds 10

agent        what it is
scratch      Rainbow with SPR, the encoder drawn at random, one learning rate
pretrained   the encoder, first layers, dynamics and predictor of SGIPretrain; rates 1e-6, 3e-5, 1e-4 (SGI)
frozen       the same, the encoder left as it is
der          data-efficient Rainbow: no SPR, no augmentation, one update a step
sr_spr       8 updates a step, resets of the head every 40,000 updates, a target that follows by 0.005, no noise
bbf          what BBF is by options: 2 updates a step, resets, n from 10 to 3 and gamma from 0.97 to 0.997, weight decay.
             Not its encoder (four times as wide an IMPALA network), nor acting with the target

Sources: SGI (arXiv 2106.04799) and its released settings; the released settings of BBF (arXiv 2305.19452) for der, sr_spr
and bbf. ``{game}`` in --pretrained is replaced by each game's name.
"""

from __future__ import annotations

import argparse
from typing import Any

from ray.tune import Tuner

from envs.atari_games import NAMES, find_game
from rllib_ext.errors import BadConfig
from rllib_ext.registry import config_class
from tuned_configs import _flags
from tuned_configs._algorithm_sweep import checked, run, tuner
from tuned_configs._points import Points

STEPS = "num_env_steps_sampled_lifetime"
RESETS = {"reset_every": 40_000, "target_tau": 0.005, "noisy": False}
AGENTS: dict[str, dict[str, Any]] = {
    "scratch": {},
    "pretrained": {},
    "frozen": {"freeze_encoder": True},
    "der": {
        "encoder": "S", "spr_weight": 0.0, "augmentation": False, "updates_per_step": 1, "learning_starts": 1600,
        "epsilon": 0.01,
    },
    "sr_spr": {"encoder": "S", "updates_per_step": 8, "shrink": 0.8, "perturb": 0.2, **RESETS},
    "bbf": {
        "encoder": "L", "hidden": 2048, "updates_per_step": 2, "shrink": 0.5, "perturb": 0.5, "weight_decay": 0.1,
        "n_step_last": 3, "gamma": 0.97, "gamma_last": 0.997, "anneal_updates": 10_000, **RESETS,
    },
}  # fmt: skip
BEGIN_PRETRAINED = ("pretrained", "frozen")
SMOKE_STEPS = 200
SMOKE: dict[str, Any] = {
    "encoder": "S", "hidden": 32, "steps_per_iteration": 50, "learning_starts": 100, "updates_per_step": 1,
    "train_batch_size_per_learner": 8, "replay_capacity": 2000, "evaluation_duration": 2,
}  # fmt: skip
METRICS = (
    STEPS,
    "evaluation/env_runners/episode_return_mean",
    "env_runners/episode_return_mean",
    "evaluation/env_runners/episode_len_mean",
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags that every sweep has, and this one's own."""
    parser = _flags.parser(
        "sgi_finetune",
        __doc__,
        samples="runs of every trial",
        smoke=f"scratch on the first game, {SMOKE_STEPS} steps, one seed",
    )
    add = parser.add_argument
    add(
        "--games",
        nargs="+",
        default=["Pong"],
        metavar="GAME",
        help="axis: names, or 'all' for the 26; default: Pong",
    )
    add("--agents", nargs="+", default=["scratch"], choices=AGENTS, help=f"axis: {', '.join(AGENTS)}")
    add(
        "--pretrained",
        default=None,
        metavar="FOLDER",
        help="of SGIPretrain; {game} is replaced by the game's name",
    )
    add(
        "--encoder",
        nargs="+",
        default=None,
        metavar="SIZE",
        help="axis, where nothing is pretrained: S, S-BN, M, L",
    )
    add("--steps", type=int, default=None, help="agent steps of a trial; default: 100000")
    args = parser.parse_args(argv)
    names = NAMES if args.games == ["all"] else [find_game(name).name for name in args.games]
    args.games = names[:1] if args.smoke else list(names)
    args.steps = args.steps or (SMOKE_STEPS if args.smoke else 100_000)
    if args.steps < 1:
        raise BadConfig(f"--steps is {args.steps}; it must be 1 or more")
    return args


def fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of every trial: one evaluation, after the last step."""
    own = {"num_env_runners": 0, **(SMOKE if args.smoke else {}), **args.set}
    config = config_class("SGIRainbow")().update_from_dict(own)
    return {"evaluation_interval": -(-args.steps // config.steps_per_iteration), **own}


def trials(args: argparse.Namespace) -> Points:
    """Every game, agent and seed. Raises BadConfig where one cannot hold, before any is begun."""
    defaults = config_class("SGIRainbow")()
    names = varied(args)
    points = []
    for game in args.games:
        for agent in args.agents:
            for size in _sizes(args, agent):
                given = {**AGENTS[agent], "pretrained": _folder(args, agent, game)}
                given |= {"encoder": size} if size else {}
                chosen = {name: given.get(name, getattr(defaults, name)) for name in names}
                points.append({"env": f"Atari100k/{game}", **chosen})
    return checked("SGIRainbow", fixed(args), points, args)


def varied(args: argparse.Namespace) -> list[str]:
    """The settings in which these agents may differ; what --set or --smoke says holds for all of them."""
    every = {name for agent in args.agents for name in (*AGENTS[agent], "pretrained", "encoder")}
    return sorted(every - set(fixed(args)))


def _sizes(args: argparse.Namespace, agent: str) -> list[str | None]:
    return list(args.encoder) if args.encoder and agent not in BEGIN_PRETRAINED else [None]


def _folder(args: argparse.Namespace, agent: str, game: str) -> str | None:
    if agent not in BEGIN_PRETRAINED:
        return None
    if args.pretrained is None:
        raise BadConfig(f"the agent {agent!r} begins with a pretrained folder: add --pretrained FOLDER")
    return args.pretrained.replace("{game}", game)


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner: trials that stop at a number of agent steps, an interrupted sweep continued."""
    own = fixed(args)
    return tuner(args, "SGIRainbow", own, trials(args), {STEPS: args.steps}, own["evaluation_interval"])


def main(argv: list[str] | None = None) -> int:
    """Run the sweep, print its table, draw it, and print one JSON line."""
    args = arguments(argv)
    plan = {"fixed": fixed(args), "stop": {STEPS: args.steps}, "trials": trials(args)}
    return run(args, plan, build, knobs=["env", *varied(args), "seed"], metrics=METRICS)


if __name__ == "__main__":
    raise SystemExit(main())
