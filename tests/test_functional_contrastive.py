"""The contrastive loss of messages against a double loop, in closed form, and at its edges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.functional.contrastive import NEGATIVES, message_pairs, supcon


def by_hand(
    messages: torch.Tensor,
    known: torch.Tensor,
    trajectory: torch.Tensor,
    time: torch.Tensor,
    window: int | None,
    negatives: str,
    temperature: float,
) -> list[float | None]:
    """The paper's sum, message by message: None for what is no anchor."""
    unit = [row / max(float(row.norm()), 1e-12) for row in messages.double()]
    count = len(unit)

    def usable(i: int, j: int) -> bool:
        return i != j and bool(known[i]) and bool(known[j])

    def positive(i: int, j: int) -> bool:
        near = window is None or abs(int(time[i]) - int(time[j])) <= window
        return usable(i, j) and int(trajectory[i]) == int(trajectory[j]) and near

    losses: list[float | None] = []
    for i in range(count):
        chosen = [j for j in range(count) if positive(i, j)]
        against = [
            j for j in range(count)
            if usable(i, j) and (negatives == "all" or positive(i, j) or int(trajectory[i]) != int(trajectory[j]))
        ]  # fmt: skip
        if not chosen:
            losses.append(None)
            continue
        denominator = math.log(sum(math.exp(float(unit[i] @ unit[j]) / temperature) for j in against))
        losses.append(
            -sum(float(unit[i] @ unit[j]) / temperature - denominator for j in chosen) / len(chosen)
        )
    return losses


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20), count=st.integers(1, 14), window=st.sampled_from([None, 0, 1, 3]),
    negatives=st.sampled_from(NEGATIVES), temperature=st.sampled_from([0.05, 0.1, 1.0, 7.0]),
)  # fmt: skip
def test_equals_a_double_loop(
    seed: int, count: int, window: int | None, negatives: str, temperature: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    messages = torch.rand(2, count, 3, generator=draw, dtype=torch.float64)
    known = torch.rand(2, count, generator=draw) < 0.7
    trajectory = torch.randint(0, 3, (count,), generator=draw)
    time = torch.randint(0, 6, (count,), generator=draw)
    loss, anchor = supcon(
        messages, known, *message_pairs(trajectory, time, window=window, negatives=negatives), temperature
    )
    for agent in range(2):
        expected = by_hand(messages[agent], known[agent], trajectory, time, window, negatives, temperature)
        assert anchor[agent].tolist() == [value is not None for value in expected]
        assert loss[agent].tolist() == pytest.approx([value or 0.0 for value in expected], abs=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 3.0])
def test_equal_messages_cost_the_logarithm_of_the_candidates(temperature: float) -> None:
    messages = torch.full((1, 9, 4), 0.3)
    pairs = message_pairs(torch.arange(9) // 3, torch.arange(9) % 3, window=None)
    loss, anchor = supcon(messages, torch.ones(1, 9, dtype=torch.bool), *pairs, temperature)
    assert bool(anchor.all())
    assert torch.allclose(loss, torch.full((1, 9), math.log(8)), atol=1e-5)


def test_two_clusters_far_apart_cost_the_logarithm_of_the_positives() -> None:
    messages = torch.cat([torch.tensor([[1.0, 0.0]]).repeat(4, 1), torch.tensor([[0.0, 1.0]]).repeat(4, 1)])[
        None
    ]
    pairs = message_pairs(torch.arange(8) // 4, torch.zeros(8, dtype=torch.long), window=None)
    loss, _ = supcon(messages, torch.ones(1, 8, dtype=torch.bool), *pairs, 0.1)
    assert torch.allclose(loss, torch.full((1, 8), math.log(3)), atol=1e-3)


def test_a_window_of_zero_makes_only_simultaneous_messages_positives() -> None:
    trajectory, time = torch.tensor([0, 0, 0, 1]), torch.tensor([2, 2, 3, 2])
    positives, candidates = message_pairs(trajectory, time, window=0)
    assert positives.nonzero().tolist() == [[0, 1], [1, 0]]
    assert candidates is None, "all others"
    _, others = message_pairs(trajectory, time, window=0, negatives="other_trajectories")
    assert not others[0, 2] and others[0, 3] and others[0, 1], (
        "outside the window, inside the trajectory: left out"
    )


def test_without_anchors_the_loss_and_its_gradient_are_zero() -> None:
    messages = torch.rand(1, 4, 2, requires_grad=True)
    pairs = message_pairs(torch.arange(4), torch.zeros(4, dtype=torch.long), window=None)
    for known in (torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, dtype=torch.bool)):
        loss, anchor = supcon(messages, known, *pairs, 0.1)
        assert not anchor.any() and not loss.any()
        (gradient,) = torch.autograd.grad(loss.sum(), messages)
        assert torch.equal(gradient, torch.zeros_like(messages))


def test_the_gradient_is_that_of_finite_differences() -> None:
    draw = torch.Generator().manual_seed(3)
    messages = torch.rand(2, 6, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    known = torch.rand(2, 6, generator=draw) < 0.8
    pairs = message_pairs(torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2, 0, 1, 2]), window=1)
    assert torch.autograd.gradcheck(lambda x: supcon(x, known, *pairs, 0.5)[0].sum(), messages)


def test_what_is_not_known_moves_nothing() -> None:
    draw = torch.Generator().manual_seed(4)
    messages = torch.rand(1, 6, 3, generator=draw)
    known = torch.tensor([[True, True, True, True, False, True]])
    pairs = message_pairs(torch.tensor([0, 0, 0, 1, 1, 1]), torch.arange(6), window=None)
    loss, _ = supcon(messages, known, *pairs, 0.1)
    messages[0, 4] = -7.0
    again, _ = supcon(messages, known, *pairs, 0.1)
    assert torch.equal(loss, again)


@pytest.mark.parametrize(("arguments", "named"), [
    ({"window": -1}, "window"), ({"window": 1, "negatives": "none"}, "negatives"),
])  # fmt: skip
def test_bad_arguments_are_named(arguments: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        message_pairs(torch.zeros(2), torch.zeros(2), **arguments)
    with pytest.raises(ValueError, match="temperature"):
        supcon(
            torch.rand(1, 2, 2), torch.ones(1, 2, dtype=torch.bool), torch.eye(2) > 0, torch.eye(2) > 0, 0.0
        )
