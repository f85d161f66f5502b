"""The biased circle: rules, facts of the specification (C.5 15 to 18, 22), and the PettingZoo faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pettingzoo.test import api_test, parallel_api_test, seed_test

from envs.checks import check_parallel
from envs.errors import BadEnv
from envs.games import SenderReceiver, SenderReceiverParallel
from envs.games.circle import circular_loss, losses, on_circle, partition_losses, target_grid
from envs.games.sender_receiver import RECEIVER, SENDER, see_target

ANGLE = st.floats(0.0, 359.999)
ANY = st.floats(-5000.0, 5000.0)
BIAS = st.floats(0.0, 180.0)


@given(ANGLE, ANGLE, st.sampled_from(["l1", "l2"]))
def test_15_the_loss_is_symmetric_bounded_and_zero_at_home(one: float, other: float, kind: str) -> None:
    loss = float(circular_loss(one, other, kind))
    assert loss == circular_loss(other, one, kind) and 0.0 <= loss <= 180.0
    assert circular_loss(one, one, kind) == 0.0


@given(ANY, ANGLE)
def test_15_the_loss_goes_round_with_the_answer(answer: float, target: float) -> None:
    here, round_again = losses(answer, target, 0.0)[0], losses(answer + 360.0, target, 0.0)[0]
    assert here == pytest.approx(round_again, abs=1e-8)
    assert 0.0 <= on_circle(answer) < 360.0


def test_reflection_is_the_authors_and_not_the_circle_s() -> None:
    assert on_circle([-5.0, 365.0, -365.0]).tolist() == [355.0, 5.0, 355.0]
    assert on_circle([-5.0, 365.0, -365.0], compat_reflect=True).tolist() == [5.0, 5.0, 5.0]
    assert on_circle(-1e-14) == 0.0


@given(ANY, ANGLE, BIAS)
def test_16_the_sum_lies_between_the_bias_and_its_complement(
    answer: float, target: float, bias: float
) -> None:
    both = float(sum(losses(answer, target, bias)))
    assert bias - 1e-6 <= both <= 360.0 - bias + 1e-6


@given(ANGLE, BIAS, st.floats(0.0, 1.0))
def test_16_the_short_arc_costs_exactly_the_bias(target: float, bias: float, along: float) -> None:
    sender, receiver = losses(target + along * bias, target, bias)
    assert sender == pytest.approx(along * bias, abs=1e-8)
    assert sender + receiver == pytest.approx(bias, abs=1e-8)


@pytest.mark.parametrize("messages", [2, 3, 4, 8, 64])
@pytest.mark.parametrize("bias", [0.0, 2.0, 20.0, 60.0, 90.0, 150.0, 178.0, 180.0])
def test_16_equal_arcs_have_their_closed_form(messages: int, bias: float) -> None:
    width, count = 360.0 / messages, 3600
    targets = (np.arange(messages * count) + 0.5) * (width / count)
    centres = (targets // width + 0.5) * width
    sender, receiver = losses(centres + bias, targets, bias)
    wanted = partition_losses(messages, bias)
    assert (sender.mean(), receiver.mean()) == pytest.approx(wanted, abs=2e-5)
    assert wanted[1] == 90.0 / messages


@pytest.mark.parametrize("bias", [0.0, 45.0, 180.0])
def test_16_an_answer_that_says_nothing_costs_ninety(bias: float) -> None:
    targets = np.random.default_rng(0).uniform(0, 360, 200_000)
    assert [loss.mean() for loss in losses(123.0, targets, bias)] == pytest.approx([90.0, 90.0], abs=0.5)


@given(ANY, ANGLE)
def test_17_opposed_interests_sum_to_a_constant_and_shared_ones_are_one(answer: float, target: float) -> None:
    assert float(sum(losses(answer, target, 180.0))) == pytest.approx(180.0, abs=1e-6)
    assert losses(answer, target, 0.0)[0] == losses(answer, target, 0.0)[1]


def play(env: SenderReceiver, target: float, message: object, answer: float) -> dict[str, float]:
    env.reset(seed=0, options={"target": target})
    env.step(message)
    env.step(np.array([answer], np.float32))
    return dict(env.rewards)


def test_rewards_are_the_losses_in_units_of_silence() -> None:
    rewards = play(SenderReceiver(60.0), 350.0, 7, 2.0)  # 20 degrees: 30 from 350, 30 from 50
    assert rewards == pytest.approx({SENDER: -30 / 90, RECEIVER: -30 / 90})
    env = SenderReceiver(60.0, reward_scale=1.0)
    assert play(env, 0.0, 3, 6.0) == pytest.approx({SENDER: -60.0, RECEIVER: 0.0}, abs=1e-5)
    assert env.infos[SENDER] == pytest.approx(
        {"L_s": 60.0, "L_r": 0.0, "T_s": 0.0, "T_r": 60.0, "message": 3}, abs=1e-5
    )


@pytest.mark.parametrize("channel", ["discrete", "continuous"])
def test_18_the_receiver_sees_the_message_and_nothing_else(channel: str) -> None:
    env = SenderReceiver(90.0, channel)
    message = 5 if channel == "discrete" else np.array([0.25])
    seen = set()
    for target in (0.0, 77.7, 300.0):
        env.reset(seed=1, options={"target": target})
        before = np.asarray(env.observe(RECEIVER)).tobytes()
        env.step(message)
        seen.add((before, np.asarray(env.observe(RECEIVER)).tobytes()))
    assert len(seen) == 1


def test_the_sender_sees_neither_bias_nor_the_other_s_target() -> None:
    views = [SenderReceiver(bias) for bias in (0.0, 90.0, 180.0)]
    for env in views:
        env.reset(options={"target": 123.0})
    assert {float(env.observe(SENDER)[0]) for env in views} == {np.float32(12.3)}


def test_targets_as_the_sender_may_see_them() -> None:
    assert see_target(90.0, "raw").tolist() == [9.0] and see_target(90.0, "unit").tolist() == [0.25]
    assert see_target(90.0, "sincos").tolist() == pytest.approx([1.0, 0.0], abs=1e-7)
    top = see_target(np.nextafter(360.0, 0.0), "raw")
    assert top < np.float32(36.0)


def test_an_evaluation_s_targets_are_the_grid() -> None:
    env = SenderReceiver(grid_eval=True)
    drawn = set()
    for seed in range(200):
        env.reset(seed=seed)
        drawn.add(env._target)
    assert drawn <= set(target_grid().tolist()) and len(drawn) > 70


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bias": 200.0}, "bias = 200.0 must be a finite number from 0.0 to 180.0"),
        ({"vocabulary": -1}, "vocabulary = -1 must be a whole number, 2 or more"),
        ({"channel": "smoke"}, "channel = 'smoke' must be one of 'discrete', 'continuous'"),
        ({"loss": "l3"}, "loss = 'l3'"),
        ({"target_obs": "one_hot"}, "target_obs = 'one_hot'"),
        ({"compat_reflect": 1}, "compat_reflect = 1 must be True or False"),
    ],
)
def test_illegal_arguments_are_refused_by_name_and_range(arguments: dict, words: str) -> None:
    with pytest.raises(BadEnv, match=words.replace("(", r"\(")):
        SenderReceiver(**arguments)


@pytest.mark.parametrize("action", [128, -1, 1.5, "a", True, None])
def test_a_message_outside_the_vocabulary_is_refused(action: object) -> None:
    env = SenderReceiver()
    env.reset(seed=0)
    with pytest.raises(BadEnv, match="the action of sender_0"):
        env.step(action)


@pytest.mark.parametrize("answer", [[np.nan], [np.inf], [1.0, 2.0], 1.0])
def test_an_answer_that_is_no_angle_is_refused(answer: object) -> None:
    env = SenderReceiver()
    env.reset(seed=0)
    env.step(3)
    with pytest.raises(BadEnv, match="the action of receiver_0"):
        env.step(answer)


@pytest.mark.parametrize("channel", ["discrete", "continuous"])
def test_22_pettingzoo_s_own_tests(channel: str) -> None:
    api_test(SenderReceiver(30.0, channel), num_cycles=20)
    seed_test(lambda: SenderReceiver(30.0, channel), num_cycles=10)
    parallel_api_test(SenderReceiverParallel(30.0, channel), num_cycles=20)


@pytest.mark.parametrize("channel", ["discrete", "continuous"])
def test_22_this_package_s_checks(channel: str) -> None:
    check_parallel(lambda **given: SenderReceiverParallel(30.0, channel, **given))


def test_the_parallel_face_plays_the_same_game() -> None:
    parallel, turns = SenderReceiverParallel(45.0), SenderReceiver(45.0)
    parallel.reset(seed=3)
    turns.reset(seed=3)
    noise = np.array([99.0], np.float32)
    seen, rewards, ended, _, infos = parallel.step({SENDER: 11, RECEIVER: noise})
    turns.step(11)
    assert seen[RECEIVER] == turns.observe(RECEIVER) == 11 and not any(ended.values())
    assert infos[RECEIVER]["active"] and not infos[SENDER]["active"] and set(rewards.values()) == {0.0}
    answer = np.array([4.0], np.float32)
    _, rewards, ended, _, infos = parallel.step({SENDER: 0, RECEIVER: answer})
    turns.step(answer)
    assert rewards == turns.rewards and all(ended.values()) and parallel.agents == []
    assert infos[SENDER]["message"] == 11
