"""The clock, the counts and the hooks of a supervised stage, over all its stretches.

Every update's loss, learning rate, gradient norm and tokens are seen once. A loss or a gradient norm that is no number
stops the stage at the update that shows it: whatever was saved before is still good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback

from rllib_ext.errors import NonFinite
from rllib_ext.llm.supervised_order import EpochOrder
from rllib_ext.llm.supervised_settings import Training

OnLog = Callable[[dict[str, float]], None]


class Watch(TrainerCallback):
    """``updates``, ``tokens``, ``loss_sum`` and ``seconds`` count the whole stage; ``stop_at`` ends a stretch.

    on_log     every ``log_every`` updates: step, loss (their mean), learning_rate, grad_norm, seconds, tokens
    on_update  after every update: the same, and tokens_per_s
    """

    def __init__(
        self, settings: Training, order: EpochOrder, on_log: OnLog | None, on_update: OnLog | None = None
    ) -> None:
        self.settings, self.order, self._on_log, self._on_update = settings, order, on_log, on_update
        self.updates, self.tokens, self.loss_sum, self.out_of_time = 0, 0, 0.0, False
        self.stop_at: int | None = None
        self._before, self._started = 0.0, None
        self._window: list[float] = []
        self._seen = (0.0, 0)

    def seconds(self) -> float:
        """Spent training, stretches added up."""
        return self._before + (0.0 if self._started is None else time.monotonic() - self._started)

    def as_json(self) -> dict[str, Any]:
        return {
            "updates": self.updates,
            "tokens": self.tokens,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds(),
            "out_of_time": self.out_of_time,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        self.updates, self.tokens, self.loss_sum = saved["updates"], saved["tokens"], saved["loss_sum"]
        self._before, self.out_of_time = saved["seconds"], saved["out_of_time"]
        self._seen = (self._before, self.tokens)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = time.monotonic()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._before, self._started = self.seconds(), None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.order.epoch = state.global_step // self.order.updates_per_epoch

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        limit = self.settings.max_seconds
        self.out_of_time = limit is not None and self.seconds() >= limit
        if self.out_of_time or (self.stop_at is not None and state.global_step >= self.stop_at):
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" not in (logs or {}):
            return
        self._require_finite(logs["loss"], "loss", state.global_step)
        self._require_finite(logs["grad_norm"], "gradient's norm", state.global_step)
        self.updates = state.global_step
        self.loss_sum += logs["loss"]
        shown = {key: logs[key] for key in ("loss", "learning_rate", "grad_norm")}
        line = {"step": self.updates, **shown, "seconds": self.seconds(), "tokens": self.tokens}
        self._tell_update(line)
        self._window.append(logs["loss"])
        if self.updates % self.settings.log_every == 0:
            line["loss"] = sum(self._window) / len(self._window)
            self._window.clear()
            if self._on_log is not None:
                self._on_log(line)
            if self.settings.verbose:
                print("  ".join(f"{key} {value:.6g}" for key, value in line.items()), flush=True)

    def _tell_update(self, line: dict[str, float]) -> None:
        seconds, tokens = line["seconds"] - self._seen[0], line["tokens"] - self._seen[1]
        self._seen = (line["seconds"], self.tokens)
        if self._on_update is not None:
            self._on_update({**line, "tokens_per_s": tokens / seconds if seconds > 0 else 0.0})

    def _require_finite(self, value: float, what: str, step: int) -> None:
        if not math.isfinite(value):
            raise NonFinite(
                f"the training {what} is {value} by update {step}, with lr {self.settings.lr}; "
                "lower lr, set grad_clip=1.0 or add warmup_steps"
            )
