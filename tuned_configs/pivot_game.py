"""PivotGame: task against drift of REINFORCE, S2P, SIL and Elastic Reset on French to English to German.

Every method plays the same number of updates from the same pretrained agents of its seed, which are made once and kept in
``<storage path>/<name>-pretrained``. Prints BLEU-De (the task), BLEU-En and the messages' NLL under a language model of
English (the drift) for each method, then one JSON line. Own knobs (``--num-samples``): entropy weight of REINFORCE, alpha
of S2P, k1 of SIL, P of Elastic Reset and its ablations.

Source: Lu et al. 2020 (arXiv 2003.12694) for game and settings; Elastic Reset (arXiv 2312.07551), whose period and decay
on this game are not published. With ``--set '{"data": ..., "french_english": ..., "english_german": ...}'`` on real text.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ray.tune import Tuner

from rllib_ext.language_games.pivot.knobs import METHODS, PIVOT
from tuned_configs import _language_games as games

PLAYED = ("reinforce", "s2p", "sil", "elastic_reset")
COLUMNS = {
    "bleu_de": "game/bleu_de",
    "bleu_en": "drift/bleu_en",
    "nll": "drift/nll",
    "sender_nll": "drift/sender_nll",
}

# Some minutes for the four methods: agents of 64 units, one seed, some hundred updates at rates that suit them.
SMOKE: dict[str, Any] = {
    "embedding": 64,
    "hidden": 64,
    "lm_hidden": 64,
    "pretrain_rows": 8192,
    "pretrain_updates": 450,
    "pretrain_tokens": 500,
    "pretrain_lr": 6e-3,
    "pretrain_lr_end": 6e-4,
    "pretrain_lr_updates": 450,
    "sender_dropout": 0.1,
    "receiver_dropout": 0.1,
    "lm_updates": 300,
    "lm_lr": 5e-3,
    "play_updates": 240,
    "play_tokens": 512,
    "lr": 1e-3,
    "grad_clip": 1.0,
    "max_message": 20,
    "report_every": 60,
    "sil_updates": 20,
    "sil_lr": 1e-3,
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    return games.parser("pivot_game", __doc__, METHODS, PLAYED).parse_args(argv)


def fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of every trial."""
    kept = Path(args.storage_path).expanduser().absolute() / f"{args.name}-pretrained"
    return {"pretrained_folder": str(kept), **(SMOKE if args.smoke else {}), **args.set}


def trials(args: argparse.Namespace) -> games.Points:
    """Methods, own knobs and seeds. Periods are parts of the run, so that every one fits into it."""
    settings = fixed(args)
    updates = settings.get("play_updates", PIVOT["play_updates"].default)
    parts = [max(1, updates // part) for part in (4, 3, 6, 8, 2)]
    own = {
        "reinforce": ("entropy_weight", (1e-3, 1e-2, 1e-1, 1e-4, 0.0)),
        "s2p": ("s2p_weight", (1.0, 0.3, 3.0, 0.1, 10.0)),
        "sil": ("sil_every", parts if args.smoke else (4000, *parts)),
        "elastic_reset": ("reset_every", parts),
    }
    return games.points(args, own)


def build(args: argparse.Namespace) -> Tuner:
    """The Tuner over the trials."""
    return games.build_tuner(args, "PivotGame", fixed(args), trials(args))


def main(argv: list[str] | None = None) -> int:
    """Run the sweep and print its table and its JSON line."""
    args = arguments(argv)
    return games.run(args, {"fixed": fixed(args), "trials": trials(args)}, build, COLUMNS)


if __name__ == "__main__":
    raise SystemExit(main())
