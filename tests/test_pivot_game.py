"""PivotGame end to end on a dozen updates: what each method does to which weights, and runs that are stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pivot_fixture import finish, pivot, same, weights

from envs.pivot import PivotTranslation, corpus_bleu
from rllib_ext.errors import BadConfig, CheckpointCorrupt
from rllib_ext.language_games.knobs import elastic_settings
from rllib_ext.language_games.pivot.vocabulary import EOS
from rllib_ext.runtime.run_folder import read_jsonl


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory):
    """(game, reports, weights at the start of play) of a REINFORCE run."""
    game = pivot(tmp_path_factory.mktemp("plain"))
    results = [game.train()]
    while results[-1]["phase"] != "play":
        results.append(game.train())
    start = weights(game)
    return game, results + finish(game), start


def test_the_reports_of_a_run(plain) -> None:
    game, results, _ = plain
    assert [row["phase"] for row in results] == ["language_model", "sender", "receiver", *["play"] * 4]
    assert [row["play_updates"] for row in results[2:]] == [0, 0, 3, 6, 8]
    assert results[3]["drift"]["same_as_start"] == 1.0 and results[-1]["drift"]["same_as_start"] < 1.0
    assert results[-1]["num_updates_lifetime"] == 2 + 2 + 2 + 8
    last = results[-1]
    assert 0 <= last["game"]["bleu_de"] <= 100 and last["drift"]["nll"] > 0
    assert (
        last["drift"]["nll_reference"] == results[3]["drift"]["nll_reference"]
    )  # the language model is frozen
    kept = {row["corpus"]: row["kept"] for row in game.data.accounts if row["split"] == "train"}
    assert kept == {"game": 48, "french_english": 48, "english_german": 48, "english": 48}


def test_the_receiver_learns_from_the_game(plain, tmp_path: Path) -> None:
    game = pivot(tmp_path, play_updates=40, report_every=20, hidden=24, embedding=24, grad_clip=1.0)
    first, second = [row for row in finish(game) if row["phase"] == "play"][1:]
    before, after = (row["learners"]["play"]["receiver_nll"] for row in (first, second))
    assert after < before - 0.1


def test_batch_play_equals_play_through_the_environment(plain) -> None:
    """The greedy agents step by step in PivotTranslation give the BLEU that the evaluation reports."""
    game = plain[0]
    bias = game.modules["sender"].output.bias.detach()
    before = bias.clone()
    bias[EOS] += 50.0  # every message stops, so its text says all of it
    env = PivotTranslation(split="validation", size=12, reward=lambda german, reference: 0.0)
    vocabulary, german = game.data.vocabulary, []
    longest = 2 * max(map(len, game.data.held_out.german))
    for index in range(12):
        env.reset(options={"index": index})
        for agent, limits in (
            ("sender", {"most": 8, "least": 3, "policy": True}),
            ("receiver", {"most": longest}),
        ):
            ids = torch.tensor(vocabulary.encode([env.observe(agent)]))
            env.step(vocabulary.decode(game.modules[agent].generate(ids, **limits).tolist())[0])
        german.append(env._german)
    expected = corpus_bleu(german, [vocabulary.normal(row["de"]) for row in env.rows])
    assert game.evaluate()["game"]["bleu_de"] == pytest.approx(expected)
    bias.copy_(before)


# ----- Elastic Reset


@pytest.mark.parametrize("more", [{"reset_every": 100}, {"reset_every": 3, "ema_decay": 0.0}])
def test_no_reset_and_no_memory_are_reinforce_to_the_bit(plain, tmp_path: Path, more: dict) -> None:
    """P beyond the run changes nothing; with eta = 0 the average is the online weights, and a reset is no change."""
    game = pivot(tmp_path, method="elastic_reset", **more)
    finish(game)
    assert same(weights(game), weights(plain[0]))
    assert game.elastic.resets == (2 if "ema_decay" in more else 0)


def test_eta_one_resets_to_where_play_began(plain, tmp_path: Path) -> None:
    """And only the sender: receiver, baseline and the optimizers' moments go on. The report comes before the reset."""
    game = pivot(tmp_path, method="elastic_reset", reset_every=3, ema_decay=1.0)
    results = [game.train() for _ in range(5)]
    assert results[-1]["boundary"] and results[-1]["play_updates"] == 3
    assert results[-1]["er"]["num_resets"] == 0 and results[-1]["er"]["dist_online_init"] > 0
    now, start = weights(game), plain[2]
    assert (
        same(now, start, "sender.")
        and not same(now, start, "receiver.")
        and not same(now, start, "baseline.")
    )
    assert game.optimizers["play_sender"].state[game.modules["sender"].output.weight]["step"] == 3
    assert torch.equal(game.elastic.ema["sender.output.weight"], start["sender.output.weight"])
    assert (
        game.modules["sender"].output.weight.data_ptr() != game.elastic.ema["sender.output.weight"].data_ptr()
    )


def test_a_reset_puts_the_average_in_place_and_can_clear_the_optimizer(plain, tmp_path: Path) -> None:
    game = pivot(
        tmp_path,
        method="elastic_reset",
        reset_every=3,
        ema_decay=0.5,
        reset_optimizer=True,
        reset_agents="both",
    )
    before = plain[2]
    for _ in range(5):
        result = game.train()
    assert result["boundary"] and not game.optimizers["play_sender"].state
    assert result["er"]["init_weight_fraction"] == pytest.approx(0.125)
    assert not same(weights(game), before, "sender.") and not same(weights(game), before, "receiver.")
    assert all(torch.equal(game.elastic.ema[name], game.elastic.init[name]) for name in game.elastic.init)


def test_ema_only_evaluates_the_average_and_leaves_the_online_weights(plain, tmp_path: Path) -> None:
    game = pivot(tmp_path, method="ema_only", ema_decay=1.0)
    results = finish(game)
    start = next(row for row in plain[1] if row["phase"] == "play")
    assert results[-1]["drift"]["bleu_en"] == start["drift"]["bleu_en"]
    assert results[-1]["drift"]["same_as_start"] == 1.0
    assert same(weights(game), weights(plain[0]))


def test_default_period_and_decay() -> None:
    values = {"method": "elastic_reset", "reset_every": None, "ema_every": 5, "ema_decay": None}
    values |= {"reset_optimizer": False, "skip_last_reset_within": 1}
    settings = elastic_settings(values, 400)
    assert settings.reset_every == 100 and settings.ema_decay**20 == pytest.approx(0.3)
    assert [settings.resets_by(ticks) for ticks in (99, 100, 399, 400)] == [0, 1, 3, 3]
    with pytest.raises(BadConfig, match="never move"):
        elastic_settings({**values, "ema_every": 101}, 400)


# ----- S2P and SIL


def test_s2p_without_weight_is_reinforce_and_with_it_is_not(plain, tmp_path: Path) -> None:
    for weight, equal in ((0.0, True), (1.0, False)):
        game = pivot(tmp_path / str(weight), method="s2p", s2p_weight=weight)
        results = finish(game)
        assert same(weights(game), weights(plain[0])) is equal
        assert results[-1]["learners"]["play"]["supervised_nll"] > 0


def test_sil_puts_students_in_the_teachers_place(plain, tmp_path: Path) -> None:
    game = pivot(tmp_path, method="sil")
    results = finish(game)
    assert [row["sil"]["generation"] for row in results if "sil" in row] == [1]  # none at the very end
    steps = game.optimizers["student_sender"].state[game.modules["student_sender"].output.weight]["step"]
    assert steps == 2
    short = pivot(tmp_path / "short", method="sil", play_updates=5, report_every=4)
    for _ in range(5):
        short.train()
    now = weights(short)
    for agent in ("sender", "receiver"):
        assert torch.equal(now[f"{agent}.output.weight"], now[f"student_{agent}.output.weight"])
        assert not torch.equal(now[f"{agent}.output.weight"], plain[2][f"{agent}.output.weight"])


# ----- checkpoints


@pytest.mark.fault("B8")
@pytest.mark.parametrize(("method", "stop"), [("elastic_reset", 7), ("sil", 7), ("reinforce", 2)])
def test_a_stopped_run_ends_with_the_same_bits(tmp_path: Path, method: str, stop: int) -> None:
    """In the middle of a cycle; the next two resets fall on the same updates."""
    more = {"method": method, "reset_every": 3, "play_updates": 11, "report_every": 2}
    whole = pivot(tmp_path / "whole", **more)
    results = finish(whole)
    first = pivot(tmp_path / "first", **more)
    for _ in range(stop):
        first.train()
    first.save_checkpoint(str(tmp_path / "saved"))
    second = pivot(tmp_path / "second", **more)
    second.load_checkpoint(str(tmp_path / "saved"))
    rest = finish(second)
    assert same(weights(second), weights(whole))
    own = ("phase", "play_updates", "boundary", "game", "drift", "er", "learners")
    for one, other in zip(rest, results[stop:], strict=True):
        assert {name: one.get(name) for name in own} == {name: other.get(name) for name in own}
    assert second.elastic.resets == whole.elastic.resets == (3 if method == "elastic_reset" else 0)


@pytest.mark.fault("B5")
def test_a_checkpoint_of_other_data_or_another_method_is_refused(tmp_path: Path) -> None:
    game = pivot(tmp_path / "a")
    for _ in range(5):
        game.train()
    game.save_checkpoint(str(tmp_path / "saved"))
    with pytest.raises(CheckpointCorrupt, match="other data"):
        pivot(tmp_path / "b", data_seed=1).load_checkpoint(str(tmp_path / "saved"))
    with pytest.raises(CheckpointCorrupt, match="another method"):
        pivot(tmp_path / "c", method="elastic_reset").load_checkpoint(str(tmp_path / "saved"))


def test_pretrained_agents_are_made_once(tmp_path: Path) -> None:
    kept = {"pretrained_folder": str(tmp_path / "kept")}
    first = pivot(tmp_path / "first", **kept)
    finish(first)
    second = pivot(tmp_path / "second", **kept)
    results = finish(second)
    assert {row["phase"] for row in results} == {"play"} and same(weights(first), weights(second))
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [first._place.name]
    events = [row["event"] for row in read_jsonl(tmp_path / "second" / "run" / "events.jsonl")]
    assert "pretrained_found" in events
    assert pivot(tmp_path / "third", seed=1, **kept).phase.name == "language_model"
    assert pivot(tmp_path / "fourth", pretrain_updates=3, **kept).phase.name == "language_model"


def test_a_stopped_run_goes_on_where_pretraining_was_found(tmp_path: Path) -> None:
    kept = {"pretrained_folder": str(tmp_path / "kept")}
    first = pivot(tmp_path / "first", **kept)
    for _ in range(5):
        first.train()
    first.save_checkpoint(str(tmp_path / "saved"))
    expected = finish(first)[-1]
    second = pivot(tmp_path / "second", **kept)
    second.load_checkpoint(str(tmp_path / "saved"))
    found = finish(second)[-1]
    assert found["game"] == expected["game"] and same(weights(first), weights(second))


# ----- settings and data


def test_wrong_settings_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="Did you mean 'elastic_reset'"):
        pivot(tmp_path, method="elastic_rest")
    with pytest.raises(BadConfig, match="Did you mean 'play_updates'"):
        pivot(tmp_path, play_update=3)
    rows = tmp_path / "game.jsonl"
    rows.write_text('{"fr": "un", "en": "one", "de": "eins"}\n' * 9)
    with pytest.raises(BadConfig, match="give french_english"):
        pivot(tmp_path, data=str(rows))


def test_real_files_with_byte_pairs(tmp_path: Path) -> None:
    """Aligned files for the game, JSONL for pretraining; rows that are too long are left out and counted."""
    game, english = tmp_path / "m30k", ["one man .", "two men .", "three dogs ."] * 8
    game.mkdir()
    for split in ("train", "val"):
        for language in ("fr", "en", "de"):
            text = "\n".join(f"{line} {language}" for line in english)
            (game / f"{split}.{language}").write_text(text + "\n")
    pairs = [f'{{"fr": "un {i}", "en": "one {i}"}}\n' for i in range(40)]
    long = [f'{{"fr": "{"oui " * 50}", "en": "yes {i}"}}\n' for i in range(20)]
    (tmp_path / "fr_en.jsonl").write_text("".join(pairs + long))
    (tmp_path / "en_de.jsonl").write_text("".join(f'{{"en": "one {i}", "de": "eins"}}\n' for i in range(40)))
    run = pivot(
        tmp_path,
        data=str(game),
        french_english=str(tmp_path / "fr_en.jsonl"),
        english_german=str(tmp_path / "en_de.jsonl"),
        vocabulary="bpe",
        vocabulary_size=60,
        max_tokens=40,
        game_rows=None,
        pretrain_rows=None,
    )
    accounts = {(row["corpus"], row["split"]): row for row in run.data.accounts}
    pretraining = accounts["french_english", "train"]
    assert (
        pretraining["too_long"] > 10
        and pretraining["kept"] + pretraining["too_long"] <= pretraining["read"] == 60
    )
    assert accounts["game", "train"]["kept"] == 24 and accounts["game", "validation"]["kept"] == 12
    assert finish(run)[-1]["done"]
