"""Perplexities of completions, the usual and the diluted one."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.logprobs import token_logps
from rllib_ext.functional.perplexity import ppl_completion, ppl_diluted

EXACT = settings(derandomize=True, deadline=None, max_examples=60, database=None)


def prefix_mask(lengths, columns):
    return torch.arange(columns) < torch.tensor(lengths).unsqueeze(-1)


def test_a_uniform_model_is_as_perplexed_as_its_vocabulary_is_large():
    logps = token_logps(torch.zeros(2, 5, 37), torch.zeros(2, 5, dtype=torch.long))
    expected = torch.full((2,), 37.0, dtype=torch.float64)
    torch.testing.assert_close(ppl_completion(logps, prefix_mask([5, 3], 5)), expected, rtol=1e-6, atol=0)


def test_dilution_divides_by_prompt_and_completion():
    logps = torch.full((2, 4), -math.log(10.0), dtype=torch.float64)
    mask = prefix_mask([4, 2], 4)
    diluted = ppl_diluted(logps, mask, torch.tensor([4, 38]))
    torch.testing.assert_close(diluted, torch.tensor([10**0.5, 10 ** (2 / 40)], dtype=torch.float64))
    torch.testing.assert_close(
        diluted[1].item(), 1.122018454
    )  # the size of the published values, 1.07 to 1.15


def test_perplexity_is_the_exponential_of_the_cross_entropy():
    torch.manual_seed(0)
    logits, ids = torch.randn(1, 6, 20, dtype=torch.float64), torch.randint(20, (1, 6))
    expected = torch.nn.functional.cross_entropy(logits[0], ids[0]).exp()
    torch.testing.assert_close(ppl_completion(token_logps(logits, ids), torch.ones(1, 6).bool())[0], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_empty_completions_have_perplexity_one_and_improbable_ones_a_finite_one(dtype):
    logps = torch.tensor([[-600.0, -600.0], [math.nan, math.nan]], dtype=dtype)
    mask = prefix_mask([2, 0], 2)
    prompts = torch.tensor([1, 0])
    for perplexity in (ppl_completion(logps, mask), ppl_diluted(logps, mask, prompts)):
        assert perplexity.isfinite().all() and perplexity[1] == 1.0


@EXACT
@given(st.integers(0, 2**31 - 1), st.integers(0, 4), st.integers(0, 50))
def test_padding_changes_nothing_and_prompts_only_dilute(seed, extra, prompt):
    generator = torch.Generator().manual_seed(seed)
    logps = -3 * torch.rand(3, 4, generator=generator, dtype=torch.float64)
    mask, prompts = prefix_mask([4, 1, 2], 4), torch.full((3,), prompt)
    wide = torch.cat([logps, torch.full((3, extra), math.nan, dtype=torch.float64)], 1)
    wide_mask = torch.cat([mask, torch.zeros(3, extra).bool()], 1)
    torch.testing.assert_close(ppl_completion(wide, wide_mask), ppl_completion(logps, mask))
    diluted = ppl_diluted(logps, mask, prompts)
    torch.testing.assert_close(ppl_diluted(wide, wide_mask, prompts), diluted)
    assert (diluted >= 1).all() and (diluted <= ppl_completion(logps, mask) + 1e-12).all()
    torch.testing.assert_close(ppl_diluted(logps, mask, 0 * prompts), ppl_completion(logps, mask))


def test_prompt_lengths_of_another_batch_are_refused():
    with pytest.raises(ValueError, match=r"prompt_lengths_B \(2,\)"):
        ppl_diluted(torch.zeros(3, 4), torch.ones(3, 4).bool(), torch.tensor([1, 2]))
