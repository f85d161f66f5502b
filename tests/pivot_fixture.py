"""Games small enough for a test: a few rows, nets of eight units, a dozen updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rllib_ext.language_games.game import Game
from rllib_ext.language_games.lewis import LewisGame
from rllib_ext.language_games.pivot import PivotGame

PIVOT: dict[str, Any] = {
    "game_rows": 48,
    "pretrain_rows": 48,
    "eval_rows": 12,
    "embedding": 8,
    "hidden": 8,
    "lm_hidden": 8,
    "pretrain_updates": 2,
    "pretrain_tokens": 200,
    "pretrain_lr": 1e-2,
    "lm_updates": 2,
    "play_updates": 8,
    "play_tokens": 120,
    "lr": 1e-2,
    "max_message": 8,
    "report_every": 3,
    "sil_every": 4,
    "sil_updates": 2,
}
LEWIS: dict[str, Any] = {
    "hidden": 8,
    "pretrain_updates": 5,
    "play_updates": 12,
    "report_every": 5,
    "reset_every": 4,
    "ema_every": 1,
    "ema_decay": 0.7,
    "sil_every": 4,
    "sil_updates": 2,
    "lr": 1e-2,
}


def pivot(folder: Path, **more: Any) -> PivotGame:
    """A pivot game with its run folder below ``folder``."""
    return PivotGame(config={**PIVOT, "run_folder": str(folder / "run"), **more})


def lewis(folder: Path, **more: Any) -> LewisGame:
    """A Lewis game with its run folder below ``folder``."""
    return LewisGame(config={**LEWIS, "run_folder": str(folder / "run"), **more})


def finish(game: Game) -> list[dict[str, Any]]:
    """Train to the end; every report."""
    results = [game.train()]
    while not results[-1]["done"]:
        results.append(game.train())
    return results


def weights(game: Game) -> dict[str, torch.Tensor]:
    """A copy of every weight by module and name."""
    return {
        f"{part}.{name}": tensor.clone()
        for part, module in game.modules.items()
        for name, tensor in module.state_dict().items()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], part: str = "") -> bool:
    """Whether all tensors whose name begins with ``part`` are equal to the bit; there must be some."""
    names = [name for name in one if name.startswith(part)]
    if not names:
        raise AssertionError(f"no weights begin with {part!r}")
    return all(torch.equal(one[name], other[name]) for name in names)
