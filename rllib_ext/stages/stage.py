"""What the supervised stages share: a Tune ``Trainable`` around transformers' ``Trainer``.

    setup    settings checked, model opened, rows read, quarantined, tokenised
    step     ``report_every`` updates; the last one also evaluates, writes the model and ``stage.json``
    save_checkpoint, load_checkpoint    the package's own format (runtime/checkpoint.py), inside Tune's folder

Stopping anywhere and going on gives the same weights to the bit as never stopping (``supervised_trainer.Loop``); a
checkpoint refuses other rows than it was written over. ``stage.json`` is written last and whole, so a folder that has
one holds a finished stage: its model in ``model/``, its figures in ``metrics``.

The run folder is that of every other method: result.json or Tune's, updates.jsonl (every update), events.jsonl,
quarantine.jsonl, checkpoints/, report/. Left out: several devices, packing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from ray.tune import Trainable
from ray.tune.execution.placement_groups import PlacementGroupFactory
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.llm.from_scratch import save_model
from rllib_ext.llm.safety import check_model_folder, encode_plain, open_tokenizer
from rllib_ext.llm.supervised_rows import Row
from rllib_ext.llm.supervised_trainer import Loop
from rllib_ext.runtime import checkpoint
from rllib_ext.runtime.events import Events
from rllib_ext.runtime.knobs import Knob
from rllib_ext.runtime.run_folder import RunFolder, read_json
from rllib_ext.runtime.trial_folder import trial_folder
from rllib_ext.stages.data import StageData, data_name
from rllib_ext.stages.settings import checked, training_of

COMPLETE, MODEL, UPDATES, CHECKPOINTS = "stage.json", "model", "updates.jsonl", "rllib_ext"


class Stage(Trainable):
    """Base of the stages. A stage names its knobs and its kind of rows, and defines ``make`` and ``finish``."""

    knobs: ClassVar[Mapping[str, Knob]]
    kind: ClassVar[str]

    # ----- what a stage defines

    def make(self) -> Loop:
        """The loop over the tokenised rows; called once."""
        raise NotImplementedError

    def finish(self) -> dict[str, Any]:
        """After the last update and before the model is written: the stage's figures."""
        raise NotImplementedError

    def extra_tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """What a checkpoint must hold besides the loop's state."""
        return {}

    def restore_extra(self, tensors: dict[str, dict[str, torch.Tensor]]) -> None:
        """Take it back from a checkpoint's tensors."""

    # ----- Tune's class API

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """One bundle: a stage is one process."""
        cpus, gpus = (config.get(name, cls.knobs[name].default) for name in ("num_cpus", "num_gpus"))
        return PlacementGroupFactory([{"CPU": cpus, **({"GPU": gpus} if gpus else {})}])

    def setup(self, config: dict[str, Any]) -> None:
        self.values = checked(self.knobs, config)
        self.folder = Path(self.values["run_folder"] or trial_folder(self))
        self.run = RunFolder(self.folder)
        self.journal = StageJournal(self.run)
        if self.values["num_cpus"] >= 1:
            torch.set_num_threads(int(self.values["num_cpus"]))
        self.training = training_of(self.values)
        self.base = check_model_folder(self.values["model"], self.values["revision"])
        self.tokenizer: PreTrainedTokenizerBase = open_tokenizer(self.base)
        self.data = StageData(self.kind, self.values, self._count_tokens, self.folder)
        self.loop = self.make()
        self.digest = digest_of(self.loop.rows)
        self.finished: dict[str, Any] | None = None

    def step(self) -> dict[str, Any]:
        """One iteration: ``report_every`` updates, and at the end of the stage its evaluation and its model."""
        began, before = (
            time.monotonic(),
            (self.loop.updates, self.loop.watch.loss_sum, self.loop.watch.tokens),
        )
        self.loop.run(self.loop.updates + self.values["report_every"])
        watch = self.loop.watch
        seconds, updates = time.monotonic() - began, watch.updates - before[0]
        loss = (watch.loss_sum - before[1]) / updates if updates else None
        result: dict[str, Any] = {
            "num_updates_lifetime": watch.updates,
            "num_tokens_trained_lifetime": watch.tokens,
            "learners": {"default_policy": {"total_loss": loss}} if updates else {},
            "stage": {"loss": loss, "tokens_per_s": (watch.tokens - before[2]) / max(seconds, 1e-9)},
            "done": self.loop.done,
        }
        if self.loop.done:
            result["stage"] |= self._complete()
            result["model"] = str(self.folder / MODEL)
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.write_checkpoint(Path(checkpoint_dir) / CHECKPOINTS)

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        self.read_checkpoint(Path(checkpoint_dir) / CHECKPOINTS)

    def cleanup(self) -> None:
        self.run.close()

    # ----- what the run loop of the command line asks of an algorithm

    @property
    def counters(self) -> dict[str, int]:
        return {"updates": self.loop.updates}

    @property
    def total_updates(self) -> int:
        """Optimizer updates of the whole stage."""
        return self.loop.total

    def write_checkpoint(self, folder: Path) -> Path:
        """Write a whole checkpoint below ``folder``; its path."""
        tensors, state = self.loop.state()
        state |= {"stage": {"name": type(self).__name__, "rows": self.digest, "iteration": self.iteration}}
        tensors |= self.extra_tensors()
        path = checkpoint.save(folder, step=self.loop.updates, tensors=tensors, state=state)
        self.journal.event("checkpoint_saved", f"update {self.loop.updates}")
        return path

    def read_checkpoint(self, folder: Path) -> None:
        """Go on from the newest whole checkpoint below ``folder``."""
        path = checkpoint.latest(
            folder, on_skip=lambda bad, why: self.journal.event("checkpoint_skipped", f"{bad}: {why}")
        )
        if path is None:
            raise CheckpointCorrupt(f"{folder} holds no complete checkpoint; begin the stage again")
        loaded = checkpoint.load(path)
        saved = loaded.state["stage"]
        now = {"name": type(self).__name__, "rows": self.digest}
        for name, value in now.items():
            if saved[name] != value:
                raise CheckpointCorrupt(
                    f"{path} was written with {name}={saved[name]!r}, this stage has {value!r}: other data, another "
                    "tokenizer or another stage. Restore what it was begun with, or begin anew in another folder"
                )
        self.loop.restore(loaded.tensors, loaded.state)
        self.restore_extra(loaded.tensors)
        self._iteration = saved["iteration"]

    # ----- pieces

    def on_update(self, line: dict[str, float]) -> None:
        """Every update into updates.jsonl."""
        renamed = {"update": line["step"], "lr": line["learning_rate"]}
        rest = {name: line[name] for name in ("loss", "grad_norm", "seconds", "tokens", "tokens_per_s")}
        self.run.append_jsonl(UPDATES, renamed | rest)

    def longest(self, model: PreTrainedModel) -> float:
        """The longest row in tokens that is kept."""
        readable = getattr(model.config, "max_position_embeddings", None) or float("inf")
        return min(readable, self.values["max_length"] or float("inf"))

    def _count_tokens(self, text: str) -> int:
        return len(encode_plain(self.tokenizer, [text], add_special_tokens=True)[0])

    def _complete(self) -> dict[str, Any]:
        figures = {**self.finish(), "train_loss": self.loop.report().train_loss}
        save_model(self.loop.model, self.tokenizer, self.folder / MODEL)
        self.finished = {
            "stage": type(self).__name__,
            "data": data_name(self.values["data"]),
            "model": MODEL,
            "updates": self.loop.updates,
            "metrics": figures,
            "rows": self.data.accounts.readings,
        }
        self.run.write_json(COMPLETE, self.finished)
        self.journal.event("stage_finished", f"{self.loop.updates} updates")
        return figures


class StageJournal:
    """``event(kind, detail)``, as every algorithm of the command line has it."""

    def __init__(self, run: RunFolder) -> None:
        self._events = Events(run)

    def event(self, kind: str, detail: str) -> None:
        self._events.emit(kind, detail)


def completed(folder: Path | str) -> dict[str, Any] | None:
    """What a finished stage left in ``folder``; None where none is finished there."""
    path = Path(folder) / COMPLETE
    return read_json(path) if path.is_file() and (Path(folder) / MODEL / "config.json").is_file() else None


def digest_of(rows: list[Row]) -> str:
    """SHA-256 over the token ids of all rows, in order."""
    digest = hashlib.sha256()
    for row in rows:
        for name in sorted(row):
            digest.update(f"{name}:{row[name]};".encode())
    return digest.hexdigest()
