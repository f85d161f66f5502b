"""The small runs that the gates are measured on: BenchWords, a model of a hundred thousand parameters, the Hugging Face
engine (it starts in a second and draws the same tokens for the same seed), and what a gate's answer looks like."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from benchmarks._meter import MeteredDPO, MeteredRunner
from benchmarks._tasks import WORDS, register_words, words_model
from rllib_ext import AsyncOnlineDPOConfig
from rllib_ext.llm.requests import Rollout

VOCABULARY = 256


@dataclass(frozen=True)
class Gate:
    """One gate: the measured value and its limit, in ``unit``; ``passed`` where value <= limit and nothing else broke."""

    gate: str
    claim: str
    value: float
    limit: float
    unit: str
    passed: bool
    details: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        return asdict(self)


class StampedDPO(MeteredDPO):
    """Keeps every sample's version stamp beside the version that the worker says it served."""

    def setup(self, config: Any) -> None:
        self.stamps: list[tuple[Any, int]] = []
        super().setup(config)

    def admit(self, rollouts: list[Rollout]) -> list[Any]:
        for rollout in rollouts:
            self.stamps += [(item.version, rollout.version) for item in rollout.played]
        return super().admit(rollouts)


def small_config(mode: str, updates: int, **knobs: Any) -> AsyncOnlineDPOConfig:
    """The config of ``updates`` updates; ``knobs`` over the defaults below."""
    register_words()
    size = {"prompt_tokens": 32, "new_tokens": 24, "prompts": 64, "hidden": 64, "layers": 2, "heads": 2}
    size |= {name: knobs.pop(name) for name in tuple(knobs) if name in size}
    model = words_model(
        vocabulary=VOCABULARY, hidden=size["hidden"], layers=size["layers"], heads=size["heads"],
        max_length=size["prompt_tokens"] + size["new_tokens"] + 8,
    )  # fmt: skip
    defaults = {
        "engine": "hf", "engine_threads": 1, "learner_threads": 1, "lr": 1e-3, "temperature": 0.7, "missing_eos": "keep",
        "max_prompt_tokens": size["prompt_tokens"], "max_new_tokens": size["new_tokens"], "total_updates": updates,
        "prompts_per_minibatch": size["prompts"],
    }  # fmt: skip
    env_config = {"prompt_tokens": size["prompt_tokens"], "vocabulary": VOCABULARY, "count": 4096}
    return (
        AsyncOnlineDPOConfig(algo_class=StampedDPO)
        .environment(WORDS, env_config=env_config)
        .env_runners(env_runner_cls=MeteredRunner)
        .debugging(seed=0)
        .training(model=model, mode=mode, **defaults | knobs)
        .evaluation(evaluation_interval=None)
    )


def small_run(mode: str, updates: int, **knobs: Any) -> StampedDPO:
    """The algorithm of ``small_config``."""
    return small_config(mode, updates, **knobs).build_algo()


def policy_of(algorithm: StampedDPO) -> dict[str, torch.Tensor]:
    """A copy of the policy's weights."""
    return algorithm.on_learner(
        lambda learner, **_: {k: v.clone() for k, v in learner.language_module.plain_weights().items()}
    )


def distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """The largest difference of a weight; 0 says that the two are equal bit for bit, unless a NaN hides in them."""
    return max(float((first[name] - second[name]).abs().max()) for name in first)
