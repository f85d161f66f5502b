"""``train`` and ``resume`` of SGIPretrain, which learns from recorded frames and plays nothing.

``--env`` names the game that the data have to be of. Every checkpoint leaves the pretrained folder of its weights in the
run folder, ``<run>/pretrained``: what ``--set pretrained=`` of SGIRainbow takes. A smoke run without data records some
first.
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
from rllib_ext.registry import config_class
from rllib_ext.runtime.knobs import Knob

PRETRAINED = "pretrained"
FRAMES = "frames"
SMOKE_STEPS = 2000

RLLIB = {
    "lr": replace(PPO["lr"], default=1e-4),
    "gamma": replace(PPO["gamma"], default=0.99),
    "train_batch_size_per_learner": Knob(256, int, "Windows of an update.", 2, 10**6),
}
PRETRAINING_RUN = {
    **RUN_KNOBS,
    "num_env_runners": Knob(0, int, "Nothing is played.", 0, 0),
    "num_learners": Knob(0, int, "0: this process learns; 1: a learner in a process of its own.", 0, 1),
    **{name: RUN[name] for name in ("total_iterations", "evaluation_interval", "checkpoint_every")},
}
SMOKE = {
    "encoder": "S",
    "total_iterations": 3,
    "updates_per_iteration": 4,
    "train_batch_size_per_learner": 16,
    "probe_every": 3,
    "probe_samples": 256,
}


class PretrainingRuns(Runs):
    """SGIPretrain."""

    environment, example = "Atari100k/Pong", "the game of the data, for example --env Atari100k/Pong"
    ppo, run, smoke = RLLIB, PRETRAINING_RUN, SMOKE

    def check_environment(self, name: str, env_config: Mapping[str, Any]) -> None:
        from rllib_ext.sgi.atari_names import game_of

        game_of(name)

    def own(self) -> Any:
        from rllib_ext.sgi.pretraining.persistence import OWN

        return OWN

    def placed(self, settings: PlainSettings, folder: Path, options: Namespace) -> PlainSettings:
        """Data where a resume from anywhere finds them; of a smoke run that names none, in the run folder."""
        data = settings.values["data"]
        if data is None:
            return settings.having(data=str((folder / FRAMES).absolute())) if options.smoke else settings
        folders = (Path(part.strip()).expanduser().absolute() for part in data.split(",") if part.strip())
        return settings.having(data=",".join(map(str, folders)))

    def makes_data(self, settings: PlainSettings, folder: Path) -> bool:
        return settings.values["data"] == str((folder / FRAMES).absolute())

    def launch(self, settings: PlainSettings, folder: Path, options: Namespace) -> PretrainingLaunch:
        return PretrainingLaunch(self, settings, folder, options)

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
        config.training(**{name: value[name] for name in (*own, *self.ppo)})
        config.folders  # noqa: B018  (raises where no data are named)
        config.validate()
        return config


class PretrainingLaunch(RLlibLaunch):
    """One session."""

    def _make_model(self) -> None:
        """The frames of a smoke run that names none: random play."""
        from rllib_ext.frames.collect import collect
        from rllib_ext.sgi.atari_names import game_of

        settings = self._settings
        game = game_of(settings.env).name
        self._say(f"recording {SMOKE_STEPS} frames of random play of {game}")
        collect(Path(settings.values["data"]), game, SMOKE_STEPS, seed=settings.values["seed"], ram=True)

    def _made(self) -> DrivenPretraining:
        algorithm = self._runs.build(self._settings).build_algo()
        total = self._settings.values["total_iterations"]
        return DrivenPretraining(algorithm, self._runs.own(), self._folder, total)

    def _summary(self, code: int, seconds: float) -> dict[str, Any]:
        made = self._folder / PRETRAINED
        return {**super()._summary(code, seconds), PRETRAINED: str(made) if made.is_dir() else None}


class DrivenPretraining(Driven):
    """SGIPretrain as the run loop knows what it trains."""

    def __init__(self, algorithm: Any, own: Any, folder: Path, total: int) -> None:
        super().__init__(algorithm, own, folder, total)
        self._pretrained = folder / PRETRAINED
        self._collapsed = False

    def train(self) -> dict[str, Any]:
        result = super().train()
        if self._algorithm.collapsed and not self._collapsed:
            self.event(
                "collapse_suspected",
                f"iteration {self._algorithm.iteration}: random states have nearly one projection; "
                "add I or G to losses, or lower lr",
            )
        self._collapsed = self._algorithm.collapsed
        return result

    def write_checkpoint(self, folder: Path) -> Path:
        path = super().write_checkpoint(folder)
        self._algorithm.export(self._pretrained)
        return path


RUNS = PretrainingRuns()
train, resume, knobs_of = RUNS.train, RUNS.resume, RUNS.knobs_of
