"""What ``elastic_frontier_text`` runs: cells, and the settings of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BETAS = (0.0, 0.02, 0.1)
SEEDS = 3
PERIOD, CYCLES = 15, 3  # resets after iterations 15 and 30; judged right before each, and at 45
DECAY = 0.92  # eta^15 = 0.29 of the average is the initial model at a reset, as in elastic_frontier
MAX_CHARS, MAX_PROMPT, MAX_NEW = 140, 72, 16

# A run's variant -> its methods, by the weights that are judged. PPO keeps an average that it does not use.
RUNS = {
    "ema_only": {"online": "PPO+KL", "ema": "EMA-only"},
    "elastic_reset": {"online": "Elastic Reset"},
    "reset_to_init": {"online": "reset to init"},
}
METHODS = ("PPO+KL", "Elastic Reset", "EMA-only", "reset to init")


@dataclass(frozen=True)
class Cell:
    """One training run."""

    variant: str
    beta: float
    seed: int
    engine: str
    period: int = PERIOD
    cycles: int = CYCLES

    def settings(self, model: str) -> dict[str, Any]:
        """What ElasticResetAsyncPPO is configured with."""
        return {
            "model": model, "mode": "sync", "engine": self.engine, "engine_threads": 1, "learner_threads": 1,
            "samples_per_prompt": 1, "prompts_per_minibatch": 48, "updates_per_minibatch": 2,
            "total_updates": 2 * self.period * self.cycles, "lr": 1e-3, "lr_schedule": "constant", "max_grad_norm": 1.0,
            "temperature": 1.0, "missing_eos": "keep", "max_prompt_tokens": MAX_PROMPT, "prompt_overflow": "drop",
            "max_new_tokens": MAX_NEW, "variant": self.variant, "kl_beta": self.beta, "reset_every": self.period,
            "ema_decay": DECAY ** (PERIOD / self.period), "evaluate_with": "online", "evaluation_prompts": 256,
            "evaluation_temperature": 1.0, "drift_tokens": 8192, "logp_probe": 0,
        }  # fmt: skip


def study(engine: str) -> Iterator[Cell]:
    """All cells, seed by seed, so that a study that was cut short has whole seeds."""
    for seed in range(SEEDS):
        for beta in BETAS:
            for variant in RUNS:
                yield Cell(variant, beta, seed, engine)


def quick_study(engine: str) -> list[Cell]:
    """One seed, one weight, three iterations, all methods."""
    return [Cell(variant, 0.0, 0, engine, period=1) for variant in RUNS]
