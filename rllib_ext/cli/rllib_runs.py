"""``train`` and ``resume`` of RLlib algorithms that train no language model. What differs from one to the next is in a
subclass of `Runs`: `gymnasium_runs`, `multi_agent_runs`.

What the run loop calls an update, and so ``--checkpoint-every`` and ``--evaluate-every``, is one training iteration here.
"""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from rllib_ext.cli.assignments import assignments, json_values
from rllib_ext.cli.plain_runs import PlainLaunch, PlainSettings, chosen, read_values
from rllib_ext.cli.run_paths import new_run
from rllib_ext.cli.settings import hush_rllib
from rllib_ext.errors import BadConfig
from rllib_ext.registry import config_class
from rllib_ext.runtime.events import Events
from rllib_ext.runtime.history import scan
from rllib_ext.runtime.knobs import Knob
from rllib_ext.runtime.run_folder import RunFolder


class Runs(ABC):
    """One kind of algorithm.

    environment  of a smoke run that names none; alone: of every run, there is no other
    example      what ``--env`` takes, for a command without it
    ppo          the settings of RLlib's PPO that ``--set`` takes; run: those of the run
    smoke        what ``--smoke`` sets
    evaluations  in a run that does not say when
    """

    environment: ClassVar[str]
    example: ClassVar[str]
    ppo: ClassVar[Mapping[str, Knob]]
    run: ClassVar[Mapping[str, Knob]]
    smoke: ClassVar[Mapping[str, Any]]
    evaluations: ClassVar[int] = 10
    alone: ClassVar[bool] = False

    @abstractmethod
    def check_environment(self, name: str, env_config: Mapping[str, Any]) -> None:
        """Raises BadConfig or BadEnv where there is no such environment, before anything is started."""

    @abstractmethod
    def own(self) -> Any:
        """What a learner of this kind has beside modules and optimizers (`rllib_ext.runtime.rllib_state.Own`)."""

    def finish(self, config: Any, values: Mapping[str, Any]) -> None:  # noqa: B027  (most have nothing to add)
        """Settings of this kind that are no knobs of the algorithm."""

    def placed(self, settings: PlainSettings, folder: Path, options: Namespace) -> PlainSettings:
        """The settings of a new run, when its folder is known."""
        return settings

    def makes_data(self, settings: PlainSettings, folder: Path) -> bool:
        """Whether the run begins with data of its own making (``_make_model`` of the launch)."""
        return False

    def launch(self, settings: PlainSettings, folder: Path, options: Namespace) -> RLlibLaunch:
        """One session."""
        return RLlibLaunch(self, settings, folder, options)

    # ----- the verbs

    def train(self, options: Namespace) -> int:
        """A new run, or with ``--dry-run`` what it would be."""
        env = options.env or (self.environment if options.smoke or self.alone else None)
        if env is None:
            raise BadConfig(f"no environment: add --env with {self.example}")
        values = chosen(options, self.knobs_of(options.algorithm), self.smoke)
        values = _with_evaluations(values, options, self.evaluations)
        env_config = json_values(assignments(options.env_set, "--env-set"))
        settings = PlainSettings(options.algorithm, env, values, env_config)
        folder = new_run(options.storage_path, options.algorithm, env.replace("/", "-"), options.name)
        settings = self.placed(settings, folder, options)
        self.build(settings)
        if options.dry_run:
            print(json.dumps({**settings.as_json(), "plan": {"folder": str(folder)}}, indent=1))
            return 0
        return self.launch(settings, folder, options).begin(make_model=self.makes_data(settings, folder))

    def resume(self, folder: Path, config: Mapping[str, Any], options: Namespace) -> int:
        """Go on with a run from its newest whole checkpoint; a run that is finished stays as it is."""
        name = config["algorithm"]
        values = read_values(folder, config, self.knobs_of(name))
        settings = PlainSettings(name, config["env"], values, config["env_config"])
        saved = [item.manifest.step for item in scan(folder / "checkpoints") if item.manifest is not None]
        launch = self.launch(settings, folder, options).with_total(values["total_iterations"])
        if saved and saved[0] >= values["total_iterations"]:
            return launch.already_done(saved[0])
        return launch.go_on(from_checkpoint=bool(saved))

    # ----- settings

    def knobs_of(self, name: str) -> dict[str, Knob]:
        """Every name that ``--set`` takes: the algorithm's, PPO's, the run's."""
        return {**config_class(name).knobs, **self.ppo, **self.run}  # type: ignore[attr-defined]

    def build(self, settings: PlainSettings) -> Any:
        """The ``AlgorithmConfig``, validated."""
        hush_rllib()
        self.check_environment(settings.env, settings.env_config)
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
        config.learners(
            num_learners=value["num_learners"], num_gpus_per_learner=value["num_gpus_per_learner"]
        )
        config.debugging(seed=value["seed"], log_level="CRITICAL")
        config.evaluation(
            evaluation_interval=value["evaluation_interval"], evaluation_duration=value["evaluation_duration"]
        )
        self.finish(config, value)
        config.training(**{name: value[name] for name in (*own, *self.ppo)})
        try:
            config.validate()
        except ValueError as error:  # RLlib's own checks
            raise BadConfig(" ".join(str(error).split())) from error
        return config


def _with_evaluations(values: dict[str, Any], options: Namespace, count: int) -> dict[str, Any]:
    every = options.evaluate_every
    if every is not None and every < 0:
        raise BadConfig(f"--evaluate-every is {every}; it must be 0 (never) or a number of iterations")
    if every is None and (options.smoke or "evaluation_interval" in assignments(options.set, "--set")):
        return values
    if every is None:
        every = max(1, values["total_iterations"] // count)
    return values | {"evaluation_interval": every or None}


class RLlibLaunch(PlainLaunch):
    """One session of a run."""

    unit = "iteration"

    def __init__(self, runs: Runs, settings: PlainSettings, folder: Path, options: Namespace) -> None:
        super().__init__(settings, folder, options)
        self._runs = runs

    def _made(self) -> Driven:
        algorithm = self._runs.build(self._settings).build_algo()
        return Driven(algorithm, self._runs.own(), self._folder, self._settings.values["total_iterations"])


class Driven:
    """An RLlib algorithm as the run loop knows what it trains."""

    def __init__(self, algorithm: Any, own: Any, folder: Path, total: int) -> None:
        self._algorithm, self._own, self.total, self.journal = algorithm, own, total, self
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
        from rllib_ext.runtime import rllib_state

        path = rllib_state.save(self._algorithm, folder, self._own)
        self.event("checkpoint_saved", f"iteration {self._algorithm.iteration}")
        return path

    def read_checkpoint(self, folder: Path) -> None:
        from rllib_ext.runtime import rllib_state

        rllib_state.restore(self._algorithm, folder, self._own)

    def event(self, kind: str, detail: str) -> None:
        self._events.emit(kind, detail)

    def stop(self) -> None:
        self._algorithm.stop()
        with contextlib.suppress(OSError):  # Tune's folder of the trial: empty, the run has its own
            Path(self._algorithm.logdir).rmdir()
