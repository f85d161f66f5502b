"""The circular game learnt as in the paper: gradients, exact judgement, LOLA (specification C.5 19 to 21, B.6)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from envs.games.circle import losses as numpy_losses
from envs.games.sender_receiver import UNIT
from rllib_ext.emergent_comm.agents import make_receiver, make_sender
from rllib_ext.emergent_comm.circle import both_losses
from rllib_ext.emergent_comm.exact import Rules, judge, seen
from rllib_ext.emergent_comm.lola import dice, look_ahead, simulated
from rllib_ext.emergent_comm.reinforce import Baseline, play

CHANNELS = ["discrete", "continuous"]


def pair(channel: str, hidden: int = 16, size: int | None = None) -> tuple[Any, Any]:
    torch.manual_seed(0)
    size = size or (12 if channel == "discrete" else 1)
    return make_sender(channel, 1, hidden, size), make_receiver(channel, hidden, size)


def games(sender: Any, receiver: Any, rules: Rules, count: int = 64, seed: int = 0) -> Any:
    targets = torch.rand(count, generator=torch.Generator().manual_seed(seed)) * 360
    generator = torch.Generator().manual_seed(seed)
    settings = {"baseline": 3.0, "entropy_coeff": 0.1, "generator": generator}
    return play(sender, receiver, targets, seen(targets, rules), rules, **settings)


@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_losses_are_those_of_the_environment(reflect: bool, kind: str) -> None:
    angles, targets = torch.randn(500).double() * 400, torch.rand(500).double() * 360
    ours = both_losses(angles, targets, 70.0, kind=kind, compat_reflect=reflect)
    theirs = numpy_losses(angles.numpy(), targets.numpy(), 70.0, kind=kind, compat_reflect=reflect)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.numpy() == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize("channel", CHANNELS)
def test_19_no_gradient_crosses_the_channel(channel: str) -> None:
    sender, receiver = pair(channel)
    found = games(sender, receiver, Rules(90.0))
    across = torch.autograd.grad(
        found.receiver_objective, list(sender.parameters()), allow_unused=True, retain_graph=True
    )
    back = torch.autograd.grad(
        found.sender_objective, list(receiver.parameters()), allow_unused=True, retain_graph=True
    )
    assert all(gradient is None for gradient in (*across, *back))
    own = torch.autograd.grad(
        found.sender_objective, list(sender.parameters()), allow_unused=True, retain_graph=True
    )
    heard = torch.autograd.grad(found.receiver_objective, list(receiver.parameters()))
    for gradients in (own, heard):
        assert sum(gradient.abs().sum() for gradient in gradients if gradient is not None) > 0


def test_reinforce_is_the_gradient_of_the_expectation() -> None:
    """Over many games the sampled gradient is the exact one: that of the sum over all messages."""
    sender, receiver = pair("discrete", hidden=4, size=3)
    rules = Rules(40.0)
    targets = torch.full((60_000,), 123.0)
    found = play(sender, receiver, targets, seen(targets, rules), rules, baseline=2.0, entropy_coeff=0.0,
                 generator=torch.Generator().manual_seed(1))  # fmt: skip
    sampled = torch.autograd.grad(found.sender_objective, list(sender.symbols.parameters()))
    out = sender(seen(targets[:1], rules))
    of_M = rules.losses(receiver(torch.arange(3)), targets[:1])[0].detach() / UNIT
    exact = torch.autograd.grad((out.exp()[0] * of_M).sum(), list(sender.symbols.parameters()))
    for one, other in zip(sampled, exact, strict=True):
        assert torch.allclose(one, other, atol=0.02 * float(of_M.max() - of_M.min()))


@pytest.mark.parametrize("channel", CHANNELS)
def test_20_the_exact_judgement_is_what_sampling_converges_to(channel: str) -> None:
    sender, receiver = pair(channel)
    rules = Rules(60.0)
    found = judge(sender, receiver, rules)
    targets = torch.arange(100).repeat(2000) * 3.6
    with torch.no_grad():
        message, _, _ = sender.speak(sender(seen(targets, rules)), torch.Generator().manual_seed(0))
        for name, of_B in zip(
            ("sender_loss", "receiver_loss"), rules.losses(receiver(message), targets), strict=True
        ):
            error = float(of_B.std()) / len(of_B) ** 0.5
            assert abs(found[name] - float(of_B.mean())) < 3 * error + 0.02
    assert found["loss_sum"] == pytest.approx(found["sender_loss"] + found["receiver_loss"])


def test_a_sender_that_says_one_thing_is_silent() -> None:
    sender, receiver = pair("discrete")
    with torch.no_grad():
        sender.symbols.weight.zero_()
        sender.symbols.bias.zero_()
        sender.symbols.bias[3] = 200.0
    found = judge(sender, receiver, Rules(30.0))
    assert found["sender_loss"] == pytest.approx(90.0, abs=0.1) and found["receiver_loss"] == pytest.approx(
        90.0, abs=0.1
    )
    assert found["mutual_information"] == found["communication"] == found["manipulation"] == 0.0


def test_the_baseline_is_the_mean_of_all_batches() -> None:
    baseline = Baseline()
    assert baseline.value == 0.0
    for loss in (4.0, 1.0, 7.0, 0.0):
        baseline.add(loss)
    assert baseline.value == 3.0


# ----- LOLA


def test_dice_is_one_with_the_score_function_s_derivatives() -> None:
    logits = torch.randn(5, dtype=torch.double, requires_grad=True)
    logp = logits.log_softmax(-1)[2]
    assert dice(logp).item() == 1.0
    (first,) = torch.autograd.grad(dice(logp), logits, create_graph=True)
    (score,) = torch.autograd.grad(logp, logits, create_graph=True)
    assert torch.allclose(first, score)
    p = logits.softmax(-1)[2]
    (slope,) = torch.autograd.grad(p, logits, create_graph=True)
    hessian = torch.stack([torch.autograd.grad(slope[i], logits, retain_graph=True)[0] for i in range(5)]) / p
    ours = torch.stack([torch.autograd.grad(first[i], logits, retain_graph=True)[0] for i in range(5)])
    assert torch.allclose(ours, hessian), (
        "E[dice] differentiates as the probability itself, of second order too"
    )


@pytest.mark.parametrize("order", [1, 2, 5])
def test_looking_ahead_on_a_quadratic_game_has_a_closed_form(order: int) -> None:
    """V(x, y) = (y - a x)^2 / 2 for the other, who steps k times at rate r: y_k = a x + (1 - r)^k (y - a x), so that the
    derivative of any f(x, y_k) is f_x + f_y a (1 - (1 - r)^k).
    """
    a, rate, x0, y0 = 1.7, 0.3, 0.4, -1.1
    x = torch.tensor(x0, dtype=torch.double, requires_grad=True)
    y = torch.tensor(y0, dtype=torch.double, requires_grad=True)
    later = simulated(lambda w: (w["y"] - a * x) ** 2 / 2, {"y": y}, rate, order)["y"]
    kept = (1 - rate) ** order
    assert later.item() == pytest.approx(a * x0 + kept * (y0 - a * x0))
    (slope,) = torch.autograd.grad(x**2 + 3 * x * later + later**2, x)
    end = later.item()
    assert slope.item() == pytest.approx(2 * x0 + 3 * end + (3 * x0 + 2 * end) * a * (1 - kept))


def looked_ahead(lola: str, rate: float, order: int = 1) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Gradients of sender and receiver on one batch of games."""
    sender, receiver = pair("discrete")
    rules, targets = Rules(60.0), torch.rand(64, generator=torch.Generator().manual_seed(0)) * 360
    config = SimpleNamespace(lola=lola, lola_order=order, sender_lola_lr=rate, receiver_lola_lr=rate)
    found = look_ahead(sender, receiver, targets, seen(targets, rules), rules, baseline=3.0, entropy_coeff=0.1,
                       generator=torch.Generator().manual_seed(0), config=config)  # fmt: skip
    (found.sender_objective + found.receiver_objective).backward()
    return [p.grad for p in sender.parameters()], [p.grad for p in receiver.parameters()]


@pytest.mark.parametrize("lola", ["sender", "receiver", "both"])
def test_looking_ahead_at_rate_zero_is_the_plain_round(lola: str) -> None:
    sender, receiver = pair("discrete")
    found = games(sender, receiver, Rules(60.0))
    (found.sender_objective + found.receiver_objective).backward()
    for ours, plain in zip(looked_ahead(lola, 0.0), (sender, receiver), strict=True):
        for one, other in zip(ours, plain.parameters(), strict=True):
            assert torch.allclose(one, other.grad, atol=1e-6)


@pytest.mark.parametrize(
    ("lola", "moved"), [("sender", (True, False)), ("receiver", (False, True)), ("both", (True, True))]
)
def test_only_who_looks_ahead_has_another_gradient(lola: str, moved: tuple[bool, bool]) -> None:
    plain, ahead = looked_ahead(lola, 0.0), looked_ahead(lola, 0.5, order=2)
    for calm, seen_ahead, differs in zip(plain, ahead, moved, strict=True):
        same = all(torch.allclose(one, other, atol=1e-6) for one, other in zip(calm, seen_ahead, strict=True))
        assert same != differs
