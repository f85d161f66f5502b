"""Masks, masked statistics and token log-probabilities: closed forms, finite differences, properties."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.logprobs import token_logps
from rllib_ext.functional.masking import (
    completion_mask,
    has_eos,
    masked_mean,
    masked_sum,
    masked_var,
    sequence_logps,
)

EXACT = settings(derandomize=True, deadline=None, max_examples=60, database=None)
EOS, PAD = 2, 0


def naive_logps(logits_BTV, ids_BT, temperature):
    return (logits_BTV / temperature).log_softmax(-1).gather(-1, ids_BT.unsqueeze(-1)).squeeze(-1)


# ----- completion masks


def test_mask_includes_the_first_eos_and_nothing_after_it():
    ids = torch.tensor([[5, 6, EOS, PAD, 7], [EOS, 5, EOS, 5, 5], [5, 5, 5, 5, 5]])
    expected = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    assert torch.equal(completion_mask(ids, EOS), expected)
    assert has_eos(ids, EOS).tolist() == [True, True, False]


def test_any_of_several_eos_ids_ends_a_completion():
    ids = torch.tensor([[5, 9, 6, EOS], [5, EOS, 9, 9]])
    assert completion_mask(ids, (EOS, 9)).sum(-1).tolist() == [2, 2]
    assert completion_mask(ids, ()).all()


def test_lengths_tell_padding_from_eos_when_both_are_one_token():
    ids = torch.tensor([[5, 6, EOS, EOS], [5, EOS, EOS, EOS], [EOS, EOS, EOS, EOS]])
    lengths = torch.tensor([2, 2, 0])
    assert completion_mask(ids, EOS, lengths).sum(-1).tolist() == [2, 2, 0]
    assert has_eos(ids, EOS, lengths).tolist() == [False, True, False]


def test_mask_of_completions_without_columns_is_empty():
    ids = torch.zeros(3, 0, dtype=torch.long)
    assert completion_mask(ids, EOS).shape == (3, 0)
    assert completion_mask(ids, EOS, torch.zeros(3)).shape == (3, 0)
    assert has_eos(ids, EOS).tolist() == [False] * 3


def test_mask_refuses_lengths_of_another_batch():
    with pytest.raises(ValueError, match=r"lengths_B \(2,\)"):
        completion_mask(torch.ones(3, 4, dtype=torch.long), EOS, torch.tensor([1, 2]))


@EXACT
@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4), st.data())
def test_mask_agrees_with_reading_token_by_token(rows, data):
    lengths = data.draw(st.lists(st.integers(0, 6), min_size=len(rows), max_size=len(rows)))
    expected = []
    for row, length in zip(rows, lengths, strict=True):
        kept = row[:length]
        expected.append(kept.index(EOS) + 1 if EOS in kept else length)
    ids = torch.tensor(rows)
    mask = completion_mask(ids, EOS, torch.tensor(lengths))
    assert mask.sum(-1).tolist() == expected
    assert torch.equal(mask, torch.arange(6) < torch.tensor(expected).unsqueeze(-1))
    assert has_eos(ids, EOS, torch.tensor(lengths)).tolist() == [
        EOS in row[:length] for row, length in zip(rows, lengths, strict=True)
    ]


# ----- masked statistics


def test_masked_statistics_are_those_of_the_selected_values():
    torch.manual_seed(0)
    values, mask = torch.randn(4, 7, dtype=torch.float64), torch.rand(4, 7) < 0.6
    kept = values[mask]
    torch.testing.assert_close(masked_sum(values, mask), kept.sum())
    torch.testing.assert_close(masked_mean(values, mask), kept.mean())
    torch.testing.assert_close(masked_var(values, mask), kept.var(unbiased=False))
    for row in range(4):
        kept = values[row][mask[row]]
        torch.testing.assert_close(masked_mean(values, mask, dim=-1)[row], kept.mean())
        torch.testing.assert_close(masked_var(values, mask, dim=-1)[row], kept.var(unbiased=False))
    torch.testing.assert_close(masked_sum(values, mask.long(), dim=0), (values * mask).sum(0))


@pytest.mark.fault("D3")
@pytest.mark.parametrize("statistic", [masked_sum, masked_mean, masked_var])
@pytest.mark.parametrize("dim", [None, -1])
def test_an_empty_mask_gives_zero_and_no_gradient(statistic, dim):
    values = torch.randn(2, 3, requires_grad=True)
    result = statistic(values, torch.zeros(2, 3, dtype=torch.bool), dim)
    assert torch.equal(result, torch.zeros_like(result))
    result.sum().backward()
    assert torch.equal(values.grad, torch.zeros(2, 3))


@pytest.mark.fault("D3")
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("statistic", [masked_sum, masked_mean, masked_var])
def test_what_is_masked_out_never_reaches_value_or_gradient(statistic, poison):
    mask = torch.tensor([[True, True, False]])
    clean = torch.tensor([[1.0, 4.0, 0.0]])
    dirty = torch.tensor([[1.0, 4.0, poison]], requires_grad=True)
    assert torch.equal(statistic(dirty, mask), statistic(clean, mask))
    statistic(dirty, mask).backward()
    assert dirty.grad.isfinite().all()
    assert dirty.grad[0, 2] == 0


def test_variance_of_one_value_is_zero_and_keeps_digits_beside_a_large_mean():
    assert masked_var(torch.tensor([[3.0, 9.0]]), torch.tensor([[True, False]])) == 0
    values = torch.tensor([1e4, 1e4 + 1, 1e4 + 2])  # E[x^2] - E[x]^2 gives 0 or 8 here in float32
    torch.testing.assert_close(
        masked_var(values, torch.ones(3).bool()), torch.tensor(2 / 3), rtol=1e-4, atol=0
    )


def test_statistics_refuse_to_broadcast():
    with pytest.raises(ValueError, match="shapes differ"):
        masked_mean(torch.ones(3, 1), torch.ones(3, 3).bool())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    logps = torch.full((1, 4000), -20.0, dtype=dtype)
    assert sequence_logps(logps, torch.ones(1, 4000).bool()).item() == -80000.0  # beyond float16


@EXACT
@given(st.integers(0, 5), st.integers(0, 2**31 - 1))
def test_padding_changes_no_statistic(extra, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    mask = torch.rand(3, 5, generator=generator) < 0.7
    padded = torch.cat([values, torch.full((3, extra), math.nan, dtype=torch.float64)], dim=-1)
    padded_mask = torch.cat([mask, torch.zeros(3, extra).bool()], dim=-1)
    for statistic in (masked_sum, masked_mean, masked_var):
        torch.testing.assert_close(statistic(padded, padded_mask), statistic(values, mask))
    torch.testing.assert_close(sequence_logps(padded, padded_mask), sequence_logps(values, mask))


def test_gradients_of_masked_statistics():
    torch.manual_seed(0)
    values = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    for statistic in (masked_sum, masked_mean, masked_var):
        for dim in (None, -1):
            assert torch.autograd.gradcheck(
                lambda x, f=statistic, d=dim: f(x, mask, d), values, atol=1e-8, rtol=1e-5
            )


# ----- token log-probabilities


def test_equal_logits_give_minus_log_of_the_vocabulary():
    logps = token_logps(torch.full((2, 3, 50), 7.0), torch.zeros(2, 3, dtype=torch.long), temperature=0.3)
    torch.testing.assert_close(logps, torch.full((2, 3), -math.log(50)))


def test_two_logits_give_the_logistic_function_of_their_tempered_difference():
    difference = torch.linspace(-30, 30, 7)
    logits = torch.stack([difference, torch.zeros(7)], dim=-1).unsqueeze(0)
    logps = token_logps(logits, torch.zeros(1, 7, dtype=torch.long), temperature=0.7)
    torch.testing.assert_close(logps[0], torch.nn.functional.logsigmoid(difference / 0.7))


@pytest.mark.parametrize("chunk", [1, 7, 40, 10**9, None])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_token_logps_agree_with_log_softmax_however_they_are_chunked(chunk, temperature):
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 11, dtype=torch.float64, requires_grad=True)
    ids, weights = torch.randint(11, (3, 5)), torch.randn(3, 5, dtype=torch.float64)
    ours = token_logps(logits, ids, temperature=temperature, chunk=chunk)
    theirs = naive_logps(logits, ids, temperature)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad((ours * weights).sum(), logits)
    (expected,) = torch.autograd.grad((theirs * weights).sum(), logits)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


def test_token_logps_gradient_by_finite_differences():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    ids = torch.randint(5, (2, 3))
    assert torch.autograd.gradcheck(
        lambda x: token_logps(x, ids, temperature=0.7, chunk=7), logits, atol=1e-8, rtol=1e-5
    )


def test_token_logps_of_a_view_that_is_not_contiguous():
    torch.manual_seed(0)
    full = torch.randn(3, 9, 6, dtype=torch.float64, requires_grad=True)
    ids = torch.randint(6, (3, 4))
    ours, theirs = token_logps(full[:, 4:-1], ids), naive_logps(full[:, 4:-1], ids, 1.0)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), full)[0], torch.autograd.grad(theirs.sum(), full)[0]
    )


@EXACT
@given(st.floats(0.05, 5.0), st.floats(-1e4, 1e4), st.integers(0, 2**31 - 1))
def test_probabilities_sum_to_one_and_a_common_shift_of_logits_is_invisible(temperature, shift, seed):
    logits = 3 * torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    every_id = torch.arange(8).reshape(1, 8)
    logps = token_logps(logits.expand(1, 8, 8), every_id, temperature=temperature)
    torch.testing.assert_close(logps.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    shifted = token_logps(logits.expand(1, 8, 8) + shift, every_id, temperature=temperature)
    torch.testing.assert_close(shifted, logps, rtol=1e-6, atol=1e-6)


@pytest.mark.fault("D3")
def test_large_logits_keep_their_digits():
    logits = torch.tensor([[[1e6, 1e6 - 1.0, -1e6]]])
    ids = torch.zeros(1, 1, dtype=torch.long)
    expected = naive_logps(logits.double(), ids, 1.0)
    ours = token_logps(logits, ids)  # selected minus logsumexp is off by up to 0.03 here
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.fault("D3")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_finite_float32_and_gradients_of_their_own_type(dtype):
    logits = torch.tensor([[[6e4, -6e4, 0.0], [-6e4, 6e4, 6e4]]], dtype=dtype, requires_grad=True)
    logps = token_logps(logits, torch.tensor([[1, 2]]), temperature=0.5)
    assert logps.dtype == torch.float32 and logps.isfinite().all()
    logps.sum().backward()
    assert logits.grad.dtype == dtype and logits.grad.isfinite().all()


def test_banned_tokens_have_no_probability_and_leave_the_others_alone():
    logits = torch.tensor([[[1.0, -math.inf, 2.0]] * 2], requires_grad=True)
    logps = token_logps(logits, torch.tensor([[1, 2]]))
    assert logps[0, 0] == -math.inf
    torch.testing.assert_close(logps[0, 1], torch.nn.functional.logsigmoid(torch.tensor(1.0)))
    logps[0, 1].backward()
    assert logits.grad[0, 1].isfinite().all() and logits.grad[0, 1, 1] == 0


def test_nothing_as_large_as_the_logits_is_kept_for_the_backward_pass():
    logits, ids = torch.randn(4, 8, 1000, requires_grad=True), torch.randint(1000, (4, 8))
    kept: list[int] = []

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() != logits.untyped_storage().data_ptr():
            kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        token_logps(logits, ids, temperature=0.7).sum().backward()
    assert kept and sum(kept) < logits.numel() / 100


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_without_a_density_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        token_logps(torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=torch.long), temperature=temperature)


def test_logits_that_do_not_line_up_with_their_tokens_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        token_logps(torch.zeros(2, 5, 3), torch.zeros(2, 4, dtype=torch.long))
