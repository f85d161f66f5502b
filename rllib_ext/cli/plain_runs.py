"""Runs that train no language model: language games, and RLlib algorithms on Gymnasium environments.

They go through the run loop of every other run. What is trained is wrapped so that it has what the loop asks for
(``train``, ``counters["updates"]``, ``journal``, ``write_checkpoint``), and ``config.json`` holds names and plain values
only, read back through the tables of knobs.
"""

from __future__ import annotations

import contextlib
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rllib_ext.analysis.plain_report import figures_of
from rllib_ext.cli.assignments import assignments
from rllib_ext.cli.launch import Launch
from rllib_ext.cli.summary import left_behind
from rllib_ext.errors import BadConfig, BadData, unknown_name
from rllib_ext.runtime.knobs import Knob
from rllib_ext.runtime.run_folder import RunFolder, read_jsonl

NAMES = ("algorithm", "env", "env_config")


@dataclass(frozen=True)
class PlainSettings:
    """Settings in the form that ``Launch`` knows."""

    algorithm: str
    env: str
    values: dict[str, Any]
    env_config: dict[str, Any] = field(default_factory=dict)

    def having(self, **values: Any) -> PlainSettings:
        """A copy with other values."""
        return replace(self, values={**self.values, **values})

    def as_json(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        names = {"algorithm": self.algorithm, "env": self.env, "env_config": self.env_config}
        return {**names, **self.values}


def chosen(options: Namespace, knobs: Mapping[str, Knob], smoke: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob's value: defaults < smoke < ``--set`` and the flags that are knobs too."""
    pairs = assignments(options.set, "--set")
    for name in pairs:
        if name not in knobs:
            raise unknown_name("setting", name, knobs)
    given = {name: knobs[name].parse(name, text) for name, text in pairs.items()}
    for name in ("seed", "checkpoint_every"):
        value = getattr(options, name)
        if value is not None and name in given:
            raise BadConfig(f"{name} is given twice, as --{name.replace('_', '-')} and in --set; leave one")
        if value is not None:
            given[name] = knobs[name].check(name, value)
    defaults = {name: knob.default for name, knob in knobs.items()}
    return {**defaults, **(smoke if options.smoke else {}), **given}


def read_values(folder: Path, config: Any, knobs: Mapping[str, Knob]) -> dict[str, Any]:
    """The values in ``config.json``, every one of them checked again; knobs that it lacks have their defaults."""
    where = folder / "config.json"
    if not isinstance(config.get("env"), str) or not isinstance(config.get("env_config"), dict):
        raise BadData(f"{where}: env must be a name and env_config an object. Restore it")
    given = {name: value for name, value in config.items() if name not in NAMES}
    for name in given:
        if name not in knobs:
            raise BadConfig(f"{where}: {unknown_name('setting', name, knobs)}")
    checked = {name: knobs[name].check(name, value) for name, value in given.items()}
    return {name: knob.default for name, knob in knobs.items()} | checked


class PlainLaunch(Launch):
    """One session. Subclasses wrap what is trained in ``_made``: it is restored, and stopped at the end."""

    unit = "update"

    def with_total(self, total: int) -> PlainLaunch:
        self._settings = self._settings.having(total_updates=total)
        return self

    def _made(self) -> Any:
        """What is trained, with ``total``: where the run ends, in ``unit``s."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _running(self) -> Iterator[Any]:
        made = self._made()
        every = self._settings.values["checkpoint_every"] or max(1, made.total // 10)
        self._settings = self._settings.having(
            total_updates=made.total, checkpoint_every=every, evaluation_interval=None
        )
        try:
            yield made
        finally:
            made.stop()

    def _restore(self, algorithm: Any, run: RunFolder) -> None:
        algorithm.read_checkpoint(run.checkpoints)
        self.with_total(algorithm.total)
        at = f"from {self.unit} {algorithm.counters['updates']}"
        algorithm.journal.event("run_resumed", at)
        self._say(f"resumed {at}")

    def _live(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext(None if self._options.quiet else Lines(self.unit))

    def _summary(self, code: int, seconds: float) -> dict[str, Any]:
        rows = read_jsonl(self._folder / "result.json")
        return {
            "algorithm": self._settings.algorithm,
            "env": self._settings.env,
            "updates": rows[-1]["num_updates_lifetime"] if rows else None,
            **figures_of(rows),
            **left_behind(self._folder, code, seconds),
        }


class Lines:
    """A line on standard error for every iteration."""

    def __init__(self, unit: str) -> None:
        self._unit = unit

    def update(self, result: Mapping[str, Any]) -> None:
        phase = f" ({result['phase']})" if "phase" in result else ""
        at = result["num_updates_lifetime" if self._unit == "update" else "training_iteration"]
        figures = "  ".join(
            f"{'evaluated ' * name.startswith('evaluation/')}{name.rpartition('/')[2]} {value:.4g}"
            for name, value in figures_of([result]).items()
        )
        print(f"rllib-ext: {self._unit} {at}{phase}  {figures}", file=sys.stderr, flush=True)
