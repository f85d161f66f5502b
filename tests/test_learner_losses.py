"""One update of each method against a slow computation; micro-batches, skipped updates and rates besides."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from local_learner import build_learner, optimizer_of, same, slow_logps, some_groups, update, weights_of
from tiny_language import save_tiny_model

from rllib_ext.best_of_n.config import BestOfNConfig
from rllib_ext.errors import NonFinite
from rllib_ext.llm.batch import Group
from rllib_ext.llm.learner import LLMLearner
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.llm.schedule import learning_rate
from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig
from rllib_ext.rloo.config import AsyncRLOOConfig

TEMPERATURE = 0.7
METHODS: dict[str, tuple[type, dict[str, Any], int]] = {
    "dpo": (AsyncOnlineDPOConfig, {"beta": 0.3}, 2),
    "ipo": (AsyncOnlineDPOConfig, {"loss": "ipo", "beta": 0.3}, 2),
    "rloo": (AsyncRLOOConfig, {"kl_coefficient": 0.1, "loss": "proximal"}, 3),
    "rloo_vanilla": (AsyncRLOOConfig, {"kl_coefficient": 0.1, "loss": "vanilla"}, 3),
    "best_of_n": (BestOfNConfig, {}, 1),
}
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def learner_of(method: str, folder: str, **settings: Any) -> LLMLearner:
    kind, own, _ = METHODS[method]
    learner = build_learner(kind, folder, **{**own, **settings})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # away from the reference, or half of the formulas would be 0
        for parameter in learner.language_module.model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return learner


def groups_for(method: str, rows: int = 6, seed: int = 0) -> list[Group]:
    return some_groups(rows, METHODS[method][2], seed, unscored=method.startswith("rloo"))


# ----- the losses


def slow_loss(method: str, group: Group, policy: torch.nn.Module, reference: torch.nn.Module) -> float:
    """The loss of one row from its definition, tokens of the environment left out."""
    masks = [torch.as_tensor(c.sampled) for c in group.completions]
    new, old = (
        [
            float((logps * mask).sum())
            for logps, mask in zip(slow_logps(m, group, TEMPERATURE), masks, strict=True)
        ]
        for m in (policy, reference)
    )
    if method == "best_of_n":
        return -new[0]
    if method in ("dpo", "ipo"):
        z = (new[0] - old[0]) - (new[1] - old[1])
        return math.log1p(math.exp(-0.3 * z)) if method == "dpo" else (z - 1 / (2 * 0.3)) ** 2
    behaviour = [float(c.logps.sum()) for c in group.completions]
    scored = [k for k, c in enumerate(group.completions) if c.score is not None]
    rewards = {k: group.completions[k].score - 0.1 * (behaviour[k] - old[k]) for k in scored}
    total = 0.0
    for k in scored:
        others = [rewards[j] for j in scored if j != k]
        advantage = rewards[k] - sum(others) / len(others)
        ratio = math.exp(new[k] - behaviour[k])
        if method == "rloo":
            total -= min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
        else:
            total -= new[k] * advantage
    return total / len(scored)


@every_method
def test_the_loss_is_the_mean_of_the_definitions(method: str, folder: str) -> None:
    learner, groups = learner_of(method, folder), groups_for(method)
    reference = open_causal_lm(folder)
    with torch.no_grad():
        expected = np.mean([slow_loss(method, g, learner.language_module.model, reference) for g in groups])
    metrics = update(learner, groups)
    assert metrics["total_loss"] == pytest.approx(expected, rel=2e-5, abs=2e-5)
    assert learner.updates == 1 and learner.skipped == 0


@every_method
def test_an_update_lowers_its_own_loss(method: str, folder: str) -> None:
    learner, groups = learner_of(method, folder, lr=1e-4, lr_schedule="constant"), groups_for(method)
    losses = [update(learner, groups)["total_loss"] for _ in range(3)]
    assert losses[0] > losses[1] > losses[2]


# ----- micro-batches


@every_method
@pytest.mark.parametrize("pieces", [2, 4, 100])
def test_micro_batches_add_up_to_the_whole(method: str, folder: str, pieces: int) -> None:
    """adam_eps=1 makes the step smooth in the gradient, which a sign would not be."""
    whole, parts = (
        learner_of(method, folder, gradient_accumulation=n, adam_eps=1.0, lr=1.0, max_grad_norm=0.5)
        for n in (1, pieces)
    )
    for number in range(2):
        groups = groups_for(method, rows=7, seed=number)
        seen, again = update(whole, groups, number), update(parts, groups, number)
        for name in seen:
            assert seen[name] == pytest.approx(again[name], rel=1e-4, abs=1e-5, nan_ok=True), name
    assert same(weights_of(whole), weights_of(parts), within=1e-6)
    assert not same(weights_of(whole), weights_of(learner_of(method, folder)), within=1e-6)


# ----- the reference


def test_the_reference_is_asked_once_a_minibatch(folder: str) -> None:
    learner, groups = learner_of("dpo", folder, share_prompts=False), groups_for("dpo")
    calls: list[int] = []
    learner.reference.register_forward_hook(lambda *_: calls.append(learner.updates))
    for minibatch in (1, 2):
        for _ in range(3):
            update(learner, groups, minibatch)
    assert calls == [0, 3], "three passes over each of two mini-batches"
    learner.forget_caches()
    update(learner, groups, 2)
    assert calls == [0, 3, 6], "a restored learner trusts no memory"


def test_the_reference_stays_what_it_was(folder: str) -> None:
    learner, groups = learner_of("dpo", folder), groups_for("dpo")
    before = {name: tensor.clone() for name, tensor in learner.reference.state_dict().items()}
    for _ in range(3):
        update(learner, groups)
    assert same(before, dict(learner.reference.state_dict()))
    assert same(before, dict(open_causal_lm(folder).state_dict()))
    trained = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in learner.language_module.model.parameters()}


# ----- updates that are no numbers


def poison_gradient(learner: LLMLearner) -> Callable[[], None]:
    parameter = next(learner.language_module.model.parameters())
    return parameter.register_hook(lambda gradient: gradient * float("nan")).remove


def poison_loss(learner: LLMLearner) -> Callable[[], None]:
    """An infinite loss with finite gradients."""
    right = learner.per_row_loss

    def wrong(*arguments: Any) -> Any:
        loss, metrics = right(*arguments)
        return loss + float("inf"), metrics

    learner.per_row_loss = wrong
    return lambda: setattr(learner, "per_row_loss", right)


@pytest.mark.fault("D2", tries=3)
@pytest.mark.parametrize("poison", [poison_gradient, poison_loss])
def test_a_non_finite_update_leaves_everything_as_it_was(poison: Callable, folder: str) -> None:
    learner, groups = learner_of("dpo", folder, max_grad_norm=1.0), groups_for("dpo")
    update(learner, groups)
    weights, moments = weights_of(learner), optimizer_of(learner)
    assert moments
    heal = poison(learner)
    for count in range(1, 4):
        update(learner, groups)
        assert (learner.skipped, learner.updates) == (count, 1)
    assert same(weights, weights_of(learner)) and same(moments, optimizer_of(learner))
    heal()
    metrics = update(learner, groups)
    assert (learner.skipped, learner.updates) == (3, 2) and math.isfinite(metrics["grad_norm"])
    assert not same(weights, weights_of(learner))


@pytest.mark.fault("D2")
def test_five_in_a_row_stop_the_run(folder: str) -> None:
    learner, groups = learner_of("rloo", folder), groups_for("rloo")
    for _ in range(2):  # what went well in between starts the count anew
        heal = poison_gradient(learner)
        for _ in range(4):
            update(learner, groups)
        heal()
        update(learner, groups)
    weights = weights_of(learner)
    poison_gradient(learner)
    for _ in range(4):
        update(learner, groups)
    with pytest.raises(NonFinite, match=r"5 updates in a row .* after update 2;"):
        update(learner, groups)
    assert same(weights, weights_of(learner)) and learner.skipped == 13


# ----- rates


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_the_rate_is_set_for_every_update(schedule: str, folder: str) -> None:
    settings = {"lr": 1e-3, "lr_schedule": schedule, "warmup_updates": 2, "total_updates": 6}
    learner, groups = learner_of("best_of_n", folder, **settings), groups_for("best_of_n")
    rates = []
    for number in range(6):
        heal = poison_gradient(learner) if number == 3 else None
        if heal:
            update(learner, groups)
            heal()
        rates.append(update(learner, groups)["lr"])
        assert learner.optimizer.param_groups[0]["lr"] == rates[-1]
    assert rates == [learning_rate(number, learner.config) for number in range(6)]


def test_the_rate_is_the_size_of_the_step(folder: str) -> None:
    """The first step of Adam moves a parameter by the rate, up to epsilon."""
    learner, groups = learner_of("best_of_n", folder, lr=1e-3, total_updates=4), groups_for("best_of_n")
    before = weights_of(learner)
    update(learner, groups)
    moved = max((t - before[name]).abs().max() for name, t in weights_of(learner).items())
    assert moved == pytest.approx(1e-3, rel=1e-2)
