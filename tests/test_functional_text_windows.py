"""Perplexity of long texts (test 13 of the battery)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.text_windows import next_token_logps, text_perplexity, windows


@settings(deadline=None)
@given(length=st.integers(0, 200), window=st.integers(2, 50), stride=st.integers(1, 49))
def test_13_every_token_but_the_first_is_scored_once(length: int, window: int, stride: int) -> None:
    stride = min(stride, window - 1)
    scored = [t for begin, end, first in windows(length, window, stride) for t in range(first, end)]
    assert scored == list(range(1, length))
    for begin, end, first in windows(length, window, stride):
        assert end - begin <= window
        assert begin == 0 or first - begin >= window - stride, "context of at least window - stride"


def bigram(table: torch.Tensor):
    """log p(token | token before): its context is one token, so no window can change its perplexity."""
    return lambda ids: next_token_logps(table[ids[0]], ids)


def test_13_perplexity_is_exp_of_the_mean_whatever_the_stride() -> None:
    draw = torch.Generator().manual_seed(0)
    table = torch.randn(7, 7, generator=draw)
    ids = torch.randint(0, 7, (60,), generator=draw)
    exact = torch.log_softmax(table, -1)[ids[:-1], ids[1:]].double().mean()
    for window, stride in ((1024, 512), (60, 1), (10, 5), (8, 7), (2, 1)):
        assert text_perplexity(ids, bigram(table), window, stride) == pytest.approx(
            math.exp(-exact), rel=1e-6
        )
    assert math.isnan(text_perplexity(ids[:1], bigram(table)))


def test_13_sampling_seeds_do_not_move_it() -> None:
    table, ids = torch.eye(5) * 2, torch.arange(40) % 5
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        torch.rand(3)
        found.append(text_perplexity(ids, bigram(table), 16, 8))
    assert found[0] == found[1]


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    assert text_perplexity(torch.arange(30) % 4, bigram(torch.zeros(4, 4)), 8, 4) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="stride is 8"):
        windows(30, 8, 8)
