"""``train`` and ``resume`` of SQOOP, which learns from scenes that are drawn with their answers and plays nothing.

Arguments of the generator beside its preset are ``--env-set``. Every checkpoint leaves the model in the run folder,
``<run>/trained``: its last weights and those of the best examination.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_ext.cli.plain_runs import PlainSettings
from rllib_ext.cli.ppo_knobs import PPO, RUN
from rllib_ext.cli.rllib_runs import Driven, RLlibLaunch, Runs
from rllib_ext.cli.run_knobs import RUN_KNOBS
from rllib_ext.cli.settings import hush_rllib
from rllib_ext.errors import unknown_name
from rllib_ext.registry import config_class
from rllib_ext.runtime.knobs import Knob

TRAINED = "trained"
NEVER = 10**9
EVALUATION = "evaluate_every"  # of the config; here it is --evaluate-every, evaluation_interval
RLLIB = {
    "lr": Knob(
        None, float, "Learning rate of Adam; None: the recipe's, 1e-3 for mini.", 1e-12, 1, optional=True
    ),
    "train_batch_size_per_learner": Knob(
        None, int, "Scenes of an update; None: the recipe's, 64 for mini.", 2, 10**6, optional=True
    ),
    "grad_clip": PPO["grad_clip"],
}
SCENE_RUN = {
    **RUN_KNOBS,
    "num_env_runners": Knob(0, int, "Nothing is played.", 0, 0),
    "num_learners": Knob(0, int, "0: this process learns; 1: a learner in a process of its own.", 0, 1),
    **{name: RUN[name] for name in ("evaluation_interval", "checkpoint_every")},
    "total_iterations": Knob(
        40, int, "Iterations of the run. 40 of 100 updates are the recipe of mini; those of paper are 500 to 5,000.",
        1, 10**9,
    ),
}  # fmt: skip
SMOKE = {
    "total_iterations": 4,
    "updates_per_iteration": 20,
    "train_scenes": 2048,
    "eval_scenes": 256,
    "evaluation_interval": 2,
}


class SceneRuns(Runs):
    """SQOOP."""

    environment, example, alone = "SQOOP", "SQOOP, and there is no other", True
    ppo, run, smoke = RLLIB, SCENE_RUN, SMOKE

    def check_environment(self, name: str, env_config: Mapping[str, Any]) -> None:
        if name != self.environment:
            raise unknown_name("environment of SQOOP", name, [self.environment])

    def own(self) -> Any:
        from rllib_ext.sqoop.persistence import OWN

        return OWN

    def knobs_of(self, name: str) -> dict[str, Knob]:
        """As everywhere; when to examine is said by --evaluate-every alone."""
        return {key: knob for key, knob in super().knobs_of(name).items() if key != EVALUATION}

    def launch(self, settings: PlainSettings, folder: Path, options: Namespace) -> SceneLaunch:
        return SceneLaunch(self, settings, folder, options)

    def build(self, settings: PlainSettings) -> Any:
        """The ``AlgorithmConfig``, validated."""
        hush_rllib()
        self.check_environment(settings.env, settings.env_config)
        value = settings.values
        config = config_class(settings.algorithm)()
        config.environment(settings.env, env_config=settings.env_config)
        config.learners(
            num_learners=value["num_learners"], num_gpus_per_learner=value["num_gpus_per_learner"]
        )
        config.debugging(seed=value["seed"], log_level="CRITICAL")
        own = config_class(settings.algorithm).knobs  # type: ignore[attr-defined]
        config.training(**{name: value[name] for name in (*own, *self.ppo) if name != EVALUATION})
        config.training(**{EVALUATION: value["evaluation_interval"] or NEVER})
        config.validate()
        return config


class SceneLaunch(RLlibLaunch):
    """One session."""

    def _made(self) -> DrivenScenes:
        algorithm = self._runs.build(self._settings).build_algo()
        total = self._settings.values["total_iterations"]
        return DrivenScenes(algorithm, self._runs.own(), self._folder, total)

    def _summary(self, code: int, seconds: float) -> dict[str, Any]:
        made = self._folder / TRAINED
        return {**super()._summary(code, seconds), TRAINED: str(made) if made.is_dir() else None}


class DrivenScenes(Driven):
    """SQOOP as the run loop knows what it trains."""

    def __init__(self, algorithm: Any, own: Any, folder: Path, total: int) -> None:
        super().__init__(algorithm, own, folder, total)
        self._trained = folder / TRAINED

    def train(self) -> dict[str, Any]:
        result = super().train()
        before = result["num_updates_lifetime"] - self._algorithm.config.updates_per_iteration
        if result.get("escape_step", 0) > before:
            self.event("plateau_left", f"update {result['escape_step']}: the loss is below that of guessing")
        return result

    def write_checkpoint(self, folder: Path) -> Path:
        path = super().write_checkpoint(folder)
        self._algorithm.export(self._trained)
        return path


RUNS = SceneRuns()
train, resume, knobs_of = RUNS.train, RUNS.resume, RUNS.knobs_of
