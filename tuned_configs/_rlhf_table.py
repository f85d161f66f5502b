"""What ``rlhf_pipeline`` says at its end: held-out figures of the policy before and after PPO, with standard errors.

The gold rule is the judge. A win is a gold reward strictly above that of the prompt's noisy reference. The headline is
near greedy (temperature 0.01, as in both papers); the ``sampled`` figures are of the tempered policy, which is the one
that PPO trains and whose KL is given. All are on the same prompts, so the gain has a standard error of its own: that of
the differences, prompt by prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envs.text.controlled_gold import gold_reward
from envs.text.demonstrations import Demonstration
from envs.text.rewards import RougeL
from envs.text.task import Sample, Task
from rllib_ext.analysis.judging import Contest, Verdicts

MISSING_EOS = -1.0  # gold reward of a summary that does not stop
GREEDY = 0.01


@dataclass(frozen=True)
class HeldOut:
    """One policy at one temperature, prompt by prompt. found: ``PolicySample`` each."""

    found: tuple[Any, ...]
    gold: tuple[float, ...]
    wins: tuple[bool, ...]
    rouge: tuple[float, ...]
    verdicts: Verdicts


def table_of(pipeline: Any, sft: dict[str, Any], reward_model: dict[str, Any]) -> dict[str, Any]:
    """The table; ``sft`` and ``reward_model`` are what these stages left."""
    tasks = pipeline.demonstrations("validation", pipeline.scale.evaluation_prompts)
    tempered = pipeline.policy["temperature"]
    before, after = (held_out(pipeline, stage, tasks, GREEDY) for stage in ("sft", "ppo"))
    loose_before, loose_after = (held_out(pipeline, stage, tasks, tempered) for stage in ("sft", "ppo"))
    kl, kl_se = divergence(pipeline, "ppo", loose_after)
    gains = [new - old for new, old in zip(after.wins, before.wins, strict=True)]
    return {
        "rouge_l": mean(before.rouge),
        "rm_accuracy": reward_model["metrics"]["accuracy"],
        "rm_reference_mean": reward_model["metrics"]["reference_mean"],
        "gold_win_rate_before": mean(before.wins),
        "gold_win_rate_after": mean(after.wins),
        "gold_win_rate_se": [standard_error(before.wins), standard_error(after.wins)],
        "gold_win_rate_gain": mean(gains),
        "gold_win_rate_gain_se": standard_error(gains),
        "kl": kl,
        "kl_se": kl_se,
        "gold_win_rate_sampled_before": mean(loose_before.wins),
        "gold_win_rate_sampled_after": mean(loose_after.wins),
        "win_rate_at_equal_length_before": before.verdicts.length_controlled.value,
        "win_rate_at_equal_length_after": after.verdicts.length_controlled.value,
        "gold_reward_before": mean(before.gold),
        "gold_reward_after": mean(after.gold),
        "rouge_l_after": mean(after.rouge),
        "sft_loss": sft["metrics"].get("eval_loss"),
        "algorithm": pipeline.algorithm,
        "engine": pipeline.policy["engine"],
        "prompts": len(tasks),
    }


def held_out(pipeline: Any, stage: str, tasks: Sequence[Demonstration], temperature: float) -> HeldOut:
    """One summary of every task by the model of ``stage``."""
    stream = "evaluation" if temperature == GREEDY else "tempered evaluation"
    prompts = [task.prompt for task in tasks]
    groups = pipeline.samples(stage, prompts, samples=1, temperature=temperature, stream=stream)
    found = tuple(group[0] for group in groups)
    gold = tuple(gold_reward(item.prompt, item.text) if item.finished else MISSING_EOS for item in found)
    references = [gold_reward(task.prompt, task.completion) for task in tasks]
    samples = [
        Sample(Task(str(place), task.prompt, task.completion), item.text)
        for place, (task, item) in enumerate(zip(tasks, found, strict=True))
    ]
    wins = tuple(score > reference for score, reference in zip(gold, references, strict=True))
    contests = tuple(
        Contest(task.prompt, item.text, task.completion) for task, item in zip(tasks, found, strict=True)
    )
    rouge = tuple(score or 0.0 for score in RougeL().score(samples))
    return HeldOut(found, gold, wins, rouge, Verdicts(wins, contests))


def divergence(pipeline: Any, stage: str, tempered: HeldOut) -> tuple[float, float]:
    """Sampled KL of the model of ``stage`` to the SFT model, nats a completion, and its standard error."""
    from rllib_ext.llm.policy_samples import log_ratios

    models = (pipeline.model_folder(name) for name in (stage, "sft"))
    ratios = log_ratios(*models, tempered.found, temperature=pipeline.policy["temperature"])
    return mean(ratios), standard_error(ratios)


def mean(values: Sequence[float]) -> float:
    """The plain mean; 0 of nothing would hide a mistake, so nothing has none."""
    return sum(values) / len(values)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of independent values; NaN for fewer than two."""
    if len(values) < 2:
        return math.nan
    middle = mean(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1) / len(values))
