"""``train`` and ``resume`` of the supervised stages: the run loop of the algorithms, without Ray and without an
environment.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rllib_ext.cli import smoke
from rllib_ext.cli.launch import Launch
from rllib_ext.cli.plain_runs import chosen
from rllib_ext.cli.run_paths import new_run
from rllib_ext.cli.summary import left_behind
from rllib_ext.errors import BadConfig, BadData, unknown_name
from rllib_ext.registry import stage
from rllib_ext.runtime.history import scan
from rllib_ext.runtime.knobs import Knob
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.stages.data import data_name
from rllib_ext.stages.settings import checked
from rllib_ext.stages.stage import MODEL, completed

OWNED = "run_folder"


@dataclass(frozen=True)
class StageSettings:
    """Settings of one stage in the form that ``Launch`` knows; ``env`` is the short name of its data."""

    algorithm: str
    values: dict[str, Any]

    @property
    def env(self) -> str:
        return data_name(self.values["data"])

    @property
    def updates_per_round(self) -> int:
        return self.values["report_every"]

    def having(self, **values: Any) -> StageSettings:
        """A copy with other values."""
        return replace(self, values={**self.values, **values})

    def as_json(self) -> dict[str, Any]:
        """What ``config.json`` holds: the stage's name and every knob of it."""
        return {"algorithm": self.algorithm, **{name: self.values[name] for name in knobs_of(self.algorithm)}}


def knobs_of(name: str) -> dict[str, Knob]:
    """Every name that ``--set`` takes for a stage."""
    knobs: Mapping[str, Knob] = stage(name).knobs  # type: ignore[attr-defined]
    return {key: knob for key, knob in knobs.items() if key != OWNED}


def train(options: Namespace) -> int:
    """A new run of a stage, or with ``--dry-run`` what it would be."""
    for flag in ("env", "env_set", "evaluate_every", "address"):
        if getattr(options, flag):
            raise BadConfig(
                f"--{flag.replace('_', '-')} is for algorithms; {options.algorithm} learns from data: --set data=..."
            )
    settings, needs_model = _settings(options)
    folder = new_run(options.storage_path, options.algorithm, settings.env, options.name)
    if needs_model:
        settings = settings.having(model=str((folder / smoke.STAGE_START).absolute()))
    settings = StageSettings(settings.algorithm, checked(knobs_of(settings.algorithm), settings.values))
    if not needs_model:
        settings = _absolute(settings)
    if options.dry_run:
        print(json.dumps({**settings.as_json(), "plan": {"folder": str(folder)}}, indent=1))
        return 0
    return StageLaunch(settings, folder, options).begin(make_model=needs_model)


def resume(folder: Path, config: Mapping[str, Any], options: Namespace) -> int:
    """Go on with a stage from its newest whole checkpoint; a finished one stays as it is."""
    settings = read_stage_settings(folder, config)
    launch = StageLaunch(settings, folder, options)
    done = completed(folder)
    if done is not None:
        return launch.with_total(done["updates"]).already_done(done["updates"])
    return launch.go_on(from_checkpoint=bool(scan(folder / "checkpoints")))


def read_stage_settings(folder: Path, config: Mapping[str, Any]) -> StageSettings:
    """The settings in ``config.json``, every one of them checked again."""
    name = config["algorithm"]
    given = {key: value for key, value in config.items() if key not in ("algorithm", OWNED)}
    knobs = knobs_of(name)
    for key in given:
        if key not in knobs:
            raise BadConfig(f"{folder / 'config.json'}: {unknown_name('setting', key, knobs)}")
    return StageSettings(name, checked(knobs, given))


def export_stage(run: Path, to: Path) -> Path:
    """Copy a finished stage's model to a new folder; its path."""
    if completed(run) is None:
        raise BadData(f"{run} is not finished and has no model yet; go on with it: rllib-ext resume {run}")
    if to.exists():
        raise BadConfig(f"{to} exists; give a folder that does not exist yet")
    shutil.copytree(run / MODEL, to)
    return to


def _settings(options: Namespace) -> tuple[StageSettings, bool]:
    knobs = knobs_of(options.algorithm)
    values = chosen(options, knobs, smoke.stage_settings(knobs))
    if not values["model"] and not options.smoke:
        raise BadConfig("no model: add --set model=<hub name or folder of a causal LM>, or try --smoke")
    return StageSettings(options.algorithm, values), not values["model"]


def _absolute(settings: StageSettings) -> StageSettings:
    """Local folders and files by their absolute paths, so that a resume from elsewhere finds them."""
    names = ("model", "data", "eval_data", "reference_data")
    local = {name: Path(str(settings.values.get(name) or "")).expanduser() for name in names}
    found = {
        name: str(path.absolute())
        for name, path in local.items()
        if settings.values.get(name) and path.exists()
    }
    return settings.having(**found)


class StageLaunch(Launch):
    """One session of a stage."""

    def with_total(self, total: int) -> StageLaunch:
        self._settings = self._settings.having(total_updates=total)
        return self

    def _make_model(self) -> None:
        self._say(f"making a small model from the texts of {self._settings.env}")
        kind = stage(self._settings.algorithm).kind  # type: ignore[attr-defined]
        smoke.stage_model(kind, self._settings.values, self._folder)

    def _place(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _running(self) -> Iterator[Any]:
        values = {name: self._settings.values[name] for name in knobs_of(self._settings.algorithm)}
        trainable = stage(self._settings.algorithm)(config={**values, OWNED: str(self._folder.absolute())})
        total = trainable.total_updates
        every = values["checkpoint_every"] or max(1, total // 10)
        self._settings = self._settings.having(
            total_updates=total, checkpoint_every=every, evaluation_interval=None
        )
        try:
            yield trainable
        finally:
            trainable.stop()
            with contextlib.suppress(OSError):  # Tune's folder of the trial: empty, the run has its own
                Path(trainable.logdir).rmdir()

    def _restore(self, algorithm: Any, run: RunFolder) -> None:
        algorithm.read_checkpoint(run.checkpoints)
        algorithm.journal.event("run_resumed", f"from update {algorithm.counters['updates']}")
        self._say(f"resumed from update {algorithm.counters['updates']}")

    def _live(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext(None if self._options.quiet else _Lines(self._settings))

    def _summary(self, code: int, seconds: float) -> dict[str, Any]:
        done = completed(self._folder)
        return {
            "algorithm": self._settings.algorithm,
            "data": self._settings.env,
            "updates": done["updates"] if done else None,
            **(done["metrics"] if done else {}),
            "model": str(self._folder / MODEL) if done else None,
            **left_behind(self._folder, code, seconds),
        }


class _Lines:
    """A line on standard error for every iteration."""

    def __init__(self, settings: StageSettings) -> None:
        self._settings = settings

    def update(self, result: Mapping[str, Any]) -> None:
        figures, total = result["stage"], self._settings.values["total_updates"]
        loss = "" if figures["loss"] is None else f"  loss {figures['loss']:.4f}"
        speed = f"  {figures['tokens_per_s']:,.0f} tokens/s"
        print(
            f"rllib-ext: update {result['num_updates_lifetime']} of {total}{loss}{speed}",
            file=sys.stderr,
            flush=True,
        )
