"""PPO's learner against a slow second implementation; passes, micro-batches, critic, adapters, refusals, states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import plain_ppo
import pytest
import torch
from local_learner import build_learner, same, some_groups, update, weights_of
from ppo_fixture import TEMPERATURE, answer, group, groups_for, once, ppo_learner, save_models
from tiny_language import WORDS

from envs.text import Sample, Task
from rllib_ext.errors import BadConfig
from rllib_ext.llm.batch import to_columns
from rllib_ext.llm.persistence import learner_state, restore_learner
from rllib_ext.llm.publishing import publish, to_tensors
from rllib_ext.llm.reward_head import open_reward_model
from rllib_ext.llm.rewards import RewardModel
from rllib_ext.llm.safety import open_causal_lm, open_tokenizer
from rllib_ext.llm.supervised import run_reward_model
from rllib_ext.ppo_llm.algorithm import AsyncPPO
from rllib_ext.ppo_llm.config import AsyncPPOConfig
from rllib_ext.ppo_llm.learner import PPOLearner


@pytest.fixture(scope="module")
def exact_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Of an architecture whose layers compute in float64 when its weights are float64."""
    return save_models(tmp_path_factory.mktemp("exact"), "gpt_neox")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


def gradients(learner: PPOLearner) -> list[torch.Tensor]:
    return [p.grad.clone() for p in learner.language_module.parameters()]


# ----- the loss


VARIANTS: dict[str, dict[str, Any]] = {
    "as the paper has it": {},
    "no whitening": {"whiten_advantages": False},
    "rewards whitened": {"whiten_rewards": True, "kl_coef": 0.3},
    "no value clip": {"value_clip": None, "value_coef": 0.7},
    "tight clips": {"clip": 0.01, "value_clip": 0.01},
    "discounted": {"gamma": 0.9, "gae_lambda": 0.5},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pieces", [1, 3])
def test_loss_gradient_and_update_are_those_of_the_slow_implementation(
    exact_models: tuple[str, str], variant: str, pieces: int
) -> None:
    """Rows of different lengths, some without a score, some with an environment's tokens; two mini-batches of two passes.

    In float64, where rounding hides nothing. Adam's epsilon of 1 keeps the step smooth in the gradient.
    """
    models = exact_models
    knobs = {"lr": 0.1, "adam_eps": 1.0, "lr_schedule": "constant", **VARIANTS[variant]}
    learner = ppo_learner(models, gradient_accumulation=pieces, **knobs)
    learner.language_module.double()
    learner.reference.double()
    own = ("lr", "adam_eps", "lr_schedule")
    settings = plain_ppo.Settings(**{n: v for n, v in knobs.items() if n not in own})
    policy, reference = (open_causal_lm(models[0]).double() for _ in range(2))
    critic = open_reward_model(models[1]).double()
    policy.load_state_dict(learner.language_module.model.state_dict())
    critic.load_state_dict(learner.language_module.critic.state_dict())
    parameters = [*policy.parameters(), *critic.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.1, eps=1.0, weight_decay=0.0)
    for minibatch in (1, 2):
        groups = groups_for(learner, seed=minibatch)
        rows = plain_ppo.rows_of(groups)
        plain_ppo.prepare(rows, reference, critic, settings)
        for _ in range(2):
            optimizer.zero_grad()
            expected = plain_ppo.loss(rows, policy, critic, settings)
            expected.backward()
            metrics = update(learner, groups, minibatch)
            assert metrics["total_loss"] == pytest.approx(expected.item(), abs=1e-6)
            found = gradients(learner)
            for mine, other in zip(found, parameters, strict=True):
                assert (mine - other.grad).abs().max() < 1e-6
            optimizer.step()
            for mine, other in zip(learner.language_module.parameters(), parameters, strict=True):
                assert (mine - other).abs().max() < 1e-6
    assert learner.updates == 4


def test_both_clips_bite_in_that_comparison(models: tuple[str, str]) -> None:
    """Else it would prove little about them."""
    learner = ppo_learner(models, clip=0.05, value_clip=0.01, lr=3e-3, lr_schedule="constant")
    groups = groups_for(learner)
    metrics = [update(learner, groups) for _ in range(3)][-1]
    assert 0.05 < metrics["policy_clip_share"] < 0.95 and 0.05 < metrics["value_clip_share"] < 0.95
    assert metrics["ratio_var"] > 0


@pytest.mark.parametrize("pieces", [2, 4, 100])
def test_micro_batches_add_up_to_the_whole(models: tuple[str, str], pieces: int) -> None:
    """Rows of unequal length in unequal pieces: statistics and means are those of the whole mini-batch."""
    whole, parts = (
        ppo_learner(models, gradient_accumulation=n, adam_eps=1.0, lr=1.0, max_grad_norm=0.5)
        for n in (1, pieces)
    )
    for number in (1, 2):
        groups = groups_for(whole, rows=7, seed=number)
        seen, again = update(whole, groups, number), update(parts, groups, number)
        for name in seen:
            assert seen[name] == pytest.approx(again[name], rel=1e-4, abs=1e-5, nan_ok=True), name
    assert same(weights_of(whole), weights_of(parts), within=1e-6)


def test_unscored_completions_change_nothing(models: tuple[str, str]) -> None:
    """Beside a scored sibling they are padding: the update is the one without them."""
    learners = [ppo_learner(models, adam_eps=1.0) for _ in range(2)]
    full = groups_for(learners[0], rows=4, kept=2, unscored=False)
    lone = [g.keep([0]) for g in full]
    blank = [AsyncPPO.rows_of(_of(2), [g])[0] for g in lone]
    assert [[c.score is None for c in g.completions] for g in blank] == [[False, True]] * 4
    first, second = update(learners[0], lone), update(learners[1], blank)
    assert first["total_loss"] == pytest.approx(second["total_loss"], abs=1e-6)
    assert same(weights_of(learners[0]), weights_of(learners[1]), within=1e-6)


def _of(samples: int) -> Any:
    """As much of an algorithm as ``rows_of`` reads."""
    from types import SimpleNamespace

    return SimpleNamespace(config=SimpleNamespace(samples_per_prompt=samples))


def test_a_group_without_any_score_is_left_out() -> None:
    groups = [group(answer([1], None), answer([2], None)), group(answer([1], 0.0), answer([2], None))]
    assert AsyncPPO.rows_of(_of(2), groups) == [None, groups[1]]


# ----- once per mini-batch


def test_targets_are_made_once_for_all_passes(models: tuple[str, str]) -> None:
    learner = ppo_learner(models)
    groups = groups_for(learner)
    calls: list[str] = []
    learner.reference.register_forward_hook(lambda *_: calls.append("reference"))
    learner.language_module.critic.base_model.register_forward_hook(lambda *_: calls.append("critic"))
    first = dict(once(learner, groups))
    update(learner, groups)
    assert all(torch.equal(first[name], tensor) for name, tensor in learner._cached[1].items())
    assert calls.count("reference") == 2, "a prompt's part and a completion's"
    assert calls.count("critic") == 4, "one forward a pass: the old values are those of the first"
    other = once(learner, groups, minibatch=2)
    assert not torch.equal(first["old_values"], other["old_values"]), "by then the critic has moved"


def test_recomputed_log_probabilities_are_those_of_the_rounds_start(models: tuple[str, str]) -> None:
    """N = 2: the second mini-batch is compared with the policy before the first one's updates."""
    learner = ppo_learner(models, old_logps="recompute", minibatches_per_generation=2, lr_schedule="constant")
    groups = groups_for(learner, noise=0.5, unscored=False)
    start = open_causal_lm(models[0])
    start.load_state_dict(learner.language_module.model.state_dict())
    assert update(learner, groups, 1)["ratio"] == pytest.approx(1.0, abs=1e-5)
    second = update(learner, groups, 2)
    assert second["ratio_var"] > 1e-6, "the first mini-batch has moved the policy"
    old = learner._cached[1]["old_logps"]
    for row, (g, logps) in enumerate((g, plain_logps(start, g)) for g in groups):
        for k, c in enumerate(g.completions):
            assert np.allclose(old[row, k, : len(c.ids)], logps[k], atol=1e-5)
    assert update(learner, groups, 3)["ratio"] == pytest.approx(1.0, abs=1e-5), "a new round"


def plain_logps(model: torch.nn.Module, g: Any) -> list[np.ndarray]:
    with torch.no_grad():
        return [plain_ppo.logps(model, row, TEMPERATURE).numpy() for row in plain_ppo.rows_of([g])]


@pytest.mark.parametrize("old", ["behaviour", "recompute"])
def test_truncated_weights_bound_the_ratio_of_stale_samples(models: tuple[str, str], old: str) -> None:
    """Behaviour far away: ratio times weight never passes the cap, and losses are those of the definition."""
    settings = {"staleness_correction": "truncated", "truncation_cap": 1.5, "old_logps": old, "clip": 0.2}
    learner = ppo_learner(models, whiten_advantages=False, **settings)
    groups = groups_for(learner, noise=1.0, unscored=False)
    metrics = update(learner, groups)
    kept = learner._cached[1]
    now = torch.cat([torch.as_tensor(x) for g in groups for x in plain_logps_before(models, g)])
    behaviour = torch.cat([torch.as_tensor(c.logps) for g in groups for c in g.completions])
    sampled = torch.cat([torch.as_tensor(c.sampled) for g in groups for c in g.completions]) > 0
    advantage = kept["advantages"][
        to_tensors(to_columns(groups), "cpu")["token_mask"][..., : kept["advantages"].shape[-1]] > 0
    ]
    ratio = torch.exp(now - behaviour)
    if (
        old == "recompute"
    ):  # pi_old is the present policy: its own ratio is 1, and the weight carries the correction
        expected = -(advantage * ratio.clamp(max=1.5))
    else:
        weight = ratio.clamp(max=1.5) / ratio
        expected = weight * torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2))
    assert metrics["policy_loss"] == pytest.approx(float(expected[sampled].mean()), abs=1e-5)
    assert metrics["importance_weight"] <= 1.5


def plain_logps_before(models: tuple[str, str], g: Any) -> list[np.ndarray]:
    """Under the learner's policy before its update, which ``ppo_learner`` makes anew alike."""
    return plain_logps(ppo_learner(models).language_module.model, g)


# ----- the critic


@pytest.fixture(scope="module")
def trained_reward_model(models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder that ``run_reward_model`` wrote, with the bias of normalisation."""
    pairs = [(f"copy: w{i}", f"w{i} w{i}", f"w{i + 1}") for i in range(16)]
    report = run_reward_model(
        model_folder=models[0],
        pairs=pairs,
        output_folder=tmp_path_factory.mktemp("trained") / "reward",
        references=[(prompt, chosen) for prompt, chosen, _ in pairs],
        max_steps=2,
        batch_size=8,
        lr=1e-3,
        device="cpu",
    )
    assert report.bias != 0
    return report.folder


@pytest.mark.parametrize("share", [True, False])
def test_the_critic_begins_as_the_reward_model(
    models: tuple[str, str], trained_reward_model: str, share: bool
) -> None:
    """V after the last token of a left-padded prompt's completion is the score that RewardModel gives the text."""
    learner = ppo_learner(models, moved=0.0, share_prompts=share, value_model=trained_reward_model)
    tokenizer = open_tokenizer(models[0])
    texts = [("copy: w3 w21", "w3 w3"), ("copy: w7", "w1 w2 w3 w4 w5"), ("w1 w1 w1 w1 copy:", "w9")]
    groups = []
    for index, (prompt, completion) in enumerate(texts):
        ids = [tokenizer.encode(text, add_special_tokens=False) for text in (prompt, completion)]
        done = answer([*ids[1], tokenizer.eos_token_id])
        groups.append(group(done, answer([1, tokenizer.eos_token_id]), prompt=ids[0], index=index))
    with torch.no_grad():
        values = learner.language_module.values(to_tensors(to_columns(groups), "cpu"))
    scores = RewardModel(trained_reward_model).score(
        [Sample(Task("x", prompt), text, (text,)) for prompt, text in texts]
    )
    for row, score in enumerate(scores):
        length = len(groups[row].completions[0].ids)
        assert float(values[row, 0, length]) == pytest.approx(score, abs=1e-5)
    assert len(set(scores)) == 3


def test_without_a_value_model_the_critic_is_the_backbone_under_zeros(models: tuple[str, str]) -> None:
    learner = ppo_learner(models, moved=0.0, value_model=None)
    critic = learner.language_module.critic
    assert not critic.score.weight.any() and not critic.score.bias.any()
    trained = learner.language_module.model.model.state_dict()
    assert same(dict(critic.base_model.state_dict()), dict(trained))
    assert critic.base_model is not learner.language_module.model.model, "no parameter is shared"
    kept = once(learner, groups_for(learner))
    assert not kept["old_values"].any()


@pytest.mark.parametrize("wrong", ["vocabulary", "kind"])
def test_a_value_model_that_does_not_fit_is_refused(
    models: tuple[str, str], wrong: str, tmp_path: Path
) -> None:
    folder = models[0]
    if wrong == "vocabulary":
        from ppo_fixture import save_reward_model

        from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer

        tokenizer = word_tokenizer(["other", *WORDS])
        config = causal_lm_config(tokenizer, hidden=32, layers=1, heads=1, max_length=64)
        folder = save_reward_model(
            tmp_path / "r", str(save_model(build_causal_lm(config, 0), tokenizer, tmp_path / "p"))
        )
    match = "another vocabulary" if wrong == "vocabulary" else "lacks 1 parameters"
    with pytest.raises(BadConfig, match=match):
        build_learner(AsyncPPOConfig, models[0], value_model=folder)


def test_only_the_policy_is_published(models: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    learner = ppo_learner(models)
    update(learner, groups_for(learner))
    stored: list[Any] = []
    monkeypatch.setattr("rllib_ext.llm.publishing.ray.put", stored.append)
    publish(learner, keep=0)
    assert stored[0].arrays.keys() | stored[0].aliases.keys() == open_causal_lm(models[0]).state_dict().keys()


# ----- optimizer, adapters, half precision, states


def test_the_critic_may_have_a_rate_of_its_own(models: tuple[str, str]) -> None:
    learner = ppo_learner(models, lr=1e-3, value_lr=4e-3, total_updates=4)
    before = weights_of(learner)
    metrics = update(learner, groups_for(learner))
    assert (metrics["lr"], metrics["value_lr"]) == (1e-3, 4e-3)
    moved = {name: float((t - before[name]).abs().max()) for name, t in weights_of(learner).items()}
    for part, rate in (("model.", 1e-3), ("critic.", 4e-3)):
        assert max(v for n, v in moved.items() if n.startswith(part)) == pytest.approx(rate, rel=0.02)
    assert update(learner, groups_for(learner), 2)["value_lr"] == pytest.approx(3e-3)
    frozen = ppo_learner(models, value_lr=0.0)
    update(frozen, groups_for(frozen))
    assert same(
        weights_of(frozen),
        {n: t if n.startswith("critic.") else weights_of(frozen)[n] for n, t in before.items()},
    )


def test_adapters_are_the_policys_alone(models: tuple[str, str]) -> None:
    pytest.importorskip("peft")
    learner = build_learner(AsyncPPOConfig, models[0], value_model=models[1], lora_rank=4, max_new_tokens=8)
    before = weights_of(learner)
    for number in (1, 2, 3):
        update(learner, some_groups(4, 2, seed=number), number)
    moved = {n for n, t in weights_of(learner).items() if not torch.equal(t, before[n])}
    assert {n for n in moved if n.startswith("model.")} == {n for n in before if "lora_" in n}
    assert {n for n in moved if n.startswith("critic.")} == {n for n in before if n.startswith("critic.")}


def test_bfloat16_trains_both(models: tuple[str, str]) -> None:
    learner = build_learner(
        AsyncPPOConfig, models[0], value_model=models[1], dtype="bfloat16", max_new_tokens=8
    )
    before = weights_of(learner)
    metrics = update(learner, groups_for(learner))
    assert {t.dtype for t in before.values()} == {torch.bfloat16} and np.isfinite(metrics["total_loss"])
    moved = {n.split(".")[0] for n, t in weights_of(learner).items() if not torch.equal(t, before[n])}
    assert moved == {"model", "critic"}


def test_a_restored_learner_goes_on_bit_for_bit(models: tuple[str, str]) -> None:
    one, other = ppo_learner(models, total_updates=9), ppo_learner(models, moved=0.1, total_updates=9)
    for number in (1, 2):
        update(one, groups_for(one, seed=number), number)
    tensors, state = learner_state(one)
    assert set(tensors) == {"model", "critic", "optimizer", "reference", "rng"}
    assert all(name.startswith("model.") for name in tensors["model"]), (
        "what an export reads is the policy alone"
    )
    restore_learner(other, {g: {n: t.clone() for n, t in ts.items()} for g, ts in tensors.items()}, state)
    groups = groups_for(one, seed=3)
    seen, again = update(one, groups, 3), update(other, groups, 3)
    for name in ("total_loss", "grad_norm", "lr", "value_lr", "kl_ref", "explained_variance"):
        assert seen[name] == again[name], name
    assert same(weights_of(one), weights_of(other))


# ----- refusals


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"gamma": 1.5}, r"gamma is 1.5"), ({"gae_lambda": -0.1}, "gae_lambda"), ({"clip": 2}, "clip is 2"),
        ({"value_clip": 0.0}, "value_clip"), ({"kl_estimator": "k4"}, "kl_estimator"), ({"old_logps": "x"}, "old_logps"),
        ({"kl_after_eos": True, "max_turns": 2}, "kl_after_eos is True with max_turns=2"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(BadConfig, match=match):
        AsyncPPOConfig().environment("TLDR").training(model="m", **settings).validate()
