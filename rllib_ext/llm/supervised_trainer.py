"""transformers' ``Trainer`` with our losses, learning rate, data order and clock; quiet, and it stops where it is told.

The Trainer gives the loop, the devices, autocast and accumulation. Ours are the loss (a sum over terms,
divided by the number of terms of the whole batch), the schedule (per optimizer update, and by time where
time is what is limited), and a stop when time is up. AdamW has eps 1e-5 (N+ details 9, 10).

``Loop`` runs a stage in as many stretches as one likes: ``run(until)`` goes on from where the last stretch, or a
checkpoint, ended. A stretch is the Trainer's own resume, fed from memory instead of from its files: the model and
the optimizer are kept, the learning rate is a function of the update, the order of the data one of seed and epoch
(``supervised_order``). So the weights after n updates are the same to the bit however often it stopped on the way.
With ``max_seconds`` the clock decides, and that promise ends.

The seed sets the process's global random state, as the Trainer does. Left out: several devices.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerState, TrainingArguments

from rllib_ext.errors import BadData, CheckpointCorrupt
from rllib_ext.llm.safety import quiet_transformers
from rllib_ext.llm.supervised_order import EpochOrder
from rllib_ext.llm.supervised_precision import attention_in_float32, wants_bfloat16
from rllib_ext.llm.supervised_rows import Batch, Row
from rllib_ext.llm.supervised_settings import Training
from rllib_ext.llm.supervised_watch import OnLog, Watch
from rllib_ext.runtime.optimizer_state import flatten_optimizer, restore_optimizer
from rllib_ext.runtime.rng import capture_rng, restore_rng

Loss = Callable[[PreTrainedModel, Batch], tuple[torch.Tensor, torch.Tensor]]
Tensors = dict[str, dict[str, torch.Tensor]]


@dataclass(frozen=True)
class TrainingRun:
    """steps: optimizer updates. train_loss: mean over them. tokens: without padding. stopped: "done" or
    "max_seconds".
    """

    steps: int
    train_loss: float
    seconds: float
    tokens: int
    stopped: str


def train(
    model: PreTrainedModel,
    rows: Sequence[Row],
    collate: Callable[[Sequence[Row]], Batch],
    loss: Loss,
    settings: Training,
    on_log: OnLog | None = None,
) -> TrainingRun:
    """Train ``model`` in place, in one stretch. Rows must have ``input_ids``, by whose length they are grouped."""
    loop = Loop(model, rows, collate, loss, settings, on_log)
    loop.run()
    return loop.report()


class Loop:
    """One stage's training, in stretches. ``on_update`` gets the figures of every update."""

    def __init__(
        self,
        model: PreTrainedModel,
        rows: Sequence[Row],
        collate: Callable[[Sequence[Row]], Batch],
        loss: Loss,
        settings: Training,
        on_log: OnLog | None = None,
        on_update: OnLog | None = None,
    ) -> None:
        if not rows:
            raise BadData(
                "there is no pair to train on (none given, or all too long); raise max_length or mend the data"
            )
        self.model, self.rows, self.collate, self.loss, self.settings = model, rows, collate, loss, settings
        self.order = EpochOrder(rows, settings)
        self.watch = Watch(settings, self.order, on_log, on_update)
        self.total = self.order.updates
        self._optimizer: torch.optim.Optimizer | None = None
        self._saved_optimizer: dict[str, Any] | None = None

    @property
    def updates(self) -> int:
        """Optimizer updates so far."""
        return self.watch.updates

    @property
    def done(self) -> bool:
        return self.watch.out_of_time or self.updates >= self.total

    def run(self, until: int | None = None) -> None:
        """Go on to ``until`` updates, or to the end."""
        stop = self.total if until is None else min(until, self.total)
        if self.done or stop <= self.updates:
            return
        settings = self.settings
        on_cpu = settings.device == "cpu" or not torch.accelerator.is_available()
        bfloat16 = wants_bfloat16(settings.precision, on_cpu)
        self.watch.stop_at = stop
        with (
            tempfile.TemporaryDirectory() as scratch,
            quiet_transformers(),
            attention_in_float32(self.model, wanted=bfloat16 and on_cpu),
        ):
            trainer = _StageTrainer(
                model=self.model,
                args=_arguments(settings, scratch, on_cpu, bfloat16, self.total),
                train_dataset=self.rows,
                data_collator=self.collate,
                callbacks=[self.watch],
                optimizers=(self._optimizer, None),
            )
            trainer.remove_callback(PrinterCallback)
            trainer.loop = self
            if (
                self.updates
            ):  # nothing to free, and a full garbage collection a stretch would cost half a second
                trainer.accelerator.free_memory = lambda *objects: list(objects)
            trainer.train(resume_from_checkpoint=self._position(scratch))
            trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
            self._optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        self.model.eval()

    def report(self) -> TrainingRun:
        watch = self.watch
        stopped = "max_seconds" if watch.out_of_time else "done"
        mean = watch.loss_sum / max(1, watch.updates)
        return TrainingRun(watch.updates, mean, watch.seconds(), watch.tokens, stopped)

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Weights, optimizer, random state and position, for ``runtime.checkpoint``."""
        optimizer, tree = {}, None
        if self._optimizer is not None:
            optimizer, tree = flatten_optimizer(self._optimizer.state_dict())
        rng_tensors, rng = capture_rng()
        tensors = {
            "model": _on_cpu(self.model.state_dict()),
            "optimizer": _on_cpu(optimizer),
            "rng": rng_tensors,
        }
        return tensors, {"optimizer": tree, "rng": rng, "position": self.watch.as_json()}

    def restore(self, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """The inverse of ``state``, on a loop over the same rows with the same settings."""
        try:
            self.model.load_state_dict(tensors["model"], strict=True)
        except RuntimeError as error:
            raise CheckpointCorrupt(
                f"the checkpoint holds another model than the stage has: {error}. Resume with the settings and the "
                "starting model that the run began with"
            ) from error
        if state["optimizer"] is not None:
            self._saved_optimizer = restore_optimizer(tensors["optimizer"], state["optimizer"])
        self._optimizer = None
        restore_rng(tensors["rng"], state["rng"])
        self.watch.load(state["position"])

    def _position(self, scratch: str) -> str | None:
        """The one file of a Trainer's checkpoint that says how far it was; the rest is in memory."""
        if not self.updates:
            return None
        size = self.settings.batch_size // self.settings.accumulation
        state = TrainerState(global_step=self.updates, logging_steps=1, train_batch_size=size)
        state.save_to_json(str(Path(scratch) / "trainer_state.json"))
        return scratch

    def take_saved_optimizer(self) -> dict[str, Any] | None:
        saved, self._saved_optimizer = self._saved_optimizer, None
        return saved


def _on_cpu(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies where tensors share memory (tied embeddings), which a file of tensors cannot say."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


def _arguments(
    settings: Training, scratch: str, on_cpu: bool, bfloat16: bool, total: int
) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=scratch,
        per_device_train_batch_size=settings.batch_size // settings.accumulation,
        gradient_accumulation_steps=settings.accumulation,
        max_steps=total,
        learning_rate=settings.lr,
        adam_epsilon=settings.adam_eps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.grad_clip or 0.0,
        bf16=bfloat16,
        use_cpu=on_cpu,
        seed=settings.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # one device; the Trainer would split batches over all it sees
    return arguments


class _StageTrainer(Trainer):
    """``loop`` is set before ``train``. What the Trainer would read from its own files is in the loop."""

    loss_is_scaled_for_ga = True
    loop: Loop

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        return self.loop.order

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: Any
    ) -> tuple[list[Batch], Any]:
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.loop.watch.tokens += sum(int(batch["attention_mask"].sum()) for batch in batches)
        return batches, sum(batch["terms"] for batch in batches)

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        with self.accelerator.autocast():
            total, _ = self.loop.loss(model, inputs)
        return total / num_items_in_batch

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(model)
        saved = self.loop.take_saved_optimizer()
        if saved is not None:
            optimizer.load_state_dict(saved)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        loop = self.loop

        def share(step: int) -> float:
            return loop.settings.share_of_lr(step, loop.total, loop.watch.seconds())

        if self.lr_scheduler is None:
            chosen = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = LambdaLR(chosen, share, last_epoch=loop.updates - 1 if loop.updates else -1)
        return self.lr_scheduler

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None: ...

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None: ...

    def _load_scaler(self, checkpoint: str | None) -> None: ...

    def _load_rng_state(self, checkpoint: str | None) -> None: ...
