"""``train`` and ``resume`` of CommonsenseKBC, which learns from triples and plays nothing.

There is no ``--env``: ``--set data=<folder>`` names the triples, and without it a synthetic base is learnt. Every
checkpoint leaves the selected weights in the run folder, ``<run>/model``: what mining begins from. Lines of the files
that could not be used are in ``<run>/quarantine.jsonl``.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rllib_ext.cli.plain_runs import PlainSettings
from rllib_ext.cli.ppo_knobs import PPO, RUN
from rllib_ext.cli.rllib_runs import Driven, RLlibLaunch, Runs
from rllib_ext.cli.run_knobs import RUN_KNOBS
from rllib_ext.cli.settings import hush_rllib
from rllib_ext.commonsense.algorithm import MODEL, QUARANTINE
from rllib_ext.commonsense.embeddings import PPMI_SVD, RANDOM
from rllib_ext.commonsense.knobs import SYNTHETIC
from rllib_ext.errors import BadConfig
from rllib_ext.registry import config_class
from rllib_ext.runtime.knobs import Knob

NOTHING_PLAYED = "triples"
RLLIB = {
    "lr": replace(PPO["lr"], default=0.01, high=10, doc="Learning rate of Adagrad."),
    "train_batch_size_per_learner": Knob(200, int, "Positives of an update.", 2, 10**6),
}
COMMONSENSE_RUN = {
    **RUN_KNOBS,
    "num_env_runners": Knob(0, int, "Nothing is played.", 0, 0),
    "num_learners": Knob(0, int, "0: this process learns; 1: a learner in a process of its own.", 0, 1),
    **{name: RUN[name] for name in ("total_iterations", "evaluation_interval", "checkpoint_every")},
}
SMOKE = {
    "total_iterations": 6,
    "updates_per_iteration": 50,
    "judge_every": 2,
    "synthetic_train": 4000,
    "hidden": 64,
    "word_size": 32,
    "embedding": RANDOM,
}


class CommonsenseRuns(Runs):
    """CommonsenseKBC."""

    environment, example = NOTHING_PLAYED, "nothing: it plays nothing"
    ppo, run, smoke = RLLIB, COMMONSENSE_RUN, SMOKE

    def train(self, options: Namespace) -> int:
        if options.env is not None:
            raise BadConfig(
                f"--env {options.env}: CommonsenseKBC plays nothing; name triples with --set data=<folder>"
            )
        return super().train(Namespace(**{**vars(options), "env": NOTHING_PLAYED}))

    def check_environment(self, name: str, env_config: Mapping[str, Any]) -> None:
        if name != NOTHING_PLAYED or env_config:
            raise BadConfig(
                f"CommonsenseKBC plays nothing, so it has no environment {name!r} and no --env-set"
            )

    def own(self) -> Any:
        from rllib_ext.commonsense.persistence import OWN

        return OWN

    def placed(self, settings: PlainSettings, folder: Path, options: Namespace) -> PlainSettings:
        """Files where a resume from anywhere finds them; the quarantine in the run folder."""
        value = settings.values
        found = {"quarantine": value["quarantine"] or str((folder / QUARANTINE).absolute())}
        if value["data"] != SYNTHETIC and Path(value["data"]).expanduser().exists():
            found["data"] = str(Path(value["data"]).expanduser().absolute())
        if value["embedding"] not in (PPMI_SVD, RANDOM):
            found["embedding"] = str(Path(value["embedding"]).expanduser().absolute())
        return settings.having(**found)

    def launch(self, settings: PlainSettings, folder: Path, options: Namespace) -> CommonsenseLaunch:
        return CommonsenseLaunch(self, settings, folder, options)

    def build(self, settings: PlainSettings) -> Any:
        """The ``AlgorithmConfig``, validated."""
        hush_rllib()
        self.check_environment(settings.env, settings.env_config)
        value = settings.values
        config = config_class(settings.algorithm)()
        config.learners(
            num_learners=value["num_learners"], num_gpus_per_learner=value["num_gpus_per_learner"]
        )
        config.debugging(seed=value["seed"], log_level="CRITICAL")
        own = config_class(settings.algorithm).knobs  # type: ignore[attr-defined]
        config.training(**{name: value[name] for name in (*own, *self.ppo)})
        config.validate()
        config.triples  # noqa: B018  (reads the files, and raises where they cannot be used)
        return config


class CommonsenseLaunch(RLlibLaunch):
    """One session."""

    def _made(self) -> DrivenScorer:
        algorithm = self._runs.build(self._settings).build_algo()
        total = 1 if algorithm.untrained else self._settings.values["total_iterations"]
        return DrivenScorer(algorithm, self._runs.own(), self._folder, total)

    def _summary(self, code: int, seconds: float) -> dict[str, Any]:
        made = self._folder / MODEL
        return {**super()._summary(code, seconds), MODEL: str(made) if made.is_dir() else None}


class DrivenScorer(Driven):
    """CommonsenseKBC as the run loop knows what it trains."""

    def __init__(self, algorithm: Any, own: Any, folder: Path, total: int) -> None:
        super().__init__(algorithm, own, folder, total)
        self._model = folder / MODEL

    def write_checkpoint(self, folder: Path) -> Path:
        path = super().write_checkpoint(folder)
        self._algorithm.export(self._model)
        return path


RUNS = CommonsenseRuns()
train, resume, knobs_of = RUNS.train, RUNS.resume, RUNS.knobs_of
