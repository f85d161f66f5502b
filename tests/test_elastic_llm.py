"""Elastic Reset on the language-model learners, in the test's own process: tests 2, 7, 11, 12 and 14 of the battery."""

from __future__ import annotations

import copy

import pytest
import torch
from elastic_fixture import MODULE, equal
from local_learner import build_learner, same, some_groups, update, weights_of
from ppo_fixture import NEW_TOKENS, save_models

from rllib_ext.elastic_reset.llm import ElasticResetAsyncOnlineDPOConfig, ElasticResetAsyncPPOConfig
from rllib_ext.errors import BadConfig
from rllib_ext.functional.elastic import snapshot
from rllib_ext.llm.persistence import learner_state, restore_learner
from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig
from rllib_ext.ppo_llm.config import AsyncPPOConfig


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


def ppo(models, kind=ElasticResetAsyncPPOConfig, **settings):
    sizes = {"max_new_tokens": NEW_TOKENS, "max_prompt_tokens": 16, "samples_per_prompt": 1}
    return build_learner(
        kind, models[0], value_model=models[1], prompts_per_minibatch=4, **{**sizes, **settings}
    )


def rounds(learner, count: int, start: int = 0) -> None:
    """Generation rounds of one mini-batch each; a reset that became due is done before the next."""
    for number in range(start, start + count):
        if hasattr(learner, "reset_if_due"):
            learner.reset_if_due()
        kept = 2 if isinstance(learner.config, AsyncOnlineDPOConfig) else 1
        update(learner, some_groups(4, kept, seed=number), number + 1)
        if hasattr(learner, "end_iteration"):
            learner.end_iteration(4 * (number + 1))


@pytest.mark.parametrize(
    ("base", "elastic"),
    [(AsyncPPOConfig, ElasticResetAsyncPPOConfig), (AsyncOnlineDPOConfig, ElasticResetAsyncOnlineDPOConfig)],
)
def test_02_without_resets_both_methods_train_as_their_base_does(models, base, elastic) -> None:
    states = []
    for kind, more in ((base, {}), (elastic, {"reset_every": None, "ema_unit": "grad_steps"})):
        learner = (
            ppo(models, kind, **more) if base is AsyncPPOConfig else build_learner(kind, models[0], **more)
        )
        rounds(learner, 3)
        states.append(weights_of(learner))
    assert same(*states)


def test_03_06_a_reset_of_the_policy_leaves_critic_and_optimizer(models) -> None:
    learner = ppo(models, reset_every=2, ema_decay=0.5)
    rounds(learner, 2)
    elastic = learner.elastic[MODULE]
    before, average = weights_of(learner), snapshot(elastic.ema)
    moments = snapshot(
        {f"{p}.{n}": t for p, s in learner.optimizer.state_dict()["state"].items() for n, t in s.items()}
    )
    assert learner.reset_if_due()
    after = weights_of(learner)
    assert average and all(name.startswith("model.") for name in average)
    assert equal({name: after[name] for name in average}, average)
    assert equal(elastic.ema, elastic.init)
    assert all(torch.equal(after[n], before[n]) for n in after if n.startswith("critic."))
    again = {f"{p}.{n}": t for p, s in learner.optimizer.state_dict()["state"].items() for n, t in s.items()}
    assert equal(again, moments)


def test_07_under_adapters_only_they_are_averaged_and_reset(models) -> None:
    pytest.importorskip("peft")
    learner = ppo(models, lora_rank=2, reset_every=2, variant="reset_to_init")
    first = weights_of(learner)
    rounds(learner, 2)
    elastic = learner.elastic[MODULE]
    assert elastic.init and all("lora_" in name for name in elastic.init)
    moved = weights_of(learner)
    learner.reset_if_due()
    after = weights_of(learner)
    assert not same(moved, after)
    for name, tensor in after.items():
        assert torch.equal(tensor, moved[name] if name.startswith("critic.") else first[name]), name


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_11_the_average_as_anchor_moves_with_its_ticks_and_evaluations_do_not(models, lora_rank) -> None:
    learner = ppo(
        models, variant="reset_to_ema", reset_every=2, ema_decay=0.5, kl_anchor="ema", lora_rank=lora_rank
    )
    groups = some_groups(4, 1, seed=9)
    rounds(learner, 2)
    learner.reset_if_due()
    online = weights_of(learner)
    update(learner, groups, 9)
    columns = learner._cached[1]
    batch = {name: columns[name] for name in ("reference_logps",)}
    learner.language_module.set_state(online)
    update_columns = _columns(groups)
    own = learner.language_module.logps(learner.language_module.model, update_columns, 0.7)
    mask = update_columns["token_mask"] != 0
    torch.testing.assert_close(
        batch["reference_logps"][mask[..., : batch["reference_logps"].shape[-1]]], own[mask]
    )
    first = learner.reference_logps_at(update_columns, 0.7)
    assert (first - own)[mask].abs().max() > 1e-5, "evaluations measure from the initial weights"


def _columns(groups) -> dict[str, torch.Tensor]:
    from rllib_ext.llm.batch import to_columns

    return {name: torch.as_tensor(value) for name, value in to_columns(groups).items()}


def test_12_the_controller_moves_the_weight_that_the_rewards_see(models) -> None:
    learner = ppo(models, kl_beta=0.2, kl_controller="rl4lms", kl_beta_target=1e3)
    assert learner.kl_coef == 0.2
    rounds(learner, 1)
    assert learner.kl_coef == pytest.approx(0.2 * 0.98)
    assert "kl_episode" in learner.elastic_status()
    assert ppo(models, kl_coef=0.3).kl_coef == 0.3


def test_12_a_penalty_of_another_weight_changes_the_update(models) -> None:
    states = []
    for beta in (0.0, 5.0):
        learner = ppo(models, kl_beta=beta)
        with torch.no_grad():
            for parameter in learner.language_module.model.parameters():
                parameter.mul_(1.1)
        rounds(learner, 1)
        states.append(weights_of(learner))
    assert not same(*states)


def test_inner_epochs_and_rounds_without_an_update(models) -> None:
    learner = ppo(models, minibatches_per_generation=2, ema_unit="inner_epoch", ema_decay=0.9)
    for number in range(4):
        update(learner, some_groups(4, 1, seed=number), number + 1)
    learner.end_iteration(8)
    learner.end_iteration(12)  # nothing was learnt since
    counts = learner.elastic[MODULE].counts
    assert (counts["grad_steps"], counts["inner_epoch"], counts["iteration"], counts["env_steps"]) == (
        4,
        2,
        1,
        8,
    )
    assert learner.elastic_status()["init_weight_fraction"] == pytest.approx(0.81)


@pytest.mark.fault("B8")
def test_08_a_checkpoint_in_the_middle_of_a_cycle_goes_on_to_the_same_bits(models) -> None:
    settings = {
        "reset_every": 3,
        "ema_decay": 0.5,
        "kl_beta": 0.1,
        "kl_controller": "rl4lms",
        "kl_beta_target": 9.0,
    }
    settings |= {"export": "best_pre_reset", "reset_critic": True}
    whole = ppo(models, **settings)
    rounds(whole, 5)
    whole.best[MODULE] = (1.5, snapshot(whole.weights_of(MODULE)))
    tensors, state = copy.deepcopy(learner_state(whole))
    assert {"model", "critic", "ema", "init", "critic_init", "best_pre_reset"} <= tensors.keys()
    resumed = ppo(models, **settings)
    restore_learner(resumed, tensors, state)
    for learner in (whole, resumed):
        rounds(learner, 6, start=5)
    assert same(weights_of(whole), weights_of(resumed))
    left, right = whole.elastic_state()[MODULE], resumed.elastic_state()[MODULE]
    assert left["counts"] == right["counts"] and left["counts"]["resets"] == 3
    assert left["beta"] == right["beta"] != 0.1
    assert equal(left["ema"], right["ema"]) and equal(left["init"], right["init"])
    assert left["best"][0] == right["best"][0] == 1.5


def test_14_tied_embeddings_are_averaged_once(models) -> None:
    learner = ppo(models, reset_every=1, ema_decay=0.25)
    model = learner.language_module.model
    model.get_output_embeddings().weight = model.get_input_embeddings().weight
    names = [n for n in learner.weights_of(MODULE) if "embed" in n or "lm_head" in n]
    assert len(names) == 1


def test_dpo_has_no_penalty_to_control() -> None:
    with pytest.raises(Exception, match="kl_controller"):
        ElasticResetAsyncOnlineDPOConfig().training(kl_controller="trl")
    config = ElasticResetAsyncPPOConfig().environment("TLDR").training(model="x", kl_controller="trl")
    with pytest.raises(BadConfig, match="set kl_beta_target"):
        config.validate()


def test_13_the_policys_perplexity_of_human_text(models) -> None:
    """exp of the mean negative log-likelihood of a text that fits one window; a longer text is cut at ``tokens``."""
    from rllib_ext.llm.reference_text import policy_perplexity
    from rllib_ext.llm.safety import open_tokenizer

    learner = ppo(models)
    text = " ".join(f"w{i % 37}" for i in range(200))
    ids = open_tokenizer(models[0])(text, add_special_tokens=False, return_tensors="pt").input_ids[:, :30]
    logps = torch.log_softmax(learner.language_module.model(input_ids=ids).logits[0, :-1].float(), -1)
    exact = logps.gather(1, ids[0, 1:, None]).double().mean()
    assert policy_perplexity(learner, text, 30) == pytest.approx(exact.neg().exp().item(), rel=1e-5)
    assert policy_perplexity(learner, text, 190) > 1  # several windows of the model's 64 positions
