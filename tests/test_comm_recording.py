"""Recordings of teams: what is in them, what ablations change, and teams of several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comm_fixture import Countdown, small

from rllib_ext.analysis.protocol_symmetry import protocol_symmetry
from rllib_ext.analysis.recordings import Recording, load_recording
from rllib_ext.contrastive_comm.cross_play import all_pairs, cross_play, mixed, pair, stage, weights_of
from rllib_ext.contrastive_comm.recording import record, said_by_all, shuffled
from rllib_ext.contrastive_comm.runner import CommEnvRunner
from rllib_ext.errors import BadConfig, BadData, Stalled

ARRAYS = ("observations", "messages", "actions", "active", "episode", "time", "spoken", "frames")


def runner_of(**settings: Any) -> CommEnvRunner:
    config = small("Beacon", {"agents": 3}, **settings)
    config.validate()
    return CommEnvRunner(config=config, worker_index=0, num_workers=0)


@pytest.fixture(scope="module")
def runner() -> CommEnvRunner:
    return runner_of()


@pytest.fixture(scope="module")
def recording(runner: CommEnvRunner) -> Recording:
    return record(runner, 19, seed=3, pictures=True)


def same(one: Recording, other: Recording) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS) and all(
        np.array_equal(values, other.results[name], equal_nan=True) for name, values in one.results.items()
    )


def test_episodes_are_whole_and_in_order(recording: Recording) -> None:
    lengths = np.bincount(recording.episode, minlength=19)
    assert np.array_equal(lengths, recording.results["length"]) and set(recording.results) >= {
        "return",
        "success",
    }
    for episode in range(19):
        assert recording.time[recording.episode == episode].tolist() == list(range(lengths[episode]))
    assert recording.messages.shape == (*recording.active.shape, 4) and recording.active.all()


def test_facts_are_those_of_the_step_that_was_decided_on(recording: Recording) -> None:
    """Beacon shows sighted agents the goal's row and column, one-hot, behind their own, and the arrival after both."""
    seen, sighted = recording.observations, recording.facts["sighted"]
    assert np.array_equal(seen[..., 10:20].any(-1), sighted)
    assert np.array_equal(seen[..., 10:15].argmax(-1)[sighted], recording.facts["goal_row"][sighted])
    assert np.array_equal(seen[..., 15:20].argmax(-1)[sighted], recording.facts["goal_column"][sighted])
    assert np.array_equal(seen[..., 20] > 0, recording.facts["arrived"])
    goals = recording.facts["goal_row"] * 5 + recording.facts["goal_column"]
    assert all(len(np.unique(goals[recording.episode == e])) == 1 for e in range(19)), "one goal an episode"


def test_messages_are_what_the_heads_say_to_what_was_seen(
    runner: CommEnvRunner, recording: Recording
) -> None:
    for agent in range(3):
        said = said_by_all(runner.policy, recording.observations[:, agent])[:, agent]
        assert np.allclose(said, recording.messages[:, agent], atol=1e-6)
    assert recording.spoken.shape == (min(2000, recording.active.sum()), 3, 4)


def test_the_first_episode_is_filmed(recording: Recording) -> None:
    episode = recording.about["filmed"]
    assert (
        len(recording.frames) == recording.results["length"][episode] and recording.frames.dtype == np.uint8
    )
    assert (recording.frames[0] != recording.frames[-1]).any()


def test_a_recording_comes_back_from_its_file_and_another_file_is_refused(
    recording: Recording, tmp_path: Path
) -> None:
    again = load_recording(recording.save(tmp_path / "one.npz"))
    assert same(recording, again) and again.about == recording.about
    assert all(np.array_equal(values, again.facts[name]) for name, values in recording.facts.items())
    (tmp_path / "torn.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:500])
    for name in ("torn.npz", "none.npz"):
        with pytest.raises(BadData, match=name):
            load_recording(tmp_path / name)


def test_the_same_seed_records_the_same_and_training_is_not_touched(
    recording: Recording, runner: CommEnvRunner
) -> None:
    assert same(recording, record(runner, 19, seed=3, pictures=True))
    assert not same(recording, record(runner, 19, seed=4))
    assert type(runner.env).__name__ == "BeaconCore"


def test_ablations_change_what_is_done_and_only_where_there_is_a_channel(
    runner: CommEnvRunner, recording: Recording
) -> None:
    def beginnings(of: Recording) -> list[bytes]:
        return [seen.tobytes() for seen in of.observations[of.time == 0]]

    for inbox in ("zero", "shuffle"):
        other = record(runner, 19, seed=3, inbox=inbox)
        assert len(set(beginnings(other)) & set(beginnings(recording))) >= 8, (
            "every environment's first episode"
        )
        assert not np.array_equal(other.actions, recording.actions)
    silent = runner_of(comm="none")
    found = [record(silent, 19, seed=3, inbox=inbox) for inbox in ("none", "zero", "shuffle")]
    assert same(found[0], found[1]) and same(found[0], found[2]) and not found[0].talks


def test_shuffled_inboxes_are_those_of_others_and_empty_ones_stay_empty() -> None:
    draw = np.random.default_rng(0)
    inbox = draw.random((6, 2, 3), np.float32) + 0.1
    inbox[1] = inbox[4, 0] = 0.0
    mixed_up = shuffled(inbox, draw)
    for agent, silent in ((0, [1, 4]), (1, [1])):
        heard = [row for row in range(6) if row not in silent]
        assert not mixed_up[silent, agent].any()
        assert sorted(mixed_up[heard, agent, 0]) == sorted(inbox[heard, agent, 0])
        assert not (mixed_up[heard, agent] == inbox[heard, agent]).any()


def test_who_is_not_active_says_nothing() -> None:
    plan = {"a": (2, "terminated"), "b": (4, "truncated")}
    config = small(Countdown, {"plan": plan})
    config.validate()
    found = record(CommEnvRunner(config=config, worker_index=0, num_workers=0), 8)
    assert found.active[:4].tolist() == [[True, True]] * 2 + [[False, True]] * 2
    assert not found.messages[~found.active].any() and found.messages[found.active].all()
    assert not found.facts and found.about["env"] == "Countdown"


def test_settings_that_are_none_are_named(runner: CommEnvRunner) -> None:
    with pytest.raises(BadConfig, match="shuffle"):
        record(runner, 2, inbox="shufle")
    with pytest.raises(BadConfig, match="episodes"):
        record(runner, 0)
    with pytest.raises(BadConfig, match="other inbox"):
        config = small("Beacon", comm="none").env_runners(num_envs_per_env_runner=1)
        record(CommEnvRunner(config=config, worker_index=0, num_workers=0), 2, inbox="shuffle")


# ----- teams of several runs


def other_weights(runner: CommEnvRunner, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(values.shape, generator=draw) / 3 for name, values in weights_of(runner).items()
    }


def test_cross_play_of_a_run_with_itself_is_self_play(runner: CommEnvRunner, recording: Recording) -> None:
    own, other = weights_of(runner), other_weights(runner, 1)
    teams = all_pairs(runner, [own, other], 19, seed=3)
    assert same(teams[0, 0], record(runner, 19, seed=3)), "weights came back, too"
    assert not same(teams[0, 0], teams[1, 1]) and not same(teams[0, 1], teams[1, 0])


def test_each_agent_of_a_team_is_that_of_its_run(runner: CommEnvRunner) -> None:
    own, other = weights_of(runner), other_weights(runner, 1)
    team = cross_play(runner, [own, other], [0, 1, 0], 8, seed=3)
    for agent, weights in ((0, own), (1, other), (2, own)):
        alone = stage(runner.config)
        alone.policy.load_state_dict(weights)
        said = said_by_all(alone.policy, team.observations[:, agent])[:, agent]
        assert np.allclose(said, team.messages[:, agent], atol=1e-6)
    assert pair(3, 0, 1) == [0, 0, 1] and pair(4, 2, 2) == [2] * 4


def test_agents_that_share_parameters_can_be_mixed_and_are_perfectly_symmetric() -> None:
    shared = runner_of(share_parameters=True)
    config = shared.config
    with pytest.raises(BadConfig, match="stage"):
        cross_play(shared, [weights_of(shared)], [0, 0, 0], 4)
    found = cross_play(stage(config), [weights_of(shared)], [0, 0, 0], 8, seed=3)
    alone = record(shared, 8, seed=3)
    assert np.allclose(found.messages, alone.messages, atol=1e-5)
    assert protocol_symmetry(found.spoken).mean == pytest.approx(1.0, abs=1e-6)


def test_runs_that_do_not_fit_are_named(runner: CommEnvRunner) -> None:
    own = weights_of(runner)
    silent = weights_of(runner_of(comm="none"))
    with pytest.raises(BadConfig, match="message_dim"):
        cross_play(runner, [own, silent], [0, 0, 1], 2)
    with pytest.raises(BadConfig, match="3 agents"):
        cross_play(runner, [own], [0, 0], 2)
    decoding = weights_of(runner_of(comm="aecomm"))
    assert cross_play(runner, [own, decoding], [0, 0, 1], 2).messages.shape[-1] == 4, (
        "decoders are not needed"
    )
    with pytest.raises(BadConfig, match="mixed"):
        mixed([own, {name: values[:2] for name, values in own.items()}], [0, 0, 1], list(own))


def test_an_untrained_teams_raw_symmetry_is_high_and_says_nothing(recording: Recording) -> None:
    """Heads as they are made, sigmoid outputs: the cosine is high, and as high for different observations."""
    found = protocol_symmetry(recording.spoken)
    assert found.raw > 0.9 and abs(found.raw - found.raw_shuffled) < 0.02


def test_an_algorithm_records_on_its_worker_within_a_deadline(ray_session: Any) -> None:
    config = small("Beacon", {"agents": 2}).env_runners(num_env_runners=1)
    algorithm = config.build_algo()
    try:
        found, weights = record(algorithm, 9, seed=1), weights_of(algorithm)
        here = stage(config)
        here.policy.load_state_dict(weights)
        assert same(found, record(here, 9, seed=1))
        with pytest.raises(Stalled, match="timeout_s"):
            record(algorithm, 9, timeout_s=0.0)
    finally:
        algorithm.stop()
