"""Information, influence and gain against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from rllib_ext.functional.games import causal_influence, jensen_shannon, mutual_information, verdict


def test_a_code_says_as_much_as_it_has_symbols() -> None:
    assert float(mutual_information(torch.eye(8))) == pytest.approx(3.0)
    assert float(mutual_information(torch.eye(4).repeat_interleave(25, 0))) == pytest.approx(2.0)
    assert float(mutual_information(torch.full((9, 5), 0.2))) == pytest.approx(0.0, abs=1e-12)


def test_a_noisy_code_is_a_noisy_channel() -> None:
    flip = 0.11
    p = torch.tensor([[1 - flip, flip], [flip, 1 - flip]])
    capacity = 1 + flip * math.log2(flip) + (1 - flip) * math.log2(1 - flip)
    assert float(mutual_information(p)) == pytest.approx(capacity, abs=1e-6)


def test_jensen_shannon_is_symmetric_and_bounded_by_a_bit() -> None:
    one, other = torch.rand(20, 7).softmax(-1), (5 * torch.randn(20, 7)).softmax(-1)
    assert torch.equal(jensen_shannon(one, other), jensen_shannon(other, one))
    assert jensen_shannon(one, one).abs().max() < 1e-9
    assert jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])) == pytest.approx(1.0)
    # m = (3/4, 1/4): half of KL((1, 0) | m) and half of KL((1/2, 1/2) | m)
    wanted = 0.5 * math.log2(4 / 3) + 0.5 * (0.5 * math.log2(2 / 3) + 0.5 * math.log2(2))
    assert float(jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))) == pytest.approx(wanted)


def test_influence_is_the_mean_distance_of_two_answers() -> None:
    uniform = torch.full((3, 4), 0.25)
    angles = torch.tensor([0.0, 90.0, 180.0, 270.0])
    assert float(causal_influence(angles, uniform)) == pytest.approx((0 + 90 + 180 + 90) / 4)
    assert float(causal_influence(torch.full((4,), 77.0), uniform)) == 0.0
    silent = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert float(causal_influence(angles, silent)) == 0.0, "one message only: nothing to be moved by"
    assert float(causal_influence(torch.tensor([359.0, 1.0]), torch.tensor([[0.5, 0.5]]))) == pytest.approx(
        1.0
    )


@pytest.mark.parametrize(
    ("sender", "receiver", "word"),
    [
        (60, 70, "communication"),
        (95, 8, "manipulation"),
        (40, 91, "manipulation"),
        (90, 90, "none"),
        (89, 88.5, "none"),
    ],
)
def test_the_two_threshold_rule(sender: float, receiver: float, word: str) -> None:
    assert verdict(sender, receiver) == word
    assert verdict(89, 88.5, margin=0.5) == "communication"
