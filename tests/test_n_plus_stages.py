"""Details 1 to 19 of the N+ paper, a test each (docs/n_plus.md); 6 and 17 could not be confirmed and have none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, GPTNeoXConfig

from envs.errors import BadData
from envs.text.comparisons import read_comparisons
from envs.text.controlled_pairs import controlled_rows, preference_pairs
from envs.text.demonstrations import read_demonstrations
from envs.text.tldr import HUB_NAME
from rllib_ext.analysis.reward_tables import accuracy_table, calibration_error, calibration_table
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer
from rllib_ext.llm.lengths import PUBLISHED, check_lengths, lengths_of
from rllib_ext.llm.reward_diagnostics import padding_difference, position_scores
from rllib_ext.llm.reward_head import (
    fresh_head,
    last_token_scores,
    new_reward_model,
    open_reward_model,
    pad_left,
    pad_right,
    score_rows,
)
from rllib_ext.llm.safety import encode_plain, open_causal_lm, open_tokenizer
from rllib_ext.llm.sequence_logps import score_sequences
from rllib_ext.llm.supervised_order import EpochOrder
from rllib_ext.llm.supervised_rows import (
    NO_LOSS,
    collate_preferences,
    collate_sft,
    preference_loss,
    sft_loss,
    sft_rows,
)
from rllib_ext.runtime.run_folder import read_jsonl
from rllib_ext.stages import knobs
from rllib_ext.stages.data import COMPARISONS_HUB_NAME
from rllib_ext.stages.offline_dpo import OfflineDPO
from rllib_ext.stages.reward_model import RewardModel
from rllib_ext.stages.runner import run_stage
from rllib_ext.stages.settings import checked, training_of
from rllib_ext.stages.sft import SFT

POSTS = controlled_rows(160)
DROPOUT = GPTNeoXConfig(
    vocab_size=500, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=256, hidden_dropout=0.3, attention_dropout=0.2, classifier_dropout=0.1,
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f"{row['title']} {row['post']} {row['summary']}" for row in POSTS] * 2, 480)


@pytest.fixture(scope="module")
def start(tokenizer, tmp_path_factory) -> str:
    config = causal_lm_config(
        tokenizer, architecture="gpt_neox", hidden=32, layers=2, heads=2, max_length=256
    )
    return str(save_model(build_causal_lm(config, 0), tokenizer, tmp_path_factory.mktemp("start") / "model"))


def post_file(folder: Path) -> Path:
    path = folder / "posts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in POSTS))
    return path


def preference_file(folder: Path, count: int = 96) -> Path:
    path = folder / "pairs.jsonl"
    rows = [
        {
            "prompt": p,
            "chosen": c,
            "rejected": r,
            "batch": f"batch{i % 3}",
            "confidence": i % 9 + 1,
            "split": "valid1",
        }
        for i, (p, c, r) in enumerate(preference_pairs(count))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def small(start: str, data: Path | str, **more: Any) -> dict[str, Any]:
    common = {"model": start, "data": str(data), "split": "all", "eval_data": str(data), "batch_size": 16}
    return {**common, "lr": 1e-3, "max_updates": 6, "report_every": 3, **more}


@pytest.fixture(scope="module")
def reward_run(start, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("rm")
    given = small(start, preference_file(folder), reference_data=str(post_file(folder)))
    return folder / "run", run_stage("RewardModel", given, folder / "run")


def test_n_plus_01_data_sets_columns_and_counts():
    """Columns of the SFT set, hub names, and updates of an epoch: 116,722 / 128 = 911, 92,832 / 64 = 1450."""
    rows, _ = read_demonstrations(POSTS[:3], "all")
    assert set(POSTS[0]) == {"subreddit", "title", "post", "summary"} and len(rows) == 3
    assert HUB_NAME.startswith("vwxyzjn/summarize_from_feedback_tldr_3_filtered")
    assert COMPARISONS_HUB_NAME.startswith("vwxyzjn/summarize_from_feedback_oai_preprocessing")
    order = EpochOrder.__new__(EpochOrder)
    for table, count, updates in ((knobs.SFT, 116_722, 911), (knobs.OFFLINE_DPO, 92_832, 1450)):
        values = checked(table, {"model": "m"})
        order._lengths, order._settings = [1] * count, training_of(values)
        assert order.updates == updates and values["epochs"] == 1.0


def test_n_plus_02_a_query_is_cut_by_paragraph_and_padded_on_the_left():
    """600 tokens in three paragraphs: the last goes whole; without newlines a character at a time."""
    row = dict(POSTS[0], post="\n".join(" ".join(f"{stem}{i}" for i in range(200)) for stem in "abc"))
    (item,), _ = read_demonstrations([row], "all", count_tokens=lambda text: len(text.split()))
    assert item.prompt.endswith("\n\nTL;DR:") and "b199\n\nTL;DR:" in item.prompt and "c0" not in item.prompt
    assert len(item.prompt.split()) <= 512
    line = dict(row, post=" ".join(f"w{i}" for i in range(600)))
    (cut,), _ = read_demonstrations([line], "all", count_tokens=lambda text: len(text.split()))
    assert len(cut.prompt.split()) == 512, "nothing more than needed"
    input_ids, mask = pad_left([[5, 6, 7], [8]], 512)
    assert (
        input_ids.shape == (2, 512)
        and input_ids[0, -3:].tolist() == [5, 6, 7]
        and mask.sum(1).tolist() == [3, 1]
    )
    assert (input_ids[1, :-1] == 0).all() and (mask[:, 0] == 0).all()


def test_n_plus_03_one_leading_space_whether_the_set_has_it_or_not(tokenizer):
    summaries = {"without": "falcon", "with": " falcon"}
    firsts = []
    for summary in summaries.values():
        (item,), _ = read_demonstrations([dict(POSTS[0], summary=summary)], "all")
        rows, _ = sft_rows([(item.prompt, item.completion)], tokenizer, max_length=500, loss_on="completion")
        firsts.append(rows[0]["input_ids"][rows[0]["query_tokens"]])
        assert rows[0]["input_ids"][-1] == tokenizer.eos_token_id
    assert firsts[0] == firsts[1] == encode_plain(tokenizer, [" falcon"])[0][0]
    info = {"subreddit": "s", "title": "t", "post": "p"}
    hub = {"info": info, "summaries": [{"text": " falcon"}, {"text": " garden"}], "choice": 0}
    (pair,), _ = read_comparisons([hub], "all")
    assert (pair.chosen, pair.rejected) == (" falcon", " garden")


def test_n_plus_03b_pad_is_no_eos_resizes_nothing_and_carries_no_loss(start, tokenizer, tmp_path):
    """A tokenizer whose PAD is EOS gets another; the model keeps its embeddings; padding is id 0 under mask 0."""
    save_model(open_causal_lm(start), tokenizer, tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(config.read_text().replace("<pad>", "<eos>"))
    opened = open_tokenizer(tmp_path)
    assert opened.pad_token_id != opened.eos_token_id
    model = open_causal_lm(tmp_path)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    batch = collate_sft(sft_rows([("a:", " b"), ("a much longer one:", " b")], opened, max_length=200)[0])
    assert (batch["input_ids"][batch["attention_mask"] == 0] == 0).all()
    spread = torch.full_like(batch["input_ids"], NO_LOSS)
    spread[:, batch["columns"]] = batch["targets"]
    last = batch["attention_mask"].sum(1) - 1
    assert (spread.gather(1, (last - 1)[:, None]) == opened.eos_token_id).all(), "EOS has loss"
    assert (spread[batch["attention_mask"] == 0] == NO_LOSS).all(), "padding has none"
    other = dict(batch, input_ids=batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 17))
    assert torch.equal(sft_loss(model, batch)[0], sft_loss(model, other)[0])


def test_n_plus_04_length_maxima_are_checked_exactly():
    rows = [{"input_ids": [1] * 562, "query_tokens": 509}, {"input_ids": [1] * 20, "query_tokens": 10}]
    found = lengths_of(rows, "input_ids")
    assert (found.response_max, found.total_max, found.response_median) == (53, 562, 31.5)
    assert PUBLISHED == {"tldr_sft": (53, 562), "tldr_preferences": (169, 638), "cnndm": (155, 2021)}
    check_lengths(found, "tldr_sft")
    check_lengths(found, None)
    with pytest.raises(BadData, match="52 tokens"):
        check_lengths(lengths_of([{"input_ids": [1] * 562, "query_tokens": 510}], "input_ids"), "tldr_sft")
    with pytest.raises(BadData, match="169 and 638"):
        check_lengths(found, "tldr_preferences")


def test_n_plus_05_fixed_shapes_are_right_padded_and_change_no_loss(start, tokenizer):
    rows, _ = sft_rows([("a:", " b"), ("a longer one:", " b c")], tokenizer, max_length=200)
    fixed, trimmed = collate_sft(rows, width=100), collate_sft(rows)
    assert fixed["input_ids"].shape == (2, 100) and trimmed["input_ids"].shape[1] < 100
    assert fixed["attention_mask"][:, 0].all(), "padding is on the right"
    model = open_causal_lm(start)
    losses = [sft_loss(model, batch)[0].item() for batch in (fixed, trimmed)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    pairs = [dict(row, rejected_ids=row["input_ids"][:-1], pair=0) for row in rows]
    assert collate_preferences(pairs, width=64)["input_ids"].shape == (4, 64)
    with pytest.raises(ValueError, match="padded to 3"):
        pad_right([[1, 2, 3, 4]], 3)


def test_n_plus_07_dropout_is_off_in_every_model_of_every_stage(tokenizer, tmp_path):
    model = AutoModelForCausalLM.from_config(DROPOUT)
    save_model(model, tokenizer, tmp_path / "dropped")
    data = preference_file(tmp_path, 32)
    given = small(str(tmp_path / "dropped"), data, normalise=False)
    for cls in (RewardModel, OfflineDPO):
        values = given if cls is RewardModel else {k: v for k, v in given.items() if k != "normalise"}
        stage = cls(config={**values, "run_folder": str(tmp_path / cls.__name__)})
        modules = [m for m in stage.loop.model.modules() if isinstance(m, torch.nn.Dropout)]
        assert all(module.p == 0.0 for module in modules)
        config = stage.loop.model.config
        assert config.hidden_dropout == config.attention_dropout == config.classifier_dropout == 0.0
        rows = stage.loop.rows[:4]
        stage.loop.model.train()
        losses = [stage.loop.loss(stage.loop.model, stage.loop.collate(rows))[0].item() for _ in range(3)]
        assert losses[0] == losses[1] == losses[2]
        stage.stop()


def test_n_plus_08_bfloat16_autocast_keeps_weights_and_optimizer_in_float32(start, tmp_path):
    """Of the paper's stack (transformers, DeepSpeed, bf16 on eight H100) what is ours to keep: the precision."""
    stage = SFT(
        config=small(start, post_file(tmp_path), precision="bfloat16", run_folder=str(tmp_path / "run"))
    )
    stage.train()
    assert all(parameter.dtype == torch.float32 for parameter in stage.loop.model.parameters())
    moments = [t for state in stage.loop._optimizer.state.values() for n, t in state.items() if n != "step"]
    assert moments and all(tensor.dtype == torch.float32 for tensor in moments)
    stage.stop()


def test_n_plus_09_sft_settings_and_loss_on_the_query_too(start, tokenizer):
    values = checked(knobs.SFT, {"model": "m"})
    wanted = {"lr": 3e-6, "adam_eps": 1e-5, "batch_size": 128, "epochs": 1.0, "lr_schedule": "cosine"}
    wanted |= {"warmup_updates": 0, "weight_decay": 0.0, "max_grad_norm": None, "loss_on": "all"}
    assert {name: values[name] for name in wanted} == wanted
    model = open_causal_lm(start)
    rows, _ = sft_rows([("a query:", " b"), ("another, longer:", " c d")], tokenizer, max_length=200)
    batch = collate_sft(rows)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    peer = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
    total, terms = sft_loss(model, batch)
    assert (total / terms).item() == pytest.approx(peer.item(), abs=1e-5)
    assert terms == sum(len(row["input_ids"]) - 1 for row in rows), "all tokens but the first of each row"


def test_n_plus_10_reward_model_settings_and_one_forward_for_both_sides(start):
    values = checked(knobs.REWARD_MODEL, {"model": "m"})
    wanted = {"lr": 3e-6, "adam_eps": 1e-5, "batch_size": 64, "epochs": 1.0, "lr_schedule": "cosine"}
    assert {name: values[name] for name in wanted} == wanted
    model = new_reward_model(start, seed=0, pad_token_id=0)
    rows = [
        {"input_ids": [3, 4, 5], "rejected_ids": [3, 6]},
        {"input_ids": [7, 8], "rejected_ids": [7, 9, 10, 11]},
    ]
    calls = []
    handle = model.base_model.register_forward_hook(lambda *_: calls.append(1))
    total, terms = preference_loss(model, collate_preferences(rows))
    handle.remove()
    chosen, rejected = (
        score_rows(model, [row[side] for row in rows]) for side in ("input_ids", "rejected_ids")
    )
    assert len(calls) == 1 and terms == 2
    assert total.item() == pytest.approx(F.softplus(rejected - chosen).sum().item(), abs=1e-5)


def test_n_plus_11_head_starts_with_std_1_over_sqrt_d_plus_1_and_bias_0(start):
    for width in (32, 4096, 16_384):
        draws = torch.cat([fresh_head(width, seed).weight[0] for seed in range(max(1, 200_000 // width))])
        assert draws.std().item() == pytest.approx(1 / math.sqrt(width + 1), rel=0.03)
        assert fresh_head(width, 0).bias.item() == 0.0
    model = new_reward_model(start, seed=3, pad_token_id=0)
    assert torch.equal(model.score.weight, fresh_head(32, 3).weight) and model.score.bias.item() == 0.0


def test_n_plus_12_reward_is_the_output_at_the_last_token_before_padding(start):
    model = new_reward_model(start, seed=0, pad_token_id=0)
    row = [4, 0, 5, 0]
    input_ids, mask = torch.zeros(1, 12, dtype=torch.long), torch.zeros(1, 12, dtype=torch.long)
    input_ids[0, 3:7], mask[0, 3:7] = torch.tensor(row), 1
    with torch.no_grad():
        hidden = model.base_model(input_ids=input_ids, attention_mask=mask).last_hidden_state
        by_hand = model.score(hidden)[0, 6, 0]
        assert last_token_scores(model, input_ids, mask).item() == pytest.approx(by_hand.item(), abs=1e-6)
        right = last_token_scores(model, *pad_right([row, [1, 2, 3, 4, 5, 6]]))[0, 0]
        assert right.item() == pytest.approx(
            model.score(model.base_model(torch.tensor([row]))[0])[0, -1].item(), abs=1e-5
        )


def test_n_plus_13_outputs_before_the_end_are_reported(reward_run):
    run, found = reward_run
    positions = json.loads((run / "reward_diagnostics.json").read_text())["positions"]
    assert len(positions["by_place"]) == 20 and 0 <= positions["negative_share"] <= 1
    assert found["metrics"]["other_positions_negative_share"] == positions["negative_share"]
    rows = [[1, 2, 3], [4, 5, 6, 7]]
    model = open_reward_model(found["model"])
    assert position_scores(model, rows).last_mean == pytest.approx(
        score_rows(model, rows).mean().item(), abs=1e-5
    )


def test_n_plus_14_left_padding_is_compared_and_positions_are_not_corrected(reward_run):
    _, found = reward_run
    model = open_reward_model(found["model"])
    rows = [[3, 4, 5], [6, 7, 8, 9]]
    seen = []
    handle = model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs.get("position_ids")), with_kwargs=True
    )
    difference = padding_difference(model, rows)
    handle.remove()
    assert seen == [None, None], "no position ids are given, so they count from the first column"
    assert abs(difference.mean) < 1e-2 and difference.share_above == 0.0, "rotary positions are relative"
    assert found["metrics"]["padding_difference_mean"] == pytest.approx(0.0, abs=1e-3)


def test_n_plus_15_references_score_0_on_average_and_the_scale_stays(reward_run, start, tmp_path, tokenizer):
    _, found = reward_run
    assert abs(found["metrics"]["reference_mean"]) < 1e-3 < abs(found["metrics"]["reference_mean_before"])
    model = open_reward_model(found["model"])
    demonstrations, _ = read_demonstrations(
        POSTS, "train", count_tokens=lambda t: len(encode_plain(tokenizer, [t])[0])
    )
    rows, _ = sft_rows([(d.prompt, d.completion) for d in demonstrations], tokenizer, max_length=256)
    scores = score_rows(model, [row["input_ids"] for row in rows])
    assert abs(scores.mean().item()) < 1e-3, "the bias comes back with the folder"
    with torch.no_grad():
        model.score.bias.zero_()
    raw = score_rows(model, [row["input_ids"] for row in rows])
    assert (raw - scores).std().item() < 1e-5, "only the mean moved"
    off = run_stage("RewardModel", small(start, preference_file(tmp_path), normalise=False), tmp_path / "run")
    assert off["metrics"]["bias"] == open_reward_model(off["model"]).score.bias.item()
    assert "reference_mean" not in off["metrics"]


def test_n_plus_16_accuracy_is_reported_by_batch_confidence_and_split(reward_run):
    run, found = reward_run
    rows = read_jsonl(run / "comparisons.jsonl")
    by_batch = accuracy_table(rows, "batch")
    assert set(by_batch.column("batch")) == {"batch0", "batch1", "batch2"}
    weighted = sum(a * n for a, n in zip(by_batch.column("accuracy"), by_batch.column("n"), strict=True))
    assert weighted / len(rows) == pytest.approx(found["metrics"]["accuracy"])
    assert accuracy_table(rows, "confidence").column("confidence") == [float(i) for i in range(1, 10)]
    assert accuracy_table(rows, "split").column("split") == ["valid1"]


def test_n_plus_18_calibration_is_accuracy_against_score_difference(reward_run):
    run, _ = reward_run
    rows = read_jsonl(run / "comparisons.jsonl")
    table = calibration_table(rows)
    assert sum(table.column("n")) == len(rows) and table.column("difference_mean") == sorted(
        table.column("difference_mean")
    )
    for row in table.rows:
        part = [r for r in rows if row[0] <= abs(r["chosen"] - r["rejected"]) <= row[2]]
        assert row[4] == sum(r["chosen"] > r["rejected"] for r in part) / len(part)
    assert 0 <= calibration_error(table) <= 1


def test_n_plus_19_dpo_on_the_same_pairs_and_its_implicit_reward_model(start, tokenizer, tmp_path):
    values = checked(knobs.OFFLINE_DPO, {"model": "m"})
    assert (values["beta"], values["lr"], values["batch_size"], values["epochs"]) == (0.05, 3e-6, 64, 1.0)
    data = preference_file(tmp_path)
    stage = OfflineDPO(config=small(start, data, run_folder=str(tmp_path / "probe"), beta=0.3))
    rows = stage.loop.rows[:5]
    loss, terms = stage.loop.loss(stage.loop.model, stage.loop.collate(rows))
    assert (loss / terms).item() == pytest.approx(math.log(2), abs=1e-5), (
        "policy and reference are one at first"
    )
    with torch.no_grad():
        for parameter in stage.loop.model.parameters():
            parameter.mul_(1.05)
    reference, policy = open_causal_lm(start), stage.loop.model
    expected = 0.0
    for row in rows:
        z = 0.0
        for side, sign in (("input_ids", 1), ("rejected_ids", -1)):
            starts = [row["query_tokens"]]
            now, before = (
                score_sequences(model, [row[side]], starts, 1).item() for model in (policy, reference)
            )
            logits = policy(torch.tensor([row[side]])).logits[0].log_softmax(-1)
            by_hand = sum(
                logits[t - 1, row[side][t]].item() for t in range(row["query_tokens"], len(row[side]))
            )
            assert now == pytest.approx(by_hand, abs=1e-4)
            z += sign * (now - before)
        expected += math.log1p(math.exp(-0.3 * z))
    assert stage.loop.loss(policy, stage.loop.collate(rows))[0].item() == pytest.approx(expected, abs=1e-3)
    stage.stop()
    found = run_stage("OfflineDPO", small(start, data), tmp_path / "run")
    lines = read_jsonl(tmp_path / "run" / "comparisons.jsonl")
    trained = open_causal_lm(found["model"])
    (pair, *_), _ = read_comparisons(str(data), "all")
    query = encode_plain(tokenizer, [pair.prompt], add_special_tokens=True)[0]
    ids = [*query, *encode_plain(tokenizer, [pair.chosen])[0], tokenizer.eos_token_id]
    now, before = (score_sequences(model, [ids], [len(query)], 1).item() for model in (trained, reference))
    assert lines[0]["chosen"] == pytest.approx(0.05 * (now - before), abs=1e-4)
    assert found["metrics"]["accuracy"] == sum(r["chosen"] > r["rejected"] for r in lines) / len(lines)
