"""The rollout worker: who hears what and when, what comes after an ending, and what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from comm_fixture import Countdown, small

from rllib_ext.contrastive_comm.columns import Rollout, joined
from rllib_ext.contrastive_comm.passing import Channel, heard_from, others_of
from rllib_ext.contrastive_comm.runner import CommEnvRunner
from rllib_ext.errors import BadConfig, BadEnv


def runner_of(config: Any) -> CommEnvRunner:
    config.validate()
    return CommEnvRunner(config=config, worker_index=0, num_workers=0)


@pytest.fixture(scope="module")
def beacons() -> tuple[CommEnvRunner, dict[str, np.ndarray]]:
    runner = runner_of(small("Beacon", {"agents": 3}, rollout_steps=30))
    return runner, joined(runner.sample())


def test_columns_have_the_shapes_that_are_promised(beacons: Any) -> None:
    _, columns = beacons
    sizes = {
        "B": 8,
        "T": 30,
        "A": 3,
        "A - 1": 2,
        "D": 4,
        "(A - 1) D": 8,
        "N": 5,
        "H": 32,
        "O": columns["obs"].shape[-1],
    }
    from rllib_ext.contrastive_comm.columns import SHAPES

    for name, promise in SHAPES.items():
        shape, kind = promise.partition(")")[0], promise
        if name == "inbox":
            assert columns[name].shape == (8, 30, 3, 8)
        else:
            assert columns[name].shape == tuple(sizes[key.strip()] for key in shape.strip("(").split(",")), (
                name
            )
        assert any(columns[name].dtype == np.dtype(word.strip(",")) for word in kind.split() if word.strip(",") in
                   ("float32", "bool", "int64")), name  # fmt: skip


def test_a_message_is_heard_one_step_later_and_never_across_episodes(beacons: Any) -> None:
    _, columns = beacons
    expected = heard_from(torch.from_numpy(columns["said"])).numpy()[:, :-1]
    heard, first = columns["inbox"][:, 1:], columns["first"][:, 1:]
    assert first.any() and not heard[first].any() and not columns["arrived"][:, 1:][first].any()
    assert np.array_equal(heard[~first], expected[~first])
    assert not columns["inbox"][:, 0].any(), "nothing was said before"


def test_episodes_are_numbered_and_dated(beacons: Any) -> None:
    _, columns = beacons
    trajectory, time, first = columns["trajectory"], columns["time"], columns["first"][..., 0]
    assert np.array_equal(time == 0, first)
    assert np.array_equal(np.diff(trajectory, axis=1) != 0, first[:, 1:])
    kept = ~first[:, 1:]
    assert (np.diff(time, axis=1)[kept] == 1).all()
    assert len(np.unique(trajectory)) == 8 + first[:, 1:].sum()


def test_stretches_go_on_where_the_last_one_ended(beacons: Any) -> None:
    runner, before = beacons
    after = joined(runner.sample())
    same = ~after["first"][:, 0, 0]
    assert same.any()
    assert np.array_equal(after["time"][same, 0], before["time"][same, -1] + 1)
    heard = heard_from(torch.from_numpy(before["said"][:, -1])).numpy()
    assert np.array_equal(after["inbox"][same, 0], heard[same])


def test_what_follows_a_cut_off_is_a_value_and_what_follows_an_end_is_not() -> None:
    """Agent a ends by the rules after 2 steps, b is cut off after 4, c with it ends: PettingZoo's mixed ending."""
    plan = {"a": (2, "terminated"), "b": (4, "truncated"), "c": (4, "terminated")}
    runner = runner_of(small(Countdown, {"plan": plan}, rollout_steps=9, comm="cacl"))
    columns = joined(runner.sample())
    active, ended, following = columns["active"], columns["ended"], columns["following"]
    a, b, c = range(3)
    assert active[0, :9, a].tolist() == [True, True, False, False] * 2 + [True]
    assert active[..., b].all() and active[..., c].all()
    assert np.flatnonzero(ended[0, :, b]).tolist() == [3, 7] == np.flatnonzero(ended[0, :, c]).tolist()
    assert ended[0, 1, a] and following[0, 1, a] == 0.0 and following[0, 3, c] == 0.0
    assert (following[:, 3, b] != 0.0).all()
    assert np.array_equal(following[:, 0, b], columns["vf_preds"][:, 1, b])
    assert not columns["inbox"][0, 2:4, b, :4].any(), "who has left is not heard"
    assert columns["inbox"][0, 2:4, b, 4:].any(), "who is there is"
    assert not columns["rewards"][0, 2:4, a].any()


def test_the_value_after_a_cut_off_is_that_of_the_last_observation() -> None:
    plan = {"a": (3, "truncated"), "b": (3, "truncated")}
    runner = runner_of(small(Countdown, {"plan": plan}, rollout_steps=3, comm="cacl"))
    columns = joined(runner.sample())
    module = runner.policy
    seen = torch.from_numpy(
        np.concatenate([columns["obs"], [[[[3.0, 0.0], [3.0, 1.0]]]] * 8], axis=1)
    ).float()
    said = torch.from_numpy(columns["said"])
    inbox = torch.cat([torch.zeros(8, 1, 2, 4), heard_from(said)], dim=1)
    first = torch.zeros(8, 4, 2, dtype=torch.bool)
    first[:, 0] = True
    batch = {
        "obs": seen, "inbox": inbox, "first": first, "masks": torch.ones(8, 4, 2, 2, dtype=torch.bool),
        "memory": torch.zeros(8, 2, 32),
    }  # fmt: skip
    values = module(batch)["vf_preds"].view(2, 8, 4)[:, :, 3]
    assert torch.allclose(torch.from_numpy(columns["following"][:, 2]), values.T, atol=1e-5)


def test_an_evaluation_plays_whole_episodes_an_even_share_an_environment(beacons: Any) -> None:
    runner, _ = beacons
    counted = np.zeros(8, dtype=int)

    def watch(wanted_B: Any, now: Any, decision: Any, step: Any) -> None:
        nonlocal counted
        counted += wanted_B & step.done_B

    episodes, steps, agent_steps = runner.play_episodes(19, watch=watch)
    assert sorted(counted.tolist()) == [2] * 5 + [3] * 3 and len(episodes) == 19
    assert steps == sum(episode["episode_len_mean"] for episode in episodes)
    assert agent_steps == 3 * steps
    assert {"success", "episode_return_mean"} <= set(episodes[0])


def test_an_evaluation_with_other_inboxes_hears_those(beacons: Any) -> None:
    runner, _ = beacons
    heard = []

    def watch(wanted_B: Any, now: Any, decision: Any, step: Any) -> None:
        heard.append(runner._inbox.copy())

    runner.play_episodes(8, hear=np.zeros_like, watch=watch)
    assert heard and not any(inbox.any() for inbox in heard)


def test_the_same_seed_plays_the_same_and_another_does_not() -> None:
    columns = [joined(runner_of(small().debugging(seed=seed)).sample()) for seed in (1, 1, 2)]
    assert all(np.array_equal(columns[0][name], columns[1][name]) for name in columns[0])
    assert not np.array_equal(columns[0]["obs"], columns[2]["obs"])


def test_workers_stretches_join_with_episodes_of_their_own() -> None:
    columns = {"trajectory": np.array([[4, 5], [6, 6]]), "x": np.zeros((2, 1))}
    both = joined([Rollout(columns), Rollout(columns)])
    assert both["trajectory"].tolist() == [[0, 1], [2, 2], [3, 4], [5, 5]] and len(both["x"]) == 4


def test_a_channel_drops_and_disturbs_as_often_as_it_says() -> None:
    channel, draw = Channel(3, 2, drop=0.25, noise=0.1), np.random.default_rng(0)
    messages = np.full((4000, 3, 2), 0.5, np.float32)
    present, first = np.ones((4000, 3), bool), np.zeros((4000, 3), bool)
    inbox, arrived = channel.deliver(messages, present, first, draw)
    assert abs(arrived.mean() - 0.75) < 0.01
    heard = inbox.reshape(4000, 3, 2, 2)
    assert not heard[~arrived].any() and abs(heard[arrived].std() - 0.1) < 0.005
    assert inbox.min() >= 0.0 and inbox.max() <= 1.0


def test_an_agent_alone_hears_nobody() -> None:
    assert others_of(1).shape == (1, 0) and Channel(1, 4).width == 0
    runner = runner_of(small(Countdown, {"plan": {"a": (3, "terminated")}}, comm="cacl"))
    assert joined(runner.sample())["inbox"].shape[-1] == 0


def test_environments_that_are_none_are_named() -> None:
    with pytest.raises(BadConfig, match="PredatorPrey"):
        runner_of(small("PredatorPray"))
    with pytest.raises(BadEnv, match="PettingZoo"):
        runner_of(small(lambda config: object()))


def test_the_channel_is_the_one_that_is_put_around_pettingzoo_environments() -> None:
    """The same messages through `CommChannel` around one environment and through the arrays of a worker."""
    from envs.channel import CommChannel

    plan = {"a": (2, "terminated"), "b": (4, "truncated"), "c": (3, "terminated")}
    wrapped, agents = CommChannel(Countdown(plan), 2), ["a", "b", "c"]
    channel, draw = Channel(3, 2), np.random.default_rng(0)
    observations, _ = wrapped.reset(seed=0)
    inbox, _ = channel.empty(1)
    none = np.zeros((1, 3), bool)
    for _ in range(3):
        for place, agent in enumerate(agents):
            if agent in wrapped.agents:
                assert np.array_equal(observations[agent]["msgs"], inbox[0, place])
        said = draw.random((1, 3, 2)).astype(np.float32)
        before = np.array([[agent in wrapped.agents for agent in agents]])
        actions = {agent: {"act": 0, "msg": said[0, agents.index(agent)]} for agent in wrapped.agents}
        observations, *_ = wrapped.step(actions)
        present = before & np.array([[agent in wrapped.agents for agent in agents]])
        inbox, _ = channel.deliver(said, present, none, draw)
