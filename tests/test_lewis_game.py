"""LewisGame on a dozen updates: gradients, resets of the speaker alone, generations, stopped runs; and its learning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pivot_fixture import finish, lewis, same, weights

from rllib_ext.language_games.lewis.agents import listener, nll, speaker


def test_agents_are_linear_in_the_one_hot_vectors() -> None:
    """Affine: f(a + b - c) = f(a) + f(b) - f(c); first weights have the published scale."""
    torch.manual_seed(0)
    agent = speaker(5, 5, 200, 0.1)
    a, b, c = (torch.rand(1, 5, 5) for _ in range(3))
    torch.testing.assert_close(agent(a + b - c), agent(a) + agent(b) - agent(c), atol=1e-5, rtol=1e-4)
    assert agent(torch.zeros(3, 5, dtype=torch.int64)).shape == (3, 5, 25)
    assert agent.maps[1].weight.std().item() == pytest.approx(0.1, rel=0.02)
    ids = torch.randint(25, (4, 5))
    ear = listener(5, 5, 20, 0.1)
    torch.testing.assert_close(ear(ids), ear(torch.nn.functional.one_hot(ids, 25).float()))


def test_nll_is_a_mean_over_properties() -> None:
    logits = torch.zeros(2, 3, 4)
    assert nll(logits, torch.zeros(2, 3, dtype=torch.int64)).tolist() == pytest.approx(
        [1.3863, 1.3863], abs=1e-4
    )


@pytest.mark.parametrize("way", ["gumbel", "reinforce"])
def test_both_agents_learn_to_play(tmp_path: Path, way: str) -> None:
    game = lewis(
        tmp_path, message_gradient=way, hidden=64, play_updates=400, report_every=200, reset_every=None
    )
    start, first, last = [row for row in finish(game) if row["phase"] == "play"]
    assert start["play_updates"] == 0
    assert last["learners"]["play"]["reward"] > first["learners"]["play"]["reward"] + 0.02
    assert 0.2 < last["game"]["task_accuracy"] <= 1 and 0 <= last["drift"]["speaker_accuracy"] <= 1


def test_pretraining_teaches_the_canonical_language(tmp_path: Path) -> None:
    """With every object but a few labelled, both agents know the language, and the task follows."""
    game = lewis(
        tmp_path,
        properties=2,
        types=3,
        labelled=6,
        played=1,
        hidden=32,
        pretrain_updates=150,
        pretrain_lr=3e-2,
        play_updates=1,
    )
    start = next(row for row in iter(game.train, None) if row["phase"] == "play")
    assert start["drift"]["speaker_accuracy"] > 0.7 and start["game"]["listener_accuracy"] > 0.7


def test_a_reset_is_the_speakers_alone(tmp_path: Path) -> None:
    game = lewis(tmp_path, method="elastic_reset", ema_decay=1.0, report_every=4)
    reports = []
    while not reports or reports[-1]["phase"] != "play":
        reports.append(game.train())
    start = weights(game)
    crossed = game.train()
    assert crossed["boundary"] and crossed["play_updates"] == 4
    now = weights(game)
    assert same(now, start, "speaker.") and not same(now, start, "listener.")
    last = finish(game)[-1]
    assert last["er"]["num_resets"] == 2 and not last["boundary"]  # at 4 and 8, none with the last update


def test_no_reset_is_the_plain_game_to_the_bit(tmp_path: Path) -> None:
    plain = lewis(tmp_path / "plain")
    finish(plain)
    for method, more in (("elastic_reset", {"reset_every": 100}), ("s2p", {"s2p_weight": 0.0})):
        other = lewis(tmp_path / method, method=method, **more)
        finish(other)
        assert same(weights(plain), weights(other))


@pytest.mark.fault("B8")
@pytest.mark.parametrize(
    ("method", "way"), [("elastic_reset", "gumbel"), ("sil", "gumbel"), ("plain", "reinforce")]
)
def test_a_stopped_run_ends_with_the_same_bits(tmp_path: Path, method: str, way: str) -> None:
    more = {"method": method, "message_gradient": way, "report_every": 3}
    whole = lewis(tmp_path / "whole", **more)
    results = finish(whole)
    first = lewis(tmp_path / "first", **more)
    while first.updates["play"] < 6:
        first.train()
    first.save_checkpoint(str(tmp_path / "saved"))
    second = lewis(tmp_path / "second", **more)
    second.load_checkpoint(str(tmp_path / "saved"))
    rest = finish(second)
    assert same(weights(whole), weights(second)) and rest[-1]["game"] == results[-1]["game"]
    assert second.elastic.resets == whole.elastic.resets and second.generations == whole.generations
    assert second.baseline == whole.baseline


def test_defaults_follow_the_estimator(tmp_path: Path) -> None:
    for way, lr, batch in (("gumbel", 1e-4, 50), ("reinforce", 1e-3, 64)):
        game = lewis(tmp_path / way, message_gradient=way, lr=None)
        assert (game.values["lr"], game.values["batch_size"]) == (lr, batch)
