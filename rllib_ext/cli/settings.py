"""The resolved settings of a run: from the command line, to ``config.json``, to an ``AlgorithmConfig``.

``config.json`` holds names and plain values and nothing else; a run is rebuilt from it through the same
tables that the command line is read with. No class, path of a class or pickle is in it, so one that comes
from elsewhere can set values within their ranges and no more. Precedence: defaults < smoke < flags.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rllib_ext.cli.run_knobs import RUN_KNOBS
from rllib_ext.errors import BadConfig, BadData, unknown_name
from rllib_ext.registry import ENVIRONMENTS, KINDS, STAGES, TRAINABLES, config_class, environment
from rllib_ext.runtime.knobs import Knob

NAMES = ("algorithm", "env", "env_config")
OWNED = "run_folder"  # the command line decides it
# Kind of the registry -> the module of its ``train`` and ``resume``, with ``RUNS``.
RLLIB_RUNS = {
    "gymnasium": "rllib_ext.cli.gymnasium_runs",
    "multi-agent": "rllib_ext.cli.multi_agent_runs",
    "competing": "rllib_ext.cli.competing_runs",
    "atari": "rllib_ext.cli.atari_runs",
    "frames": "rllib_ext.cli.pretraining_runs",
    "triples": "rllib_ext.cli.commonsense_runs",
}


@dataclass(frozen=True)
class RunSettings:
    """values: every knob of the algorithm and every run knob, by name."""

    algorithm: str
    env: str
    env_config: dict[str, Any]
    values: dict[str, Any]

    @property
    def updates_per_round(self) -> int:
        return self.values["minibatches_per_generation"] * self.values["updates_per_minibatch"]

    def having(self, **values: Any) -> RunSettings:
        """A copy with other values."""
        return replace(self, values={**self.values, **values})

    def as_json(self) -> dict[str, Any]:
        """What ``config.json`` holds: flat, so that a report reads ``mode`` or ``lr`` directly."""
        names = {"algorithm": self.algorithm, "env": self.env, "env_config": self.env_config}
        return {**names, **self.values}

    def build(self, run_folder: Path) -> Any:
        """The ``AlgorithmConfig``, validated."""
        hush_rllib()
        value = self.values
        knobs = {name: value[name] for name in knobs_of(self.algorithm) if name not in RUN_KNOBS}
        config = config_class(self.algorithm)()
        config.environment(self.env, env_config=self.env_config)
        config.env_runners(
            num_env_runners=value["num_env_runners"],
            num_cpus_per_env_runner=value["num_cpus_per_env_runner"],
            num_gpus_per_env_runner=value["num_gpus_per_env_runner"],
        )
        config.learners(
            num_learners=value["num_learners"], num_gpus_per_learner=value["num_gpus_per_learner"]
        )
        config.debugging(seed=value["seed"], log_level="CRITICAL")
        config.evaluation(evaluation_interval=value["evaluation_interval"])
        config.training(**knobs, run_folder=str(run_folder))
        config.validate()
        return config


def hush_rllib() -> None:
    """What RLlib and Tune report as errors comes as exceptions and events."""
    for name in ("ray.rllib", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def is_stage(config: Any) -> bool:
    """Whether a ``config.json`` is that of a supervised stage."""
    return kind_of(config) == "stage"


def kind_of(config: Any) -> str:
    """Of a ``config.json``: "stage", "game", one of the registry's `KINDS`, or "language model"."""
    name = config.get("algorithm") if isinstance(config, dict) else None
    tables = {"stage": STAGES, "game": TRAINABLES, **KINDS}
    found = [kind for kind, table in tables.items() if isinstance(name, str) and name in table]
    return found[0] if found else "language model"


def refuse_without_model(run: Path, config: Any) -> None:
    """What evaluates or exports language models has nothing to do with runs that have none."""
    if kind_of(config) in ("game", *KINDS):
        raise BadConfig(
            f"{run} trains no language model. Its figures are in {run / 'result.json'} (rllib-ext plot {run} shows "
            f"them), its weights in the safetensors files of {run / 'checkpoints'}"
        )


def knobs_of(algorithm: str) -> dict[str, Knob]:
    """Every name that ``--set`` takes for an algorithm."""
    knobs: Mapping[str, Knob] = config_class(algorithm).knobs  # type: ignore[attr-defined]
    return {**{name: knob for name, knob in knobs.items() if name != OWNED}, **RUN_KNOBS}


def parsed(algorithm: str, pairs: Mapping[str, str]) -> dict[str, Any]:
    """The values that ``--set`` words mean; an unknown name is answered with the nearest right one."""
    knobs = knobs_of(algorithm)
    for name in pairs:
        if name not in knobs:
            raise unknown_name("setting", name, knobs)
    return {name: knobs[name].parse(name, text) for name, text in pairs.items()}


def resolve(
    algorithm: str, env: str, env_config: Mapping[str, Any], chosen: Mapping[str, Any]
) -> RunSettings:
    """All settings of a run: the defaults, and over them what was ``chosen``."""
    check_environment(env, env_config)
    defaults = {name: knob.default for name, knob in knobs_of(algorithm).items()}
    settings = RunSettings(algorithm, env, dict(env_config), {**defaults, **chosen})
    if settings.values["checkpoint_every"] is None:
        settings = settings.having(checkpoint_every=max(1, settings.values["total_updates"] // 10))
    return settings


def rounds_between(updates: int, settings: RunSettings) -> int:
    """Rounds that come closest to ``updates``, at least one: evaluations and saves happen between rounds."""
    return max(1, round(updates / settings.updates_per_round))


def check_environment(env: str, env_config: Mapping[str, Any]) -> None:
    """The environment is known and takes these arguments, before anything expensive is started."""
    parameters = inspect.signature(environment(env)).parameters
    for key in env_config:
        if key not in parameters:
            raise unknown_name(f"argument of {env}", key, parameters)


def read_settings(folder: Path, config: Any) -> RunSettings:
    """The settings in ``config.json``, every one of them checked again.

    Knobs that the file lacks (it is from an older version) have their defaults.
    """
    where = folder / "config.json"
    if not isinstance(config, dict) or any(name not in config for name in NAMES):
        raise BadData(f"{where} is not the configuration of a run: it lacks {' or '.join(NAMES)}. Restore it")
    algorithm, env, env_config = (config[name] for name in NAMES)
    if not isinstance(algorithm, str) or not isinstance(env, str) or not isinstance(env_config, dict):
        raise BadData(f"{where}: algorithm and env must be names, env_config an object. Restore it")
    if env not in ENVIRONMENTS:
        raise unknown_name("environment", env, ENVIRONMENTS)
    knobs = knobs_of(algorithm)
    given = {name: value for name, value in config.items() if name not in NAMES}
    for name in given:
        if name not in knobs:
            raise BadConfig(f"{where}: {unknown_name('setting', name, knobs)}")
    return resolve(
        algorithm, env, env_config, {name: knobs[name].check(name, value) for name, value in given.items()}
    )
