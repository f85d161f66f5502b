"""The learner's forward pass: a prompt computed once for its completions is the same function, values and gradients."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from local_learner import build_learner, some_groups, update, weights_of
from tiny_language import save_tiny_model

from rllib_ext.llm.batch import to_columns
from rllib_ext.llm.forward import completion_logps, sharing_fault
from rllib_ext.llm.publishing import to_tensors
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig


@pytest.fixture(scope="module", params=["llama", "gpt_neox"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp(request.param), architecture=request.param)


def batch_of(kept: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    return to_tensors(to_columns(some_groups(5, kept, seed=seed)), "cpu")


def gradients(model: torch.nn.Module, batch: dict[str, torch.Tensor], share: bool) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    logps = completion_logps(model, batch, 0.7, share_prompts=share)
    weights = torch.linspace(-1, 1, logps.numel(), dtype=logps.dtype).reshape(logps.shape)
    (weights * logps).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@settings(max_examples=8, deadline=None)
@given(kept=st.integers(1, 4), seed=st.integers(0, 1000))
def test_shared_prompts_give_the_same_values_and_gradients(folder: str, kept: int, seed: int) -> None:
    model, batch = open_causal_lm(folder), batch_of(kept, seed)
    with torch.no_grad():
        shared, separate = (completion_logps(model, batch, 0.7, share_prompts=on) for on in (True, False))
    assert torch.allclose(shared, separate, atol=1e-5)
    mine, plain = gradients(model, batch, True), gradients(model, batch, False)
    scale = max(float(g.abs().max()) for g in plain.values())
    assert all(torch.allclose(mine[name], plain[name], atol=1e-5 * scale) for name in plain)


def test_one_token_completions(folder: str) -> None:
    model, batch = open_causal_lm(folder), batch_of()
    short = {
        name: value[..., :1] if name in ("token_ids", "token_mask") else value
        for name, value in batch.items()
    }
    with torch.no_grad():
        shared, separate = (completion_logps(model, short, 1.0, share_prompts=on) for on in (True, False))
        whole = completion_logps(model, batch, 1.0)
    assert torch.allclose(shared, separate, atol=1e-5)
    assert torch.allclose(shared, whole[..., :1], atol=1e-5), "later tokens do not reach back"


def test_architectures_are_tried(folder: str) -> None:
    assert sharing_fault(open_causal_lm(folder)) is None


class WithoutCache(torch.nn.Module):
    """A language model whose answer has no key-value cache to continue."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(11, 11)
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=11))

    def forward(self, input_ids: torch.Tensor, logits_to_keep: int = 0, **_: object) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table(input_ids)[:, -logits_to_keep:], past_key_values=None)


class WithAnIgnoredCache(WithoutCache):
    """It takes a cache and forgets it: its answers depend on how much of the text came in this call."""

    def forward(self, input_ids: torch.Tensor, logits_to_keep: int = 0, **_: object) -> SimpleNamespace:
        seen = self.table(input_ids).cumsum(1)[:, -logits_to_keep:]
        return SimpleNamespace(
            logits=seen, past_key_values=SimpleNamespace(batch_repeat_interleave=lambda k: None)
        )


def test_a_model_that_cannot_share_says_why() -> None:
    assert "cannot be continued" in sharing_fault(WithoutCache())
    assert "nats" in sharing_fault(WithAnIgnoredCache())


def test_a_learner_may_be_told_not_to_share(folder: str) -> None:
    learners = [  # an epsilon this large makes Adam's step proportional to the gradient, so that rounding stays rounding
        build_learner(AsyncOnlineDPOConfig, folder, share_prompts=share, adam_eps=1.0)
        for share in (True, False)
    ]
    assert [learner.language_module.share_prompts for learner in learners] == [True, False]
    for learner in learners:
        update(learner, some_groups(5, 2, seed=0), 0)
    shared, plain = map(weights_of, learners)
    assert all(torch.allclose(shared[name], plain[name], atol=1e-6) for name in plain)
