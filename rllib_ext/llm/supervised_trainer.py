"""transformers' ``Trainer`` with our losses, learning rate and clock; quiet, and nothing written by itself.

The Trainer gives the loop, the devices, autocast and accumulation. Ours are the loss (a sum over terms,
divided by the number of terms of the whole batch), the schedule (per optimizer update, and by time where
time is what is limited), and a stop when time is up. Rows of like length share a batch; AdamW has eps 1e-5
(N+ details 9, 10).

The seed sets the process's global random state, as the Trainer does. Left out: checkpoints inside a stage,
several devices.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from rllib_ext.errors import BadData, NonFinite
from rllib_ext.llm.safety import quiet_transformers
from rllib_ext.llm.supervised_precision import attention_in_float32, wants_bfloat16
from rllib_ext.llm.supervised_rows import Batch, Row
from rllib_ext.llm.supervised_settings import Training

Loss = Callable[[PreTrainedModel, Batch], tuple[torch.Tensor, torch.Tensor]]
OnLog = Callable[[dict[str, float]], None]


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
    """Train ``model`` in place. Rows must have ``input_ids``, by whose length they are grouped."""
    if not rows:
        raise BadData(
            "there is no pair to train on (none given, or all too long); raise max_length or mend the data"
        )
    watch = _Watch(settings, on_log)
    on_cpu = settings.device == "cpu" or not torch.accelerator.is_available()
    bfloat16 = wants_bfloat16(settings.precision, on_cpu)
    with (
        tempfile.TemporaryDirectory() as scratch,
        quiet_transformers(),
        attention_in_float32(model, wanted=bfloat16 and on_cpu),
    ):
        trainer = _StageTrainer(
            model=model,
            args=_arguments(settings, scratch, on_cpu, bfloat16),
            train_dataset=rows,
            data_collator=collate,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.loss, trainer.settings, trainer.watch = loss, settings, watch
        mean_loss = trainer.train().training_loss
        trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
    _require_finite(mean_loss, trainer.state.global_step, settings)
    model.eval()
    stopped = "max_seconds" if watch.out_of_time else "done"
    return TrainingRun(trainer.state.global_step, mean_loss, watch.seconds(), watch.tokens, stopped)


def _arguments(settings: Training, scratch: str, on_cpu: bool, bfloat16: bool) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=scratch,
        per_device_train_batch_size=settings.batch_size // settings.accumulation,
        gradient_accumulation_steps=settings.accumulation,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.lr,
        adam_epsilon=1e-5,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.grad_clip or 0.0,
        bf16=bfloat16,
        use_cpu=on_cpu,
        seed=settings.seed,
        train_sampling_strategy="group_by_length",
        logging_steps=settings.log_every,
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
    """``loss``, ``settings`` and ``watch`` are set before ``train``."""

    loss_is_scaled_for_ga = True
    loss: Loss
    settings: Training
    watch: _Watch

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: Any
    ) -> tuple[list[Batch], Any]:
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.watch.tokens += sum(int(batch["attention_mask"].sum()) for batch in batches)
        return batches, sum(batch["terms"] for batch in batches)

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        with self.accelerator.autocast():
            total, _ = self.loss(model, inputs)
        return total / num_items_in_batch

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        def share(step: int) -> float:
            return self.settings.share_of_lr(step, num_training_steps, self.watch.seconds())

        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(self.optimizer if optimizer is None else optimizer, share)
        return self.lr_scheduler


class _Watch(TrainerCallback):
    """The clock and the hook of one run."""

    def __init__(self, settings: Training, on_log: OnLog | None) -> None:
        self.settings, self.hook = settings, on_log
        self.tokens, self.out_of_time = 0, False
        self.started: float | None = None
        self.ended: float | None = None

    def seconds(self) -> float:
        """Since training began, until it ended."""
        now = self.ended or time.monotonic()
        return 0.0 if self.started is None else now - self.started

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.started = time.monotonic()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ended = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.settings.max_seconds is not None and self.seconds() >= self.settings.max_seconds:
            self.out_of_time = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" not in (logs or {}):
            return
        _require_finite(logs["loss"], state.global_step, self.settings)
        shown = {key: logs[key] for key in ("loss", "learning_rate", "grad_norm") if key in logs}
        line = {"step": state.global_step, **shown, "seconds": self.seconds(), "tokens": self.tokens}
        if self.hook is not None:
            self.hook(line)
        if self.settings.verbose:
            print("  ".join(f"{key} {value:.6g}" for key, value in line.items()), flush=True)


def _require_finite(loss: float, step: int, settings: Training) -> None:
    if not math.isfinite(loss):
        raise NonFinite(
            f"the training loss is {loss} by update {step}, with lr {settings.lr}; "
            "lower lr, set grad_clip=1.0 or add warmup_steps"
        )
