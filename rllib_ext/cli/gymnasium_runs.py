"""``train`` and ``resume`` of RLlib algorithms on Gymnasium environments (ElasticResetPPO).

What the run loop calls an update, and so ``--checkpoint-every`` and ``--evaluate-every``, is one training iteration here.
"""

from __future__ import annotations

import contextlib
import json
import logging
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_ext.cli.assignments import assignments, json_values
from rllib_ext.cli.plain_runs import PlainLaunch, PlainSettings, chosen, read_values
from rllib_ext.cli.ppo_knobs import PPO, PPO_KNOBS, SMOKE
from rllib_ext.cli.run_paths import new_run
from rllib_ext.errors import BadConfig, BadEnv, unknown_name
from rllib_ext.registry import ENVIRONMENTS, config_class
from rllib_ext.runtime.events import Events
from rllib_ext.runtime.history import scan
from rllib_ext.runtime.knobs import Knob
from rllib_ext.runtime.run_folder import RunFolder

ENVIRONMENT = "CartPole-v1"  # of a smoke run that names none


def knobs_of(name: str) -> dict[str, Knob]:
    """Every name that ``--set`` takes: Elastic Reset's, PPO's, the run's."""
    return {**config_class(name).knobs, **PPO_KNOBS}  # type: ignore[attr-defined]


def train(options: Namespace) -> int:
    """A new run, or with ``--dry-run`` what it would be."""
    env = options.env or (ENVIRONMENT if options.smoke else None)
    if env is None:
        raise BadConfig("no environment: add --env with a Gymnasium id, for example --env CartPole-v1")
    values = _with_evaluations(chosen(options, knobs_of(options.algorithm), SMOKE), options)
    env_config = json_values(assignments(options.env_set, "--env-set"))
    settings = PlainSettings(options.algorithm, env, values, env_config)
    folder = new_run(options.storage_path, options.algorithm, env.replace("/", "-"), options.name)
    build(settings)
    if options.dry_run:
        print(json.dumps({**settings.as_json(), "plan": {"folder": str(folder)}}, indent=1))
        return 0
    return GymnasiumLaunch(settings, folder, options).begin(make_model=False)


def resume(folder: Path, config: Mapping[str, Any], options: Namespace) -> int:
    """Go on with a run from its newest whole checkpoint; a run that is finished stays as it is."""
    name = config["algorithm"]
    values = read_values(folder, config, knobs_of(name))
    settings = PlainSettings(name, config["env"], values, config["env_config"])
    saved = [item.manifest.step for item in scan(folder / "checkpoints") if item.manifest is not None]
    launch = GymnasiumLaunch(settings, folder, options).with_total(values["total_iterations"])
    if saved and saved[0] >= values["total_iterations"]:
        return launch.already_done(saved[0])
    return launch.go_on(from_checkpoint=bool(saved))


def build(settings: PlainSettings) -> Any:
    """The ``AlgorithmConfig``, validated."""
    for name in ("ray.rllib", "ray.tune"):  # what they report as errors comes as exceptions and events
        logging.getLogger(name).setLevel(logging.CRITICAL)
    check_environment(settings.env)
    value = settings.values
    own = config_class(settings.algorithm).knobs  # type: ignore[attr-defined]
    config = config_class(settings.algorithm)()
    config.environment(settings.env, env_config=settings.env_config)
    config.env_runners(
        num_env_runners=value["num_env_runners"],
        num_envs_per_env_runner=value["num_envs_per_env_runner"],
        num_cpus_per_env_runner=value["num_cpus_per_env_runner"],
        num_gpus_per_env_runner=value["num_gpus_per_env_runner"],
    )
    config.learners(num_learners=value["num_learners"], num_gpus_per_learner=value["num_gpus_per_learner"])
    config.rl_module(model_config={"fcnet_hiddens": _widths(value["hidden"])})
    config.debugging(seed=value["seed"], log_level="CRITICAL")
    config.evaluation(
        evaluation_interval=value["evaluation_interval"], evaluation_duration=value["evaluation_duration"]
    )
    config.training(**{name: value[name] for name in (*own, *PPO)})
    try:
        config.validate()
    except ValueError as error:  # RLlib's own checks
        raise BadConfig(" ".join(str(error).split())) from error
    return config


def check_environment(name: str) -> None:
    """Gymnasium knows the id; else the nearest one that it knows."""
    import gymnasium

    if name in ENVIRONMENTS:  # one for language models: the config refuses it and says what to use
        return
    try:
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        if name.partition(":")[0] not in gymnasium.registry:
            raise unknown_name("Gymnasium environment", name, list(gymnasium.registry)) from error
        raise BadEnv(str(error)) from error


def _widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",")]
    except ValueError:
        widths = []
    if not widths or min(widths) < 1:
        raise BadConfig(f"hidden is {text!r}; it must be widths with commas between, for example 64,64")
    return widths


def _with_evaluations(values: dict[str, Any], options: Namespace) -> dict[str, Any]:
    every = options.evaluate_every
    if every is not None and every < 0:
        raise BadConfig(f"--evaluate-every is {every}; it must be 0 (never) or a number of iterations")
    if every is None and (options.smoke or "evaluation_interval" in assignments(options.set, "--set")):
        return values
    if every is None:
        every = max(1, values["total_iterations"] // 10)
    return values | {"evaluation_interval": every or None}


class GymnasiumLaunch(PlainLaunch):
    """One session of a run."""

    unit = "iteration"

    def _made(self) -> Driven:
        algorithm = build(self._settings).build_algo()
        return Driven(algorithm, self._folder, self._settings.values["total_iterations"])


class Driven:
    """An RLlib algorithm as the run loop knows what it trains."""

    def __init__(self, algorithm: Any, folder: Path, total: int) -> None:
        self._algorithm, self.total, self.journal = algorithm, total, self
        self._events = Events(RunFolder(folder))

    @property
    def counters(self) -> dict[str, int]:
        return {"updates": self._algorithm.iteration}

    def train(self) -> dict[str, Any]:
        """One iteration, with the gradient steps of the whole run."""
        result = self._algorithm.train()
        steps = self._algorithm.on_learners(lambda learner, **_: learner.gradient_steps)[0]
        return {**result, "num_updates_lifetime": steps, "done": self._algorithm.iteration >= self.total}

    def write_checkpoint(self, folder: Path) -> Path:
        from rllib_ext.elastic_reset import persistence

        path = persistence.save(self._algorithm, folder)
        self.event("checkpoint_saved", f"iteration {self._algorithm.iteration}")
        return path

    def read_checkpoint(self, folder: Path) -> None:
        from rllib_ext.elastic_reset import persistence

        persistence.restore(self._algorithm, folder)

    def event(self, kind: str, detail: str) -> None:
        self._events.emit(kind, detail)

    def stop(self) -> None:
        self._algorithm.stop()
        with contextlib.suppress(OSError):  # Tune's folder of the trial: empty, the run has its own
            Path(self._algorithm.logdir).rmdir()
