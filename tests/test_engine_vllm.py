"""The real engine: vLLM in the rollout worker. One engine serves every test here, because it takes long to start."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from engine_fixture import running, tiny_config
from tiny_language import save_tiny_model

from rllib_ext.llm.engine import Generated, Refused, Sampling
from rllib_ext.llm.engine_hf import HFEngine
from rllib_ext.llm.safety import open_causal_lm, open_tokenizer
from rllib_ext.llm.weights import pack

pytest.importorskip("vllm")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(model):
    from rllib_ext.llm.engine_vllm import VLLMEngine

    vllm = VLLMEngine(model, context_length=64, max_sequences=32)
    yield vllm
    vllm.close()
    gc.collect()


@pytest.fixture
def prompts():
    draws = np.random.default_rng(0)
    return [draws.integers(0, 40, size=size).tolist() for size in (3, 8, 5, 1, 6, 2)]


def sampling(model, **changes):
    values = {"temperature": 1.0, "max_new_tokens": 8, "samples": 2, "seed": 3, **changes}
    return Sampling(eos_ids=(open_tokenizer(model).eos_token_id,), **values)


@pytest.mark.fault("F3")
@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_log_probabilities_are_those_of_the_tempered_policy_after_a_push(engine, model, prompts, temperature):
    """F3: after new weights were pushed, engine and Hugging Face forward agree to 1e-4 a token."""
    policy = open_causal_lm(model)
    generator = torch.Generator().manual_seed(round(temperature * 10))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    engine.load_weights(pack(1, policy.state_dict()))
    groups = engine.generate(prompts, sampling(model, temperature=temperature))
    for prompt, group in zip(prompts, groups, strict=True):
        assert len(group) == 2
        for completion in group:
            ids = torch.tensor([prompt + completion.token_ids.tolist()])
            with torch.no_grad():
                logits = policy(ids).logits[0, len(prompt) - 1 : -1] / temperature
            expected = logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])[:, 0]
            assert torch.allclose(expected, torch.from_numpy(completion.logps), atol=1e-4)


def test_one_seed_gives_one_answer(engine, model, prompts):
    first, again, other = (engine.generate(prompts, sampling(model, seed=seed)) for seed in (1, 1, 2))
    flat = [[c.token_ids.tolist() for group in groups for c in group] for groups in (first, again, other)]
    assert flat[0] == flat[1] != flat[2]


def test_a_broken_prompt_is_refused_alone(engine, model, prompts):
    """An empty prompt, one that is too long, and ids outside the vocabulary: the others are answered."""
    broken = [prompts[0], [], list(range(40)) * 2, [10_000], [-1], prompts[1]]
    results = engine.generate(broken, sampling(model))
    assert [isinstance(result, Refused) for result in results] == [False, True, True, True, True, False]
    assert all(isinstance(result, list) for result in engine.generate(prompts, sampling(model)))


@pytest.mark.fault("F1")
def test_a_prompt_that_only_vllm_rejects_costs_no_restart(engine, model, prompts, monkeypatch):
    """The call is repeated prompt by prompt, the culprit is named, and nothing stays in the scheduler."""
    generate = engine._llm.generate

    def picky(requests, *args, **kwargs):
        if any(request["prompt_token_ids"] == prompts[2] for request in requests):
            raise ValueError("I do not like this one")
        return generate(requests, *args, **kwargs)

    monkeypatch.setattr(engine._llm, "generate", picky)
    results = engine.generate(prompts, sampling(model))
    refused = [index for index, result in enumerate(results) if isinstance(result, Refused)]
    assert refused == [2] and "do not like" in results[2].reason


@pytest.mark.fault("F2")
def test_completions_end_at_eos_or_are_marked_unfinished(engine, model, prompts):
    eos = open_tokenizer(model).eos_token_id
    groups = engine.generate(prompts, sampling(model, samples=8, temperature=2.0, max_new_tokens=20))
    completions = [completion for group in groups for completion in group]
    assert all(isinstance(completion, Generated) for completion in completions)
    for completion in completions:
        assert completion.finished == (completion.token_ids[-1] == eos)
        assert completion.finished or len(completion.token_ids) == 20
        assert eos not in completion.token_ids[:-1]
    assert any(completion.finished for completion in completions)


def test_both_engines_write_the_same_near_greedily(engine, model, prompts):
    """The fallback is the same policy: at temperature 0.01 both take the most likely token."""
    policy = open_causal_lm(model)
    with torch.no_grad():
        policy.lm_head.weight *= 2000  # random weights leave the tokens all but tied
    snapshot = pack(2, policy.state_dict())
    engine.load_weights(snapshot)
    other = HFEngine(model, context_length=64)
    other.load_weights(snapshot)
    settings = sampling(model, temperature=0.01, samples=1)
    texts = [[g[0].token_ids.tolist() for g in one.generate(prompts, settings)] for one in (engine, other)]
    assert texts[0] == texts[1]


def test_async_training_with_vllm_workers(ray_session, model, tmp_path):
    """The main job, small: three asynchronous updates with the real engine; log-probabilities agree every time."""
    config = tiny_config(model, engine="vllm", engine_sequences=32, engine_start_timeout_s=240.0)
    with running(config, tmp_path) as algorithm:
        results = [algorithm.train() for _ in range(3)]
        evaluation = algorithm.evaluate()["evaluation"]
    assert [result["staleness"]["max"] for result in results] == [0, 1, 1]
    assert max(result["policy"]["logp_diff_max"] for result in results) < 1e-4
    assert evaluation["n"] == 16
