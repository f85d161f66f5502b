"""TRL's RLOOTrainer as one side of a comparison; TRL has no PPO any more, and of what it has this is the nearest.

It samples K completions a prompt, subtracts the KL to a frozen reference from the reward, and takes a clipped ratio, as
PPO does; it has no critic, which spares it a second model's forward and backward pass. How it is held between rounds and
timed: ``_trl``. Settings are the trainer's except what the comparison fixes (float32, batch, lengths, passes, no files,
no logs) and ``gradient_checkpointing``, True by TRL's default, which is off here, at its best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from benchmarks._trl import TRLSettings, TRLSide


@dataclass(frozen=True)
class RLOOSettings(TRLSettings):
    """batch: completions a round; samples: of a prompt; passes: optimizer steps a round; beta: of the KL."""

    samples: int
    passes: int


class RLOOSide(TRLSide):
    """A round is one generation and ``passes`` steps of the trainer."""

    def _build(self, settings: RLOOSettings, reward: Callable[..., float]) -> Any:
        from trl import RLOOConfig, RLOOTrainer

        self._passes = settings.passes
        config = RLOOConfig(
            steps_per_generation=1, num_iterations=settings.passes, num_generations=settings.samples,
            max_completion_length=settings.max_new_tokens, beta=settings.beta, **self._fixed(settings),
        )  # fmt: skip
        return self._trainer_of(RLOOTrainer, config, settings, reward)

    def rounds(self, count: int, threads: int) -> list[dict[str, float]]:
        steps = super().rounds(count * self._passes, threads)
        groups = [steps[start : start + self._passes] for start in range(0, len(steps), self._passes)]
        return [
            {key: sum(step.get(key, 0.0) for step in group) for key in ("wall", "cpu", "generate")}
            for group in groups
        ]


def start_rloo(settings: RLOOSettings, reward: Callable[..., float], cores: int) -> Any:
    """An actor with an RLOOSide."""
    return ray.remote(RLOOSide).options(num_cpus=cores).remote(settings, reward)
