"""Adapters, half precision and states of a learner: what trains, what is published, what comes back from a save."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from local_learner import build_learner, optimizer_of, same, slow_logps, some_groups, update, weights_of
from ray.rllib.core import COMPONENT_OPTIMIZER, COMPONENT_RL_MODULE
from tiny_language import save_tiny_model

from rllib_ext.errors import BadConfig
from rllib_ext.llm.batch import to_columns
from rllib_ext.llm.forward import completion_logps
from rllib_ext.llm.learner import LLMLearner
from rllib_ext.llm.persistence import learner_state, restore_learner
from rllib_ext.llm.publishing import to_tensors
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.llm.weights import pack, unpack
from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig


@pytest.fixture(scope="module", params=["llama", "gpt_neox"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp(request.param), architecture=request.param)


def trained(folder: str, updates: int = 2, **settings: object) -> LLMLearner:
    learner = build_learner(AsyncOnlineDPOConfig, folder, **settings)
    for number in range(updates):
        update(learner, some_groups(5, 2, seed=number), number)
    return learner


def logps_of(model: torch.nn.Module, temperature: float = 0.7) -> torch.Tensor:
    with torch.no_grad():
        columns = to_tensors(to_columns(some_groups(4, 2, seed=9)), "cpu")
        return completion_logps(model, columns, temperature, share_prompts=True)


# ----- adapters


def test_only_adapters_train(folder: str) -> None:
    learner = build_learner(AsyncOnlineDPOConfig, folder, lora_rank=4)
    before = weights_of(learner)
    for number in range(3):
        update(learner, some_groups(5, 2, seed=number), number)
    after = weights_of(learner)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    adapters = {name for name in before if "lora_" in name}
    assert adapters and moved == adapters
    assert not any("lm_head" in name or "embed_out" in name for name in adapters), "the output layer has none"
    optimised = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert optimised == {id(p) for n, p in learner.language_module.named_parameters() if "lora_" in n}


def test_merged_weights_are_the_adapted_model(folder: str) -> None:
    learner = trained(folder, 3, lora_rank=4, lora_alpha=32.0)
    adapted = learner.language_module.model
    plain = open_causal_lm(folder)
    start = logps_of(plain)
    plain.load_state_dict(unpack(pack(0, learner.language_module.plain_weights())), strict=True)
    assert (logps_of(plain) - logps_of(adapted)).abs().max() < 1e-5
    assert (start - logps_of(adapted)).abs().max() > 1e-3, "training moved it"


def test_the_reference_of_an_adapted_model_is_its_base(folder: str) -> None:
    learner = trained(folder, 2, lora_rank=4)
    columns = to_tensors(to_columns(some_groups(4, 2, seed=9)), "cpu")
    assert learner.reference is None
    base = logps_of(open_causal_lm(folder))  # small products round by how their operands lie in memory
    assert (learner.reference_logps_at(columns, 0.7) - base).abs().max() < 1e-6
    assert (logps_of(learner.language_module.model) - base).abs().max() > 1e-3


def test_adapters_begin_as_the_base_and_by_the_seed(folder: str) -> None:
    states = [weights_of(build_learner(AsyncOnlineDPOConfig, folder, lora_rank=2)) for _ in range(2)]
    assert same(*states)
    fresh = build_learner(AsyncOnlineDPOConfig, folder, lora_rank=2)
    assert (logps_of(fresh.language_module.model) - logps_of(open_causal_lm(folder))).abs().max() < 1e-6


# ----- the module


def test_logps_of_a_padded_batch_are_those_of_single_sequences(folder: str) -> None:
    model, groups = open_causal_lm(folder), some_groups(4, 2, seed=9)
    batch = logps_of(model)
    with torch.no_grad():
        for row, group in enumerate(groups):
            for k, logps in enumerate(slow_logps(model, group, 0.7)):
                assert (batch[row, k, : len(logps)] - logps).abs().max() < 1e-5
                assert not batch[row, k, len(logps) :].any()


@pytest.mark.fault("B5")
@pytest.mark.parametrize("wrong", ["missing", "unexpected", "shape"])
def test_a_state_that_does_not_fit_changes_nothing(folder: str, wrong: str) -> None:
    module = trained(folder, 0).language_module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {name: tensor + 1.0 for name, tensor in before.items()}
    last = list(state)[-1]
    if wrong == "missing":
        del state[last]
    elif wrong == "unexpected":
        state["more"] = torch.zeros(1)
    else:
        state[last] = torch.zeros(3, 3)
    with pytest.raises(BadConfig, match="does not fit the model: 1 tensors differ"):
        module.set_state(state)
    assert same(before, dict(module.state_dict()))


# ----- states, in half precision too


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [0, 2])
def test_module_states_come_back_bit_for_bit(folder: str, dtype: str, rank: int) -> None:
    one, other = (trained(folder, n, dtype=dtype, lora_rank=rank) for n in (2, 0))
    state = pickle.loads(pickle.dumps(one.language_module.get_state()))
    assert {t.dtype for n, t in state.items() if "lora_" not in n} == {getattr(torch, dtype)}
    other.language_module.set_state(state)
    assert same(weights_of(one), weights_of(other))
    kept = one.language_module.get_state()
    update(one, some_groups(5, 2, seed=7), 7)
    assert same(kept, state), "a copy, not a view"


@pytest.mark.fault("B8")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_restored_learner_goes_on_bit_for_bit(folder: str, dtype: str) -> None:
    one, other = (trained(folder, n, dtype=dtype, total_updates=9) for n in (2, 1))
    tensors, state = pickle.loads(pickle.dumps(learner_state(one)))
    restore_learner(other, tensors, state)
    for number in (3, 4):
        update(one, some_groups(5, 2, seed=number), number)
        update(other, some_groups(5, 2, seed=number), number)
    assert same(weights_of(one), weights_of(other)) and same(optimizer_of(one), optimizer_of(other))
    assert one.updates == other.updates == 4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rllibs_own_state_of_a_learner_survives_half_precision(
    folder: str, dtype: str, tmp_path: Path
) -> None:
    """What RLlib's checkpoints hold: taken, pickled, and set again."""
    one, other = (trained(folder, n, dtype=dtype) for n in (2, 1))
    state = pickle.loads(pickle.dumps(one.get_state([COMPONENT_RL_MODULE, COMPONENT_OPTIMIZER])))
    other.set_state(state)
    assert same(weights_of(one), weights_of(other)) and same(optimizer_of(one), optimizer_of(other))
    one.save_to_path(tmp_path)
    third = trained(folder, 0, dtype=dtype)
    third.restore_from_path(tmp_path)
    assert same(weights_of(one), weights_of(third)) and same(optimizer_of(one), optimizer_of(third))
