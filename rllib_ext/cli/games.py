"""``train`` and ``resume`` of the language games: in this process, without Ray's workers and without an environment."""

from __future__ import annotations

import contextlib
import importlib
import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_ext.cli.plain_runs import PlainLaunch, PlainSettings, chosen, read_values
from rllib_ext.cli.run_paths import new_run
from rllib_ext.errors import BadConfig
from rllib_ext.registry import trainable
from rllib_ext.runtime import checkpoint
from rllib_ext.runtime.knobs import Knob

PLAYED = {"PivotGame": "PivotTranslation", "LewisGame": "LewisDrift"}
OWNED = "run_folder"
FILES = ("data", "french_english", "english_german", "english", "pretrained_folder")


def knobs_of(name: str) -> dict[str, Knob]:
    """Every name that ``--set`` takes for a game."""
    knobs: Mapping[str, Knob] = trainable(name).knobs  # type: ignore[attr-defined]
    return {key: knob for key, knob in knobs.items() if key != OWNED}


def train(options: Namespace) -> int:
    """A new run of a game, or with ``--dry-run`` what it would be."""
    for flag in ("env", "env_set", "evaluate_every", "address"):
        if getattr(options, flag):
            raise BadConfig(
                f"--{flag.replace('_', '-')} is for algorithms; {options.algorithm} plays {PLAYED[options.algorithm]}, "
                "is evaluated every report_every updates, and takes its data with --set"
            )
    smoke = _smoke(options.algorithm) if options.smoke else {}
    values = _absolute(chosen(options, knobs_of(options.algorithm), smoke))
    settings = PlainSettings(options.algorithm, PLAYED[options.algorithm], values)
    folder = new_run(options.storage_path, settings.algorithm, settings.env, options.name)
    if options.dry_run:
        print(json.dumps({**settings.as_json(), "plan": {"folder": str(folder)}}, indent=1))
        return 0
    return GameLaunch(settings, folder, options).begin(make_model=False)


def resume(folder: Path, config: Mapping[str, Any], options: Namespace) -> int:
    """Go on with a game from its newest whole checkpoint; a finished one stays as it is."""
    name = config["algorithm"]
    settings = PlainSettings(name, PLAYED[name], read_values(folder, config, knobs_of(name)))
    launch = GameLaunch(settings, folder, options)
    newest = checkpoint.latest(folder / "checkpoints")
    if newest is not None:
        saved = checkpoint.load(newest).state["game"]
        done, total = sum(saved["updates"].values()), sum(updates for _, updates in saved["phases"])
        if done >= total:
            return launch.with_total(total).already_done(done)
    return launch.go_on(from_checkpoint=newest is not None)


def _smoke(name: str) -> dict[str, Any]:
    """What the game's sweep runs with ``--smoke``."""
    sweep = {"PivotGame": "pivot_game", "LewisGame": "lewis_game"}[name]
    return dict(importlib.import_module(f"tuned_configs.{sweep}").SMOKE)


def _absolute(values: dict[str, Any]) -> dict[str, Any]:
    """Local folders and files by their absolute paths, so that a resume from elsewhere finds them."""
    local = {name: Path(str(values[name])).expanduser() for name in FILES if values.get(name)}
    return values | {name: str(path.absolute()) for name, path in local.items() if path.exists()}


class GameLaunch(PlainLaunch):
    """One session of a game."""

    def _place(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def _made(self) -> Played:
        values = {name: self._settings.values[name] for name in knobs_of(self._settings.algorithm)}
        cls = trainable(self._settings.algorithm)
        return Played(cls(config={**values, OWNED: str(self._folder.absolute())}))


class Played:
    """A game as the run loop knows what it trains."""

    def __init__(self, game: Any) -> None:
        self._game = game
        self.journal = self
        self.train, self.write_checkpoint = game.train, game.write_checkpoint
        self.read_checkpoint = game.read_checkpoint

    @property
    def counters(self) -> dict[str, int]:
        return {"updates": sum(self._game.updates.values())}

    @property
    def total(self) -> int:
        """Updates of all phases, as far as is known: agents that are found pretrained need none."""
        return sum(phase.updates for phase in self._game.phases)

    def event(self, kind: str, detail: str) -> None:
        self._game.events.emit(kind, detail)

    def stop(self) -> None:
        self._game.stop()
        with contextlib.suppress(OSError):  # Tune's folder of the trial: empty, the run has its own
            Path(self._game.logdir).rmdir()
