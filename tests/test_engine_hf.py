"""The Hugging Face engine: log-probabilities of what it sampled, one seed one text, one bad prompt alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_language import WORDS, save_tiny_model

from rllib_ext.errors import BadConfig
from rllib_ext.llm.engine import Generated, Refused, Sampling
from rllib_ext.llm.engine_hf import HFEngine
from rllib_ext.llm.safety import open_causal_lm, open_tokenizer
from rllib_ext.llm.weights import pack

EOS = len(WORDS) + 2  # after "copy:" and PAD
VOCABULARY = EOS + 1
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [1, 2]]


@pytest.fixture(scope="module", params=["llama", "gpt_neox"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp(request.param), architecture=request.param)


@pytest.fixture(scope="module")
def engine(folder: str) -> HFEngine:
    return HFEngine(folder, context_length=40)


def sampling(
    samples: int = 2, temperature: float = 0.7, seed: int = 3, new: int = 12, eos: int = EOS
) -> Sampling:
    return Sampling(temperature, new, samples, seed, (eos,))


def texts(results: Sequence[list[Generated] | Refused]) -> list[list[list[int]]]:
    return [[one.token_ids.tolist() for one in result] for result in results]


def test_the_tokenizer_is_the_one_meant(folder: str) -> None:
    assert open_tokenizer(folder).eos_token_id == EOS


@pytest.mark.fault("F3")
@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_logps_are_those_of_a_full_forward(engine: HFEngine, folder: str, temperature: float) -> None:
    """One unpadded sequence at a time, without a cache, in the model as it lies on the disk."""
    model = open_causal_lm(folder)
    for prompt, group in zip(PROMPTS, engine.generate(PROMPTS, sampling(3, temperature)), strict=True):
        for one in group:
            ids = torch.tensor([[*prompt, *one.token_ids.tolist()]])
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].double()
            logps = torch.log_softmax(logits / temperature, -1)
            expected = logps.gather(1, ids[0, len(prompt) :, None])[:, 0]
            assert one.logps.shape == one.token_ids.shape
            assert np.abs(one.logps - expected.numpy()).max() < 1e-6
            assert one.token_ids.dtype == np.int32 and one.logps.dtype == np.float32


def test_eos_stops_and_is_part_of_the_completion(engine: HFEngine) -> None:
    """A word of the language plays EOS, so that both ends come up often."""
    group = [one for result in engine.generate(PROMPTS, sampling(40, 1.0, eos=7)) for one in result]
    stopped = [one for one in group if one.finished]
    assert 0 < len(stopped) < len(group)
    for one in group:
        ids = one.token_ids.tolist()
        assert 1 <= len(ids) <= 12
        assert (ids[-1] == 7) == one.finished and 7 not in ids[:-1]
        assert one.finished or len(ids) == 12, "cut off by the limit alone"


@pytest.mark.fault("F2")
def test_eos_as_the_very_last_token_is_a_finish(engine: HFEngine) -> None:
    group = engine.generate([[1]], sampling(200, 1.0, new=1, eos=7))[0]
    assert {one.finished for one in group} == {True, False}
    assert all(one.finished == (one.token_ids.tolist() == [7]) for one in group)


def test_one_seed_one_text(engine: HFEngine) -> None:
    first, again = (texts(engine.generate(PROMPTS, sampling(seed=5))) for _ in range(2))
    assert first == again != texts(engine.generate(PROMPTS, sampling(seed=6)))
    assert all(group[0] != group[1] for group in first), "samples of a prompt differ"


def test_global_random_state_neither_matters_nor_moves(engine: HFEngine) -> None:
    torch.manual_seed(0)
    first, state = texts(engine.generate(PROMPTS, sampling())), torch.get_rng_state()
    torch.manual_seed(1)
    assert texts(engine.generate(PROMPTS, sampling())) == first
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.fault("F1")
def test_refused_prompts_fall_out_alone(engine: HFEngine) -> None:
    bad = {1: list(range(29)), 3: [], 4: [1, VOCABULARY], 5: [-1, 2]}
    prompts = [bad.get(number, [number + 10, 2]) for number in range(7)]
    results = engine.generate(prompts, sampling())
    assert {number for number, result in enumerate(results) if isinstance(result, Refused)} == set(bad)
    wanted = [
        "exceed the context of 40",
        "no tokens",
        f"token id {VOCABULARY} is outside",
        "token id -1 is outside",
    ]
    for number, reason in zip(bad, wanted, strict=True):
        assert reason in results[number].reason
    good = [prompt for number, prompt in enumerate(prompts) if number not in bad]
    left = [result for result in results if not isinstance(result, Refused)]
    assert texts(left) == texts(engine.generate(good, sampling())), "as if the others had never been there"


@pytest.mark.fault("F1")
def test_the_context_is_filled_to_the_last_token(engine: HFEngine) -> None:
    exact, longer = engine.generate([[1] * 28, [1] * 29], sampling())
    assert isinstance(exact, list) and isinstance(longer, Refused)
    assert isinstance(engine.generate([[1] * 29], sampling(new=11))[0], list)


def test_nothing_to_do_is_nothing_done(engine: HFEngine) -> None:
    assert engine.generate([], sampling()) == []
    assert isinstance(engine.generate([[]], sampling())[0], Refused)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 100])
def test_batches_lose_no_sample_and_mix_no_prompts(folder: str, batch_size: int) -> None:
    """Sharp and nearly greedy, there is one answer to each prompt, whatever its neighbours."""
    small = HFEngine(folder, context_length=40, batch_size=batch_size)
    small.model.get_output_embeddings().weight.mul_(1000.0)
    results = texts(small.generate(PROMPTS, sampling(3, 0.01)))
    alone = [texts(small.generate([prompt], sampling(1, 0.01)))[0] for prompt in PROMPTS]
    assert results == [one * 3 for one in alone] and len({str(one) for one in alone}) == len(PROMPTS)


def test_weights_are_replaced_whole(folder: str, tmp_path: Path) -> None:
    one, other = HFEngine(folder, context_length=40), HFEngine(folder, context_length=40)
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    before, wanted = (texts(engine.generate(PROMPTS, sampling())) for engine in (one, other))
    assert before != wanted
    snapshot = pack(1, other.model.state_dict())
    one.load_weights(snapshot)
    assert texts(one.generate(PROMPTS, sampling())) == wanted
    with torch.no_grad():
        one.model.get_input_embeddings().weight.zero_()
    assert pack(1, other.model.state_dict()).digest == snapshot.digest, "loading copied"


@pytest.mark.fault("F1")
def test_more_context_than_positions_is_refused(folder: str) -> None:
    with pytest.raises(BadConfig, match=r"context of 65 tokens, but the model .* has 64 positions"):
        HFEngine(folder, context_length=65)


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"new": 0}, {"samples": 0}, {"temperature": float("nan")}]
)
def test_sampling_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(BadConfig):
        sampling(**wrong)
