"""The Atari worker: what it stores is what was played, games are counted whole, and it can stand where it stood."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sgi_fixture import learner_of, runner_of, small, some_stacks

from envs.atari import AtariCopies
from rllib_ext.errors import BadConfig
from rllib_ext.sgi.acting import Actor, epsilon_at
from rllib_ext.sgi.noisy import noisy_layers
from rllib_ext.sgi.replay import FrameSequenceReplayBuffer

COLUMNS = ("frame_TBHW", "started_TB", "action_TB", "reward_TB", "terminated_TB", "truncated_TB")


def same(left, right) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in COLUMNS)


def test_a_stretch_is_what_the_copies_played() -> None:
    runner = runner_of(small("Atari100k/Breakout", copies=3))
    stretch = runner.stretch(60, epsilon=1.0)
    copies = AtariCopies("Breakout", 3)
    frame, started = copies.reset(0), np.ones(3, bool)
    for t in range(60):
        assert np.array_equal(stretch.frame_TBHW[t], frame)
        assert np.array_equal(stretch.started_TB[t], started)
        moment = copies.step(stretch.action_TB[t])
        assert np.array_equal(stretch.reward_TB[t], moment.reward_B)
        assert np.array_equal(stretch.terminated_TB[t], moment.terminated_B)
        frame, started = moment.frame_BHW, moment.started_B
    assert stretch.terminated_TB.any() and stretch.env_steps() == 180
    runner.stop(), copies.close()


def test_replay_gives_back_the_stacks_that_the_policy_saw() -> None:
    runner = runner_of(small("Atari100k/Breakout", copies=2))
    seen = []
    decide = runner.actor.decide
    runner.actor.decide = lambda stack, *rest: (seen.append(stack.copy()), decide(stack, *rest))[1]
    stretch = runner.stretch(80, epsilon=1.0)
    buffer = FrameSequenceReplayBuffer(400, games=2, window=5)
    stretch.into(buffer)
    assert stretch.terminated_TB.any()
    for t in range(75):
        got = buffer.windows(
            np.full(2, t), np.arange(2), np.ones(2), spr_steps=1, n_step=1, gamma=0.99
        )  # fmt: skip
        assert np.array_equal(got.frames_NFHW[:, :4], seen[t]), t
    runner.stop()


def test_a_restored_worker_goes_on_to_the_bit() -> None:
    config = small("Atari100k/Breakout", copies=2, learning_starts=20)
    first = runner_of(config)
    first.stretch(40)
    state = first.play_state()
    weights = first.get_state()
    second = runner_of(config)
    second.set_state(weights)
    assert second.restore_play(state) is True
    on, again = first.stretch(30), second.stretch(30)
    assert same(on, again) and again.follows
    assert list(second.played.returns) == list(first.played.returns)
    assert second.num_env_steps_sampled_lifetime == first.num_env_steps_sampled_lifetime
    first.stop(), second.stop()


def test_a_worker_without_a_record_begins_new_games_and_says_so() -> None:
    config = small(copies=2)
    first, second = runner_of(config), runner_of(config)
    first.stretch(5, epsilon=1.0)
    assert second.restore_play({**first.play_state(), "history": None}) is False
    assert second.stretch(5, epsilon=1.0).follows is False
    first.stop(), second.stop()


def test_games_are_counted_whole_and_unclipped_one_for_each_copy() -> None:
    runner = runner_of(
        small("Atari100k/Breakout"), in_evaluation=True, evaluation_duration=3, evaluation_epsilon=1.0
    )
    assert runner.num_envs == 3
    ended = []
    runner.play_games(
        3, watch=lambda moment, wanted: ended.extend(moment.episode_return_B[(moment.episode_length_B > 0) & wanted])
    )  # fmt: skip
    assert runner.make_env().flags["life_loss"] == "ignore" and not runner.make_env().flags["clip_rewards"]
    assert len(ended) == 3 and list(runner.played.returns) == ended
    metrics = runner.get_metrics()
    assert float(metrics["episode_return_mean"].peek()) == pytest.approx(np.mean(ended))
    runner.stop()


def test_a_worker_of_training_plays_no_evaluation() -> None:
    with pytest.raises(BadConfig, match="evaluation_interval"):
        runner_of(small()).sample(num_episodes=2)


def test_evaluation_flags_are_not_those_of_training() -> None:
    config = small().environment(env_config={"clip_rewards": True, "life_loss": "terminal", "sticky": 0.1})
    runner = runner_of(config, in_evaluation=True, evaluation_duration=1)
    flags = runner.make_env().flags
    assert (flags["clip_rewards"], flags["life_loss"], flags["sticky"]) == (False, "ignore", 0.1)
    with pytest.raises(BadConfig, match="Did you mean 'sticky'"):
        runner_of(small().environment(env_config={"stiky": 0.1})).make_env()
    runner.stop()


def test_a_worker_that_shares_weights_acts_with_the_newest_and_noise_of_its_own() -> None:
    config = small()
    learner, runner = learner_of(config, seed=1), runner_of(config)
    runner.share(learner.networks)
    stacks = some_stacks()
    with torch.no_grad():
        learner.networks.head.value_out.bias.add_(torch.linspace(0, 3, 51))
        learner.networks.eval(), runner.policy.eval()
        assert torch.equal(runner.policy.q_values(stacks), learner.networks.q_values(stacks))
    runner.actor.greedy(stacks.numpy(), explore=True)
    assert all(layer._noise is not None for layer in noisy_layers(runner.policy))
    assert all(layer._noise is None for layer in noisy_layers(learner.networks))


def test_acting_is_noisy_in_training_and_not_in_evaluation() -> None:
    learner = learner_of(small(encoder="S-BN", sigma_0=5.0))
    actor, stacks = Actor(learner.networks, 6, 0), some_stacks(40).numpy()
    still = [actor.greedy(stacks, explore=False) for _ in range(2)]
    assert np.array_equal(*still)
    noisy = [actor.greedy(stacks, explore=True) for _ in range(4)]
    assert len({tuple(actions) for actions in noisy}) > 1
    assert not learner.networks.encoder.training


def test_epsilon_is_one_then_falls_on_a_line() -> None:
    settings = {"random_steps": 2000, "decay_steps": 4, "last": 0.2}
    assert [round(epsilon_at(step, **settings), 9) for step in (0, 1999, 2000, 2001, 2003, 9999)] == [
        1.0, 1.0, 0.8, 0.6, 0.2, 0.2]  # fmt: skip
    assert epsilon_at(2000, random_steps=2000, decay_steps=1, last=0.0) == 0.0
