"""LewisGame: task accuracy against language accuracy of a plain speaker, S2P, SIL and Elastic Reset.

Five properties with five types, 10 labelled and 30 played objects; the rest is held out. Drift needs tens of thousands of
updates here: a run of a few thousand does not tell the methods apart, so ``--smoke`` shows that the path runs, and
nothing else. Own knobs (``--num-samples``): temperature of the plain speaker, alpha of S2P, k1 of SIL, P of the resets.

Source: Lu et al. 2020 (arXiv 2003.12694); Elastic Reset (arXiv 2312.07551) was developed on this game.
"""

from __future__ import annotations

import argparse
from typing import Any

from ray.tune import Tuner

from rllib_ext.language_games.lewis.knobs import METHODS
from tuned_configs import _language_games as games

PLAYED = ("plain", "s2p", "sil", "elastic_reset")
COLUMNS = {
    "task_accuracy": "game/task_accuracy",
    "speaker_accuracy": "drift/speaker_accuracy",
    "listener_accuracy": "game/listener_accuracy",
}
SMOKE: dict[str, Any] = {
    "lr": 1e-3,
    "pretrain_updates": 200,
    "play_updates": 1000,
    "report_every": 250,
    "reset_every": 250,
    "ema_every": 10,
    "ema_decay": 0.95,
    "sil_every": 250,
    "sil_updates": 50,
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    return games.parser("lewis_game", __doc__, METHODS, PLAYED).parse_args(argv)


def fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of every trial."""
    return {**(SMOKE if args.smoke else {}), **args.set}


def trials(args: argparse.Namespace) -> games.Points:
    """Methods, own knobs and seeds."""
    own = {
        "plain": ("temperature", (10.0, 1.0, 3.0)),
        "s2p": ("s2p_weight", (1.0, 0.3, 3.0, 0.1, 10.0)),
        "sil": ("sil_every", (250,) if args.smoke else (1000, 2000, 500, 4000)),
        "elastic_reset": ("reset_every", (250,) if args.smoke else (2000, 1000, 5000, 3000)),
    }
    return games.points(args, own)


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner over the trials."""
    return games.build_tuner(args, "LewisGame", fixed(args), trials(args))


def main(argv: list[str] | None = None) -> int:
    """Run the sweep and print its table and its JSON line."""
    args = arguments(argv)
    return games.run(args, {"fixed": fixed(args), "trials": trials(args)}, build, COLUMNS)


if __name__ == "__main__":
    raise SystemExit(main())
