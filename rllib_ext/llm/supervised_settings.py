"""The settings of the supervised stages, each declared once: unit, default, and where the default comes from.

"N+" is "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031). Left out: what the Trainer could
also be told but no stage here needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from rllib_ext.errors import BadConfig, unknown_name

CHOICES = {"schedule": ("cosine", "linear", "constant"), "precision": ("float32", "bfloat16", "auto")}
POSITIVE = (
    "lr",
    "adam_eps",
    "batch_size",
    "epochs",
    "max_steps",
    "max_seconds",
    "grad_clip",
    "accumulation",
    "log_every",
)


@dataclass(frozen=True)
class Training:
    """What every supervised stage can be told, as keywords of ``run_sft`` and ``run_reward_model``.

    lr            peak learning rate; no default. 3e-6 (N+) for a published model, 1e-3 for a small new one
    batch_size    pairs an optimizer update; N+ has 128 for SFT, 64 for reward models
    epochs        passes over the data; N+ has 1
    max_steps     optimizer updates, instead of epochs
    max_seconds   ends training early; the learning rate then also falls with the share of time that is used
    schedule      "cosine" (N+) or "linear", both to 0, or "constant"
    warmup_steps  updates of linear warm-up; N+ has 0
    weight_decay  N+ has 0
    grad_clip     largest gradient norm; None: no clipping (N+)
    accumulation  forward passes that a batch is split into; divides batch_size
    precision     "float32"; "bfloat16": autocast over float32 weights; "auto": bfloat16 where the processor
                  multiplies in it (AVX512-BF16, AMX, accelerators), 1.7 times as fast on a CPU
    device        None: an accelerator where there is one; "cpu": the CPU
    adam_eps      of AdamW; N+ has 1e-5
    group_by_length  rows of like length share a batch, which saves padding; False: a plain shuffle (N+)
    whole_batches leave an epoch's last, smaller batch out (N+: 116,722 rows are 911 updates of 128)
    seed          of the order of the data, and of a new head
    log_every     updates from one call of ``on_log`` to the next
    verbose       print what ``on_log`` gets
    """

    lr: float
    batch_size: int = 64
    epochs: float = 1.0
    max_steps: int | None = None
    max_seconds: float | None = None
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    grad_clip: float | None = None
    accumulation: int = 1
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    device: Literal["cpu"] | None = None
    adam_eps: float = 1e-5
    group_by_length: bool = True
    whole_batches: bool = False
    seed: int = 0
    log_every: int = 10
    verbose: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Training:
        """Checked settings; an unknown name is answered with the nearest right one."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise unknown_name("training setting", name, known)
        if "lr" not in settings:
            raise BadConfig("lr is missing; give the peak learning rate, such as 1e-3")
        training = cls(**settings)
        for name in POSITIVE:
            value = getattr(training, name)
            if value is not None and not value > 0:
                raise BadConfig(f"{name} is {value}; it must be more than 0")
        for name, choices in CHOICES.items():
            if getattr(training, name) not in choices:
                raise unknown_name(name, str(getattr(training, name)), choices)
        if training.batch_size % training.accumulation:
            raise BadConfig(
                f"batch_size {training.batch_size} is not a multiple of accumulation {training.accumulation}"
            )
        return training

    def share_of_lr(self, step: int, steps: int, seconds: float) -> float:
        """Learning rate over its peak at update ``step`` (from 0) of ``steps``, after ``seconds``."""
        warm = min(1.0, (step + 1) / (self.warmup_steps + 1))
        used = max(0, step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        used = min(1.0, max(used, seconds / (self.max_seconds or math.inf)))
        shapes = {"cosine": (1 + math.cos(math.pi * used)) / 2, "linear": 1 - used, "constant": 1.0}
        return warm * shapes[self.schedule]
