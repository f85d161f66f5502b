"""Gold labels: swaps, agreement, ties, flips, the same file after a kill, and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_language import WORDS

from envs.text.comparisons import read_comparisons
from envs.text.controlled_gold import gold_reward
from envs.text.controlled_pairs import preference_pairs
from rllib_ext.cli import main
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer
from rllib_ext.llm.reward_head import new_reward_model, open_reward_model, score_rows
from rllib_ext.runtime.run_folder import read_jsonl
from rllib_ext.stages import relabel as module
from rllib_ext.stages.relabel import Relabelling

PAIRS = preference_pairs(700, seed=3)
MIXED = [
    {"prompt": p, "chosen": a, "rejected": b} if i % 3 else {"prompt": p, "chosen": b, "rejected": a}
    for i, (p, a, b) in enumerate(PAIRS)
]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def job(tmp_path: Path, rows: list[Any] = MIXED, name: str = "out.jsonl", **more: Any) -> Relabelling:
    return Relabelling("controlled", str(write(tmp_path / "in.jsonl", rows)), tmp_path / name, **more)


def test_the_higher_score_is_chosen_and_agreement_is_the_share_of_pairs_left_alone(tmp_path: Path) -> None:
    """Two thirds of the pairs were labelled right to begin with."""
    summary = job(tmp_path).run()
    rows = read_jsonl(tmp_path / "out.jsonl")
    assert [(row["prompt"], row["chosen"], row["rejected"]) for row in rows] == PAIRS
    for row in rows:
        assert row["score_chosen"] == gold_reward(row["prompt"], row["chosen"]) > row["score_rejected"]
        assert row["score_rejected"] == gold_reward(row["prompt"], row["rejected"])
        assert row["swapped"] == (row["index"] % 3 == 0)
    wrong = len(range(0, 700, 3))
    assert summary["swapped"] == wrong and summary["agreement"] == pytest.approx(1 - wrong / 700)
    assert json.loads((tmp_path / "out.jsonl.json").read_text())["agreement"] == summary["agreement"]


def test_counts_add_up_over_ties_and_rows_that_cannot_be_read(tmp_path: Path) -> None:
    prompt, _, worse = PAIRS[0]
    tie = {"prompt": prompt, "chosen": " the and", "rejected": " and the"}
    bad = {
        "'chosen' is null": {"prompt": prompt, "chosen": None, "rejected": worse},
        "'rejected' is missing": {"prompt": prompt, "chosen": worse},
        "longer than": {"prompt": prompt, "chosen": "x" * 10_000_000, "rejected": worse},
        "surrogate": {"prompt": prompt, "chosen": " half a pair \ud800", "rejected": worse},
    }
    rows = [*MIXED[:20], tie, tie, *bad.values()]
    summary = job(tmp_path, rows, max_bad_share=0.5).run()
    assert (summary["read"], summary["tied"], summary["quarantined"], summary["unscored"]) == (26, 2, 4, 0)
    assert summary["kept"] + summary["tied"] + summary["unscored"] + summary["quarantined"] == summary["read"]
    quarantine = read_jsonl(tmp_path / "out.jsonl.quarantine.jsonl")
    assert [line["index"] for line in quarantine] == [22, 23, 24, 25]
    assert all(reason in line["reason"] for reason, line in zip(bad, quarantine, strict=True))
    with pytest.raises(BadData, match="no pair"):
        job(tmp_path, [tie], "ties.jsonl").run()


def test_flips_turn_labels_round_by_seed_and_row(tmp_path: Path) -> None:
    summary = job(tmp_path, flip=0.2, seed=5).run()
    rows = read_jsonl(tmp_path / "out.jsonl")
    flipped = {row["index"] for row in rows if row["flipped"]}
    assert summary["flipped"] == len(flipped) and 90 < len(flipped) < 190
    for row in rows:
        assert (row["score_chosen"] < row["score_rejected"]) == row["flipped"]
        assert row["score_chosen"] == gold_reward(row["prompt"], row["chosen"]), (
            "scores stay with their texts"
        )
    half = job(tmp_path, MIXED[:350], "half.jsonl", flip=0.2, seed=5)
    half.run()
    again = {row["index"] for row in read_jsonl(tmp_path / "half.jsonl") if row["flipped"]}
    assert again == {index for index in flipped if index < 350}, (
        "a row's flip does not depend on how many there are"
    )


class Power(BaseException):
    """The machine goes away."""


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_labelling_that_was_cut_off_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int
) -> None:
    job(tmp_path, flip=0.1).run()
    expected = (tmp_path / "out.jsonl").read_bytes()
    score, calls = module._score, []

    def fail_later(reward: Any, part: Any) -> Any:
        if len(calls) == chunks:
            raise Power
        calls.append(len(part))
        return score(reward, part)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_score", fail_later)
        with pytest.raises(Power):
            job(tmp_path, name="cut.jsonl", flip=0.1).run()
    partial = tmp_path / "cut.jsonl.partial.jsonl"
    with open(partial, "ab") as stream:
        stream.write(b'{"scores": [1.0')  # a line that was being written
    assert not (tmp_path / "cut.jsonl").exists()
    done: list[int] = []
    monkeypatch.setattr(module, "_score", lambda reward, part: done.append(len(part)) or score(reward, part))
    job(tmp_path, name="cut.jsonl", flip=0.1).run()
    assert (tmp_path / "cut.jsonl").read_bytes() == expected and not partial.exists()
    assert sum(done) == 700 - 256 * chunks, "finished chunks are not scored again"


def test_a_finished_labelling_is_not_done_again_and_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = job(tmp_path).run()
    monkeypatch.setattr(module, "_score", None)
    assert job(tmp_path).run() == summary
    with pytest.raises(BadConfig, match="another labelling"):
        job(tmp_path, flip=0.5).run()


def test_partial_scores_of_another_labelling_are_not_used(tmp_path: Path) -> None:
    partial = tmp_path / "out.jsonl.partial.jsonl"
    write(partial, [{"asked": {"gold": "other"}}, *[{"scores": [0.0, 1.0]}] * 256])
    assert job(tmp_path).run()["swapped"] == len(range(0, 700, 3))


@pytest.fixture(scope="module")
def gold_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("gold")
    tokenizer = word_tokenizer([*WORDS, "copy:"])
    config = causal_lm_config(tokenizer, hidden=32, layers=1, heads=1, max_length=32)
    start = save_model(build_causal_lm(config, 0), tokenizer, folder / "start")
    model = new_reward_model(start, seed=1, pad_token_id=tokenizer.pad_token_id)
    return str(save_model(model, tokenizer, folder / "gold"))


def test_a_reward_model_labels_by_its_raw_scores(gold_model: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"copy: w{i}", "chosen": f" w{i}", "rejected": f" w{i + 1} w3"} for i in range(30)]
    path = write(tmp_path / "in.jsonl", [*rows, {"prompt": "copy: w1", "chosen": " hawk", "rejected": " w2"}])
    words = ["relabel", "--gold", gold_model, "--data", str(path), "--to", str(tmp_path / "out.jsonl")]
    assert main(words) == 0
    model, tokenizer = open_reward_model(gold_model), word_tokenizer([*WORDS, "copy:"])
    for line in read_jsonl(tmp_path / "out.jsonl"):
        for side in ("chosen", "rejected"):
            ids = tokenizer(line["prompt"])["input_ids"] + tokenizer(line[side])["input_ids"]
            expected = score_rows(model, [[*ids, tokenizer.eos_token_id]]).item()
            assert line[f"score_{side}"] == pytest.approx(expected, abs=1e-5)
        assert line["score_chosen"] > line["score_rejected"]
    summary = json.loads((tmp_path / "out.jsonl.json").read_text())
    assert summary["unscored"] == 1 and summary["kept"] == 30


def test_what_was_labelled_is_what_the_reward_model_stage_reads(tmp_path: Path) -> None:
    rows = [{**row, "batch": "b7", "confidence": 4} for row in MIXED[:40]]
    job(tmp_path, rows).run()
    found, report = read_comparisons(str(tmp_path / "out.jsonl"), "all")
    assert len(found) == 40 and not report.quarantined
    assert found[0].info["batch"] == "b7" and found[0].info["score_chosen"] > found[0].info["score_rejected"]


def test_built_in_data_and_the_json_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["relabel", "--gold", "controlled", "--data", "ControlledTLDR", "--rows", "100"]
    assert main([*words, "--to", str(tmp_path / "x.jsonl")]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["kept"] == 100 and summary["agreement"] == 1.0, "these are gold-labelled already"


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--flip", "1.5"], 2, "probability"),
        (["--to", "x.csv"], 2, ".jsonl"),
        (["--to", "none/x.jsonl"], 2, "does not exist"),
        (["--rows", "0"], 2, "1 or more"),
        (["--gold", "no/such/model/here"], 2, "does not exist"),
        (["--data", "missing.jsonl"], 3, "does not exist"),
    ],
)
def test_wrong_words_are_answered(
    more: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.jsonl", MIXED[:3])
    words = ["relabel", "--gold", "controlled", "--data", "in.jsonl", "--to", "x.jsonl"]
    assert main([*words, *more]) == code and message in capsys.readouterr().err
    assert not (tmp_path / "x.jsonl").exists()
