"""What a game's checkpoint holds, and how a game takes it back.

Tensors: modules, optimizers, average and initial weights of Elastic Reset. JSON: optimizers' trees, counts, phases
and what a game adds. No random state: every draw is a function of seed, phase and update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.functional.elastic import Elastic
from rllib_ext.language_games.stores import load_stores, stores_of
from rllib_ext.runtime.checkpoint import Checkpoint

if TYPE_CHECKING:
    from rllib_ext.language_games.game import Game


def checkpoint_of(game: Game) -> dict[str, Any]:
    """``tensors`` and ``state`` for ``checkpoint.save``."""
    tensors, state = stores_of(game.modules, game.optimizers)
    elastic = game.elastic.state_dict()
    tensors |= {f"elastic_{name}": elastic[name] for name in ("ema", "init") if elastic[name]}
    state["game"] = {
        "name": type(game).__name__,
        "digest": game.digest,
        "phases": [[phase.name, phase.updates] for phase in game.phases],
        "updates": game.updates,
        "started": game.started,
        "generations": game.generations,
        "iteration": game.iteration,
        "elastic": elastic["counts"],
        "extra": game.extra_state(),
    }
    return {"tensors": tensors, "state": state}


def restore_checkpoint(game: Game, loaded: Checkpoint, where: str) -> None:
    """Weights, optimizers, average and counters; the caller takes phases and counts. ``where`` is for messages."""
    saved = loaded.state["game"]
    for name, now in (("name", type(game).__name__), ("digest", game.digest)):
        if saved[name] != now:
            raise CheckpointCorrupt(
                f"{where} was written by a game with {name} {saved[name]!r}, this one has {now!r}: other data or "
                "another game. Restore it with what it was begun with, or begin anew in another folder"
            )
    load_stores(game.modules, game.optimizers, loaded.tensors, loaded.state)
    game.started, game.generations = bool(saved["started"]), int(saved["generations"])
    game.restore_extra(saved["extra"])
    game.elastic = Elastic(game.elastic.settings, {})
    if not game.started:
        return
    game.elastic = game.new_elastic()
    kept = game.elastic.settings.keeps_average
    stores = {name: loaded.tensors.get(f"elastic_{name}", {}) if kept else {} for name in ("ema", "init")}
    if kept and not stores["init"]:
        raise CheckpointCorrupt(f"{where} holds no average; it was written by another method.")
    game.elastic.load_state_dict({**stores, "critic_init": {}, "counts": saved["elastic"]})
