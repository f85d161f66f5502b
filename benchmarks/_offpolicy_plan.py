"""What the off-policyness study runs: cells, and the settings of each (spec A.6, D.2, D.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

UPDATES, COMPLETIONS = (
    128,
    64,
)  # the recommended design of the spec: equal updates and completions for every method
N_VALUES = (1, 2, 4, 8, 16, 64)
LRS = (1e-4, 3e-4, 1e-3)
SEEDS, SEEDS_AT_64 = 5, 8
TUNING_SEEDS = (100, 101)  # seeds that choose a learning rate are not those that are reported
WIDTHS = (32, 48, 96)  # 2 layers each; 48 is the study's own
WIDTH = 48

# Method -> (algorithm, its own settings). One completion a prompt where the published method has it so.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "dpo": ("AsyncOnlineDPO", {"samples_per_prompt": 2, "beta": 0.1}),
    "ppo": ("AsyncPPO", {"samples_per_prompt": 1, "kl_coef": 0.05}),
    "rloo_proximal": ("AsyncRLOO", {"samples_per_prompt": 2, "loss": "proximal", "kl_coefficient": 0.05}),
    "rloo_vanilla": ("AsyncRLOO", {"samples_per_prompt": 2, "loss": "vanilla", "kl_coefficient": 0.05}),
    "best_of_2": ("BestOfN", {"samples_per_prompt": 2}),
}


@dataclass(frozen=True)
class Cell:
    """One training run. study: the part of the study that asks for it; n, k, t: the paper's knobs."""

    study: str
    method: str
    n: int
    seed: int
    lr: float
    width: int = WIDTH
    k: int = 0  # 0: the method's own
    t: int = 1
    schedule: str = "linear"
    updates: int = UPDATES

    @property
    def key(self) -> str:
        return "-".join(str(value) for value in asdict(self).values())

    def settings(self, model: str) -> dict[str, Any]:
        """What the algorithm is configured with, in sync mode: ages are then those of N alone."""
        _, own = METHODS[self.method]
        samples = self.k or own["samples_per_prompt"]
        return {
            **own, "model": model, "mode": "sync", "engine": "hf", "engine_threads": 1, "learner_threads": 1,
            "samples_per_prompt": samples, "prompts_per_minibatch": COMPLETIONS // own["samples_per_prompt"],
            "minibatches_per_generation": self.n, "updates_per_minibatch": self.t, "total_updates": self.updates,
            "lr": self.lr, "lr_schedule": self.schedule, "temperature": 0.7, "missing_eos": "replace",
            "max_prompt_tokens": 40, "max_new_tokens": 10, "evaluation_prompts": 512, "logp_probe": 0,
        }  # fmt: skip


def tuning() -> Iterator[Cell]:
    """A learning rate a method, chosen on policy."""
    for method in METHODS:
        for lr in LRS:
            for seed in TUNING_SEEDS:
                yield Cell("lr", method, 1, seed, lr)


def seeds_of(n: int) -> range:
    return range(SEEDS_AT_64 if n == max(N_VALUES) else SEEDS)


def study(rates: dict[str, float]) -> Iterator[Cell]:
    """Everything that is reported, what matters most first. rates: learning rate of each method."""
    for n in (1, 16, 64, 2, 4, 8):
        for seed in seeds_of(n):
            for method in METHODS:
                yield Cell("n", method, n, seed, rates[method])
    dpo = Cell("", "dpo", 1, 0, rates["dpo"])
    for n in (1, 16, 64):
        for seed in range(SEEDS):
            for width in WIDTHS:
                if width != WIDTH:
                    yield replace(dpo, study="size", n=n, seed=seed, width=width)
    for seed in range(SEEDS):
        for method in ("dpo", "ppo"):
            for n in (16, 64):
                yield Cell("schedule", method, n, seed, rates[method], schedule="linear_by_round")
        yield replace(dpo, study="k", seed=seed, k=4, updates=UPDATES // 2)
        for t in (2, 3):  # equal prompts: T times the updates
            yield replace(dpo, study="t", seed=seed, t=t, updates=UPDATES * t)


def quick_study() -> list[Cell]:
    """Two methods, two N, one seed, few updates."""
    return [Cell("n", method, n, 0, 3e-4, updates=8) for method in ("dpo", "ppo") for n in (1, 4)]
