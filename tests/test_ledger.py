"""Every prompt of an epoch exactly once, in an order that only the seed decides, also after a resume."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from chaos.inject import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.errors import BadData, RllibExtError
from rllib_ext.llm.ledger import PromptLedger

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**31 - 1)


def stream(ledger: PromptLedger, rounds: int) -> list[tuple[int, int]]:
    return [prompt for number in range(rounds) for prompt in ledger.prompts(number)]


@pytest.mark.fault("C6")
@settings(max_examples=tries(60, 1000), deadline=None)
@given(sizes, sizes, seeds, st.integers(1, 12))
def test_every_prompt_comes_once_an_epoch(num_prompts: int, per_round: int, seed: int, rounds: int) -> None:
    """Also where rounds are larger than the split, straddle epochs, or do not divide them."""
    prompts = stream(PromptLedger(num_prompts, per_round, seed), rounds)
    assert len(prompts) == rounds * per_round
    assert max(Counter(prompts).values()) == 1
    assert [epoch for epoch, _ in prompts] == [position // num_prompts for position in range(len(prompts))]
    for epoch in range(len(prompts) // num_prompts):
        assert {index for e, index in prompts if e == epoch} == set(range(num_prompts))


@pytest.mark.fault("C6")
@settings(max_examples=tries(60, 1000), deadline=None)
@given(st.none() | sizes, sizes, seeds, st.integers(0, 10))
def test_resuming_equals_never_stopping(
    num_prompts: int | None, per_round: int, seed: int, rounds: int
) -> None:
    went_on, resumed = PromptLedger(num_prompts, per_round, seed), PromptLedger(num_prompts, per_round, seed)
    for number in range(rounds):
        went_on.record(went_on.prompts(number))
    resumed.record(resumed.prompts(rounds + 3))  # what was there before a restore is gone after it
    resumed.resume_at(rounds)
    for number in range(rounds + 2):
        for ledger in (went_on, resumed):
            prompts = ledger.prompts(number)
            if number < rounds:
                for prompt in prompts:
                    with pytest.raises(RllibExtError, match="came up twice"):
                        ledger.record([prompt])
            else:
                ledger.record(prompts)
    assert vars(went_on)["_trained"] == vars(resumed)["_trained"]


@pytest.mark.fault("C6")
@settings(max_examples=tries(60, 1000), deadline=None)
@given(st.none() | sizes, sizes, seeds, st.integers(1, 10), st.data())
def test_a_second_time_is_refused_however_late(
    num_prompts: int | None, per_round: int, seed: int, rounds: int, data: st.DataObject
) -> None:
    ledger = PromptLedger(num_prompts, per_round, seed)
    for number in range(rounds):
        ledger.record(ledger.prompts(number))
    again = data.draw(st.sampled_from(stream(ledger, rounds)))
    with pytest.raises(RllibExtError, match=f"prompt {again[1]} came up twice in epoch {again[0]}"):
        ledger.record([again])


@pytest.mark.parametrize("num_prompts", [7, None])
def test_the_record_does_not_grow_with_the_run(num_prompts: int | None) -> None:
    ledger = PromptLedger(num_prompts, 5, 0)
    for number in range(200):
        ledger.record(ledger.prompts(number))
        assert sum(map(len, vars(ledger)["_trained"].values())) < 7


def test_rounds_may_be_recorded_out_of_order() -> None:
    for num_prompts in (6, None):
        ledger = PromptLedger(num_prompts, 4, 0)
        for number in (2, 0, 3, 1):
            ledger.record(ledger.prompts(number))
        for number in range(4):
            with pytest.raises(RllibExtError):
                ledger.record(ledger.prompts(number))


def test_an_endless_environment_counts_on() -> None:
    ledger = PromptLedger(None, 3, 9)
    assert stream(ledger, 3) == [(0, position) for position in range(9)]
    ledger.resume_at(10**9)  # at once: nothing is replayed
    assert ledger.prompts(10**9)[0] == (0, 3 * 10**9)
    ledger.record(ledger.prompts(10**9))


def test_epochs_differ_and_seeds_differ() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [index for _, index in PromptLedger(50, 50, seed).prompts(epoch)]

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({tuple(one) for one in orders}) == len(orders)
    assert order(0, 0) != sorted(order(0, 0)), "shuffled"


def test_a_split_without_prompts_is_refused() -> None:
    with pytest.raises(BadData, match="no prompts"):
        PromptLedger(0, 4, 0)


def test_the_order_is_the_same_in_every_process() -> None:
    program = (
        "from rllib_ext.llm.ledger import PromptLedger\n"
        "print([PromptLedger(11, 4, 7).prompts(number) for number in range(6)])"
    )
    here = str([PromptLedger(11, 4, 7).prompts(number) for number in range(6)])
    for salt in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert run.stdout.strip() == here
