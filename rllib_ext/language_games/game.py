"""What the games share: a Tune ``Trainable`` that goes through phases of updates, the last of which is play.

    phases    what a game learns first (supervised), each a number of updates; then "play"
    step      ``report_every`` updates, or fewer where a phase ends or play comes to a boundary; then an evaluation
    boundary  a reset of Elastic Reset, or a generation of SIL; it is done AFTER the evaluation of that iteration

So what is reported is the state just before a reset (the reward-drift frontier wants that, and a scheduler must not judge
a trial just after one); ``boundary`` in the result says so. The first report of play comes before its first update: the
point that all methods of a seed start from. ``ema_only`` evaluates the average in place of the online weights.

Every draw is a function of seed, phase and update, so a run that was stopped anywhere between two iterations and goes on
from a checkpoint (runtime/checkpoint.py, in safetensors) ends with the same bits; the checkpoint refuses other data.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from ray.tune import Trainable
from ray.tune.execution.placement_groups import PlacementGroupFactory
from torch import Tensor, nn

from rllib_ext.errors import CheckpointCorrupt, NonFinite
from rllib_ext.functional.elastic import Elastic, assign_, distance, snapshot, trainable
from rllib_ext.language_games.knobs import checked, elastic_settings
from rllib_ext.language_games.persistence import checkpoint_of, restore_checkpoint
from rllib_ext.runtime import checkpoint
from rllib_ext.runtime.events import Events
from rllib_ext.runtime.knobs import Knob
from rllib_ext.runtime.run_folder import RunFolder
from rllib_ext.runtime.seeding import SeedTree
from rllib_ext.runtime.trial_folder import trial_folder

PLAY, CHECKPOINTS = "play", "rllib_ext"


@dataclass(frozen=True)
class Phase:
    """A part of a run: so many updates of one kind."""

    name: str
    updates: int


class Game(Trainable):
    """Base of the games. A game names its knobs and defines what is not implemented here."""

    knobs: ClassVar[Mapping[str, Knob]]
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    digest: str  # of the data: a checkpoint is gone on with on the same data only

    # ----- what a game defines

    def make(self) -> None:
        """Read the data; set ``modules``, ``optimizers`` and ``digest``."""
        raise NotImplementedError

    def before_play(self) -> tuple[Phase, ...]:
        """The phases before play."""
        raise NotImplementedError

    def learn(self, phase: str, update: int) -> dict[str, float]:
        """Update number ``update`` (from 0) of a phase; its figures. "loss" is one of them."""
        raise NotImplementedError

    def evaluate(self) -> dict[str, Any]:
        """Figures of the agents on held-out data; nothing is drawn and nothing changes."""
        raise NotImplementedError

    def elastic_agents(self) -> nn.Module:
        """What Elastic Reset averages and resets."""
        raise NotImplementedError

    def clear_optimizers(self) -> None:
        """Empty the state of the optimizers of those agents."""
        raise NotImplementedError

    def generation_due(self, updates: int) -> bool:
        """Whether a generation ends after so many updates of play."""
        return False

    def imitate(self, generation: int) -> dict[str, float]:
        """The students learn from the teachers and take their places."""
        raise NotImplementedError

    def phase_finished(self, phase: str) -> None:
        """Called once after the last update of a phase."""

    def start_play(self) -> None:
        """Called once before the first update of play."""

    def extra_state(self) -> dict[str, Any]:
        """What a checkpoint must hold besides modules, optimizers and counts; JSON."""
        return {}

    def restore_extra(self, state: dict[str, Any]) -> None:
        """Take it back."""

    # ----- Tune's class API

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """One bundle: a game is one process."""
        cpus, gpus = (config.get(name, cls.knobs[name].default) for name in ("num_cpus", "num_gpus"))
        return PlacementGroupFactory([{"CPU": cpus, **({"GPU": gpus} if gpus else {})}])

    def setup(self, config: dict[str, Any]) -> None:
        self.values = checked(self.knobs, config)
        self.run = RunFolder(Path(self.values["run_folder"] or trial_folder(self)))
        self.events = Events(self.run)
        if self.values["num_cpus"] >= 1:
            torch.set_num_threads(int(self.values["num_cpus"]))
        self.device = torch.device("cuda" if self.values["num_gpus"] else "cpu")
        self.seeds = SeedTree(self.values["seed"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seeds.child("weights").int(63))
            self.make()
        self.phases = (*self.before_play(), Phase(PLAY, self.values["play_updates"]))
        self.updates = dict.fromkeys((phase.name for phase in self.phases), 0)
        self.started = False  # whether the agents were evaluated as they came to play
        self.generations = 0
        self.elastic = Elastic(elastic_settings(self.values, self.values["play_updates"]), {})

    def step(self) -> dict[str, Any]:
        """One iteration: updates of one phase, and in play an evaluation and what is due after it."""
        began = time.monotonic()
        phase = self.phase
        starts = phase.name == PLAY and not self.started
        if starts:
            self._start_play()
        figures, boundary = ({}, False) if starts else self._updates(phase)
        result: dict[str, Any] = {
            "num_updates_lifetime": sum(self.updates.values()),
            "phase": phase.name,
            "play_updates": self.updates[PLAY],
            "learners": {phase.name: figures},
            "boundary": boundary,
            "seconds": {"learn": time.monotonic() - began},
        }
        if phase.name == PLAY:
            result |= self._evaluated() | {"er": self._elastic_figures()}
            if boundary:
                result |= self._cross()
        result["done"] = self.updates[PLAY] >= self.values["play_updates"]
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.write_checkpoint(Path(checkpoint_dir) / CHECKPOINTS)

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        self.read_checkpoint(Path(checkpoint_dir) / CHECKPOINTS)

    def cleanup(self) -> None:
        self.run.close()

    # ----- the phases

    @property
    def phase(self) -> Phase:
        """The first phase that is not finished; play once all are."""
        unfinished = [phase for phase in self.phases if self.updates[phase.name] < phase.updates]
        return (unfinished or [self.phases[-1]])[0]

    def _updates(self, phase: Phase) -> tuple[dict[str, float], bool]:
        """Updates of ``phase`` until the iteration ends: mean figures, and whether play came to a boundary."""
        sums: dict[str, float] = {}
        count, boundary = 0, False
        while (
            not boundary and count < self.values["report_every"] and self.updates[phase.name] < phase.updates
        ):
            figures = self.learn(phase.name, self.updates[phase.name])
            if not all(math.isfinite(value) for value in figures.values()):
                raise NonFinite(
                    f"update {self.updates[phase.name]} of {phase.name}: {figures}. Lower the learning rate, or "
                    "grad_clip; the last checkpoint is whole."
                )
            sums = {name: sums.get(name, 0.0) + value for name, value in figures.items()}
            self.updates[phase.name] += 1
            count += 1
            if phase.name == PLAY:
                boundary = self.elastic.tick("grad_steps", self._weights()) or self._ends_generation()
        if self.updates[phase.name] == phase.updates:
            self.phase_finished(phase.name)
        return {name: total / count for name, total in sums.items()}, boundary

    def _start_play(self) -> None:
        """The initial weights of Elastic Reset are those that play begins with."""
        self.started = True
        self.start_play()
        self.elastic = self.new_elastic()

    def new_elastic(self) -> Elastic:
        """The stores and counters of these weights as they begin to play."""
        settings = elastic_settings(self.values, self.values["play_updates"])
        return Elastic(settings, *trainable(self.elastic_agents()))

    def _ends_generation(self) -> bool:
        played = self.updates[PLAY]
        return played < self.values["play_updates"] and self.generation_due(played)

    def _cross(self) -> dict[str, Any]:
        """Do what is due at a boundary."""
        result: dict[str, Any] = {}
        if self.elastic.due:
            done = self.elastic.reset(self._weights())
            if done.optimizer:
                self.clear_optimizers()
            self.events.emit(
                "reset", f"number {self.elastic.resets}, after update {self.updates[PLAY]} of play"
            )
        if self._ends_generation():
            self.generations += 1
            result["sil"] = {"generation": self.generations, **self.imitate(self.generations)}
            self.events.emit(
                "generation", f"number {self.generations}, after update {self.updates[PLAY]} of play"
            )
        return result

    # ----- evaluation

    def _evaluated(self) -> dict[str, Any]:
        began = time.monotonic()
        with self._evaluated_weights(), torch.no_grad():
            figures = self.evaluate()
        return {**figures, "evaluation_seconds": time.monotonic() - began}

    @contextlib.contextmanager
    def _evaluated_weights(self) -> Iterator[None]:
        """The average in the agents' place where that is what the method evaluates."""
        if self.elastic.settings.variant != "ema_only":
            yield
            return
        weights = self._weights()
        online = snapshot(weights)
        assign_(weights, self.elastic.ema)
        try:
            yield
        finally:
            assign_(weights, online)

    def _weights(self) -> Mapping[str, Tensor]:
        return trainable(self.elastic_agents())[0] if self.elastic.settings.keeps_average else {}

    def _elastic_figures(self) -> dict[str, float]:
        elastic = self.elastic
        if not elastic.settings.keeps_average:
            return {}
        return {
            "num_resets": elastic.resets,
            "ticks_since_reset": elastic.ticks_since_reset,
            "init_weight_fraction": elastic.init_weight_fraction,
            "dist_online_init": distance(self._weights(), elastic.init),
            "dist_ema_init": distance(elastic.ema, elastic.init),
        }

    # ----- checkpoints

    def write_checkpoint(self, folder: Path) -> Path:
        """Write a whole checkpoint below ``folder``; its path."""
        path = checkpoint.save(folder, step=sum(self.updates.values()), **checkpoint_of(self))
        self.events.emit("checkpoint_saved", f"update {sum(self.updates.values())}")
        return path

    def read_checkpoint(self, folder: Path) -> None:
        """Go on from the newest whole checkpoint below ``folder``."""
        path = checkpoint.latest(folder)
        if path is None:
            raise CheckpointCorrupt(f"{folder} holds no complete checkpoint; begin the run again")
        loaded = checkpoint.load(path)
        saved = loaded.state["game"]
        restore_checkpoint(self, loaded, str(path))
        # As they were begun: agents that were found pretrained may be gone by now, or have come since.
        self.phases = tuple(Phase(str(name), int(updates)) for name, updates in saved["phases"])
        self.updates = {phase.name: int(saved["updates"][phase.name]) for phase in self.phases}
        self._iteration = saved["iteration"]
