"""Supervised finetuning: what carries loss, what the loss is, and that the loop obeys its settings."""

from __future__ import annotations

import math
import random
import time
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from rllib_ext.errors import BadConfig, BadData, NonFinite
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer
from rllib_ext.llm.safety import open_causal_lm, open_tokenizer
from rllib_ext.llm.supervised import run_sft
from rllib_ext.llm.supervised_precision import attention_in_float32, wants_bfloat16
from rllib_ext.llm.supervised_rows import NO_LOSS, collate_sft, mean_sft_loss, sft_loss, sft_rows
from rllib_ext.llm.supervised_settings import Training
from rllib_ext.llm.supervised_trainer import train

WORDS = ("red", "green", "blue", "black", "white", "grey")


def echo_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """The target is the prompt's last word."""
    draw = random.Random(seed)
    prompts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 5))) for _ in range(count)]
    return [(prompt + ":", " " + prompt.split()[-1]) for prompt in prompts]


PAIRS = echo_pairs(256, 0)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Folder of an untrained model."""
    tokenizer = train_tokenizer([" ".join(pair) for pair in PAIRS], 280)
    config = causal_lm_config(tokenizer, hidden=32, layers=2, heads=2, max_length=64)
    return save_model(build_causal_lm(config, 0), tokenizer, tmp_path_factory.mktemp("start") / "model")


@pytest.fixture
def tokenizer(start):
    return open_tokenizer(start)


def masked_cross_entropy_by_hand(model, tokenizer, pairs, loss_on):
    """One row at a time without padding: minus the mean log-probability of the tokens that count."""
    losses = []
    for prompt, target in pairs:
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = before + tokenizer(target, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        logps = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        first = len(before) if loss_on == "completion" else 1
        losses += [-logps[t - 1, ids[t]].item() for t in range(first, len(ids))]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("loss_on", ["all", "completion"])
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_the_loss_is_the_masked_cross_entropy_by_hand(tokenizer, loss_on, architecture):
    config = causal_lm_config(
        tokenizer, architecture=architecture, hidden=32, layers=2, heads=2, max_length=64
    )
    model = build_causal_lm(config, 1)
    rows, _ = sft_rows(PAIRS[:7], tokenizer, max_length=64, loss_on=loss_on)
    assert len({len(row["input_ids"]) for row in rows}) > 1, "the batch must hold padding"
    with torch.no_grad():
        total, terms = sft_loss(model, collate_sft(rows))
        expected = masked_cross_entropy_by_hand(model, tokenizer, PAIRS[:7], loss_on)
    assert (total / terms).item() == pytest.approx(expected, abs=1e-5)
    assert mean_sft_loss(model, rows, batch_size=2) == pytest.approx(expected, abs=1e-5)


def test_n_plus_09_all_is_what_transformers_computes_from_labels(start, tokenizer):
    model = open_causal_lm(start)
    rows, _ = sft_rows(PAIRS[:7], tokenizer, max_length=64)
    batch = collate_sft(rows)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    peer = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
    total, terms = sft_loss(model, batch)
    assert (total / terms).item() == pytest.approx(peer.item(), abs=1e-6)


@pytest.mark.parametrize("loss_on", ["all", "completion"])
def test_n_plus_03b_eos_carries_loss_and_padding_does_not(tokenizer, loss_on):
    pairs = [("red:", " red"), ("red green blue black white:", " white")]
    rows, _ = sft_rows(pairs, tokenizer, max_length=64, loss_on=loss_on)
    batch = collate_sft(rows)
    spread = torch.full_like(batch["input_ids"], NO_LOSS)
    spread[:, batch["columns"]] = batch["targets"]
    for row, targets, mask in zip(rows, spread, batch["attention_mask"], strict=True):
        length = len(row["input_ids"])
        assert mask.tolist() == [1] * length + [0] * (len(mask) - length)
        assert targets[length - 2] == tokenizer.eos_token_id == row["input_ids"][-1]
        assert (targets[length - 1 :] == NO_LOSS).all()
        first = 0 if loss_on == "all" else row["start"] - 1
        assert targets[first : length - 1].tolist() == row["input_ids"][first + 1 :]
        assert (targets[:first] == NO_LOSS).all()
    assert batch["terms"] == sum(len(row["input_ids"]) - row["start"] for row in rows)
    assert (batch["targets"] != NO_LOSS).any(dim=0).all(), "no column is computed for nothing"


def test_what_fills_the_padding_changes_nothing(start, tokenizer):
    model = open_causal_lm(start)
    batch = collate_sft(sft_rows(PAIRS[:7], tokenizer, max_length=64)[0])
    other = dict(batch, input_ids=batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 17))
    assert torch.equal(sft_loss(model, batch)[0], sft_loss(model, other)[0])


def test_n_plus_03_the_first_token_of_the_target_is_that_of_the_spaced_word(tokenizer):
    rows, _ = sft_rows([("red:", " blue")], tokenizer, max_length=64, loss_on="completion")
    assert rows[0]["input_ids"][rows[0]["start"]] == tokenizer(" blue")["input_ids"][0]


def test_eos_in_a_text_is_not_the_end_of_it(tokenizer):
    rows, _ = sft_rows([("say <eos>", " <eos> stop")], tokenizer, max_length=64)
    assert rows[0]["input_ids"].count(tokenizer.eos_token_id) == 1
    assert rows[0]["input_ids"][-1] == tokenizer.eos_token_id


def test_rows_that_are_too_long_are_left_out_whole_and_counted(tokenizer):
    pairs = [("red:", " red"), ("red " * 60, " red"), ("blue:", " blue")]
    rows, dropped = sft_rows(pairs, tokenizer, max_length=40)
    assert dropped == 1 and [row["input_ids"][-1] for row in rows] == [tokenizer.eos_token_id] * 2
    exact = len(rows[0]["input_ids"])
    assert sft_rows(pairs[:1], tokenizer, max_length=exact)[1] == 0
    assert sft_rows(pairs[:1], tokenizer, max_length=exact - 1)[1] == 1


@pytest.mark.parametrize("row", [("a",), ("a", None), ("a", "b", "c"), ("a", 3)])
def test_a_row_that_is_no_pair_of_texts_is_named(tokenizer, row):
    with pytest.raises(BadData, match="row 1 must be 2 texts"):
        sft_rows([("a", "b"), row], tokenizer, max_length=64)


def test_thirty_updates_lower_the_loss_markedly_and_the_folder_opens(start, tokenizer, tmp_path):
    held_out = echo_pairs(64, 1)
    before = mean_sft_loss(
        open_causal_lm(start), sft_rows(held_out, tokenizer, max_length=64, loss_on="completion")[0], 64
    )
    logs: list[dict] = []
    report = run_sft(
        model_folder=start,
        pairs=PAIRS,
        eval_pairs=held_out,
        output_folder=tmp_path / "sft",
        loss_on="completion",
        batch_size=64,
        max_steps=30,
        lr=1e-2,
        on_log=logs.append,
    )
    assert report.steps == 30 and report.stopped == "done" and report.dropped == 0
    assert report.eval_loss < 0.5 * before
    assert [log["step"] for log in logs] == [10, 20, 30]
    assert logs[0]["loss"] > logs[-1]["loss"] and logs[-1]["tokens"] == report.tokens
    model = AutoModelForCausalLM.from_pretrained(report.folder)
    again = mean_sft_loss(
        model, sft_rows(held_out, tokenizer, max_length=64, loss_on="completion")[0], batch_size=16
    )
    assert again == pytest.approx(report.eval_loss, abs=1e-5)


def trained(start, **settings):
    tokenizer = open_tokenizer(start)
    model = open_causal_lm(start)
    rows, _ = sft_rows(PAIRS[:64], tokenizer, max_length=64)
    run = train(model, rows, collate_sft, sft_loss, Training.of({"lr": 1e-2, "device": "cpu"} | settings))
    return model, run


def test_one_update_is_adamw_with_eps_1e_5_on_the_mean_over_tokens(start, tokenizer):
    """All rows in one batch, plain torch as the peer."""
    ours, run = trained(start, batch_size=64, max_steps=1)
    peer = open_causal_lm(start)
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-2, eps=1e-5, weight_decay=0.0)
    total, terms = sft_loss(peer, collate_sft(sft_rows(PAIRS[:64], tokenizer, max_length=64)[0]))
    (total / terms).backward()
    optimizer.step()
    assert run.train_loss == pytest.approx((total / terms).item(), abs=1e-5)
    for a, b in zip(ours.parameters(), peer.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def test_accumulation_changes_memory_and_not_the_update(start):
    whole, run = trained(start, batch_size=64, max_steps=2)
    parts, run_in_parts = trained(start, batch_size=64, accumulation=4, max_steps=2)
    assert run.tokens == run_in_parts.tokens and run.steps == run_in_parts.steps == 2
    assert run.train_loss == pytest.approx(run_in_parts.train_loss, abs=1e-5)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_a_seed_gives_the_same_weights_again_and_another_seed_others(start):
    first, again, other = (trained(start, batch_size=8, max_steps=4, seed=seed)[0] for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_an_epoch_sees_every_token_once(start, tokenizer):
    rows, _ = sft_rows(PAIRS[:64], tokenizer, max_length=64)
    _, run = trained(start, batch_size=10, epochs=2)
    assert run.steps == 2 * math.ceil(64 / 10)
    assert run.tokens == 2 * sum(len(row["input_ids"]) for row in rows)


def test_a_time_budget_ends_training_and_the_learning_rate_falls_with_it(start):
    begun = time.monotonic()
    _, run = trained(start, batch_size=8, epochs=100_000, max_seconds=0.5)
    assert run.stopped == "max_seconds" and 0.5 <= run.seconds < time.monotonic() - begun < 10
    settings = Training(lr=1.0, max_seconds=10, schedule="linear")
    assert settings.share_of_lr(1, 10**6, 5.0) == pytest.approx(0.5)
    assert settings.share_of_lr(1, 10**6, 11.0) == 0.0


def test_bfloat16_autocast_stays_near_float32_and_weights_stay_float32(start):
    exact, run = trained(start, batch_size=64, max_steps=1)
    rounded, other = trained(start, batch_size=64, max_steps=1, precision="bfloat16")
    assert rounded.config._attn_implementation == exact.config._attn_implementation
    assert other.train_loss == pytest.approx(run.train_loss, rel=1e-2) and other.train_loss != run.train_loss
    assert all(parameter.dtype == torch.float32 for parameter in rounded.parameters())
    ids = torch.tensor([[5, 6, 7]])
    assert rounded(ids).logits.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(rounded(ids).logits, exact(ids).logits, dim=-1).min() > 0.99


@pytest.mark.parametrize(("able", "expected"), [("avx512_bf16", True), ("amx_bf16", True), ("avx2", False)])
def test_auto_precision_is_bfloat16_where_the_processor_multiplies_in_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {able: True})
    assert wants_bfloat16("auto", on_cpu=True) is expected and wants_bfloat16("auto", on_cpu=False)
    assert wants_bfloat16("bfloat16", on_cpu=True) and not wants_bfloat16("float32", on_cpu=False)


def test_under_autocast_attention_stays_in_float32(start):
    model = open_causal_lm(start)
    seen: list[torch.dtype] = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def spy(query, *args, **kwargs):
        seen.append(query.dtype)
        return plain(query, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", torch.bfloat16):
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
        model(torch.tensor([[5, 6, 7]]))
        with attention_in_float32(model, wanted=True):
            model(torch.tensor([[5, 6, 7]]))
    layers = model.config.num_hidden_layers
    assert seen[layers:] == [torch.float32] * layers and len(seen) == 2 * layers


@given(
    steps=st.integers(1, 500),
    warmup=st.integers(0, 20),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
)
def test_the_schedule_starts_at_the_peak_falls_per_update_and_never_leaves_0_to_1(steps, warmup, schedule):
    settings = Training(lr=1.0, warmup_steps=warmup, schedule=schedule)
    shares = [settings.share_of_lr(step, steps, 0.0) for step in range(steps + 1)]
    assert all(0 <= share <= 1 for share in shares)
    after = shares[warmup:]
    assert all(a >= b for a, b in pairwise(after))
    if warmup == 0:
        assert shares[0] == 1.0
    if schedule != "constant" and warmup < steps:
        assert shares[-1] == pytest.approx(0.0, abs=1e-12)


def test_a_linear_schedule_is_the_papers_fraction_at_every_update():
    settings = Training(lr=1.0, schedule="linear")
    for update in range(1, 8):
        assert settings.share_of_lr(update - 1, 7, 0.0) == pytest.approx(1 - (update - 1) / 7)


def test_a_loss_that_is_no_number_stops_the_stage_and_says_what_to_do(start):
    with pytest.raises(NonFinite, match="lower lr"):
        trained(start, lr=1e30, max_steps=30, batch_size=8, log_every=1)


def test_torch_threads_stay_as_the_caller_set_them(start):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trained(start, batch_size=64, max_steps=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_stage_prints_nothing_unless_asked(start, tmp_path, capfd):
    common = dict(model_folder=start, pairs=PAIRS[:16], batch_size=8, lr=1e-3, log_every=1)
    run_sft(**common, output_folder=tmp_path / "quiet")
    assert capfd.readouterr() == ("", "")
    run_sft(**common, output_folder=tmp_path / "loud", verbose=True)
    out, err = capfd.readouterr()
    assert out.count("loss") == 2 and err == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr is 0.0"),
        ({"lr": 1e-3, "batch_size": 10, "accumulation": 3}, "not a multiple of accumulation"),
        ({"lr": 1e-3, "schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"lr": 1e-3, "max_step": 3}, "Did you mean 'max_steps'"),
        ({}, "lr is missing"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_opened(settings, message):
    with pytest.raises(BadConfig, match=message):
        run_sft(model_folder="/none", pairs=[], output_folder="/none", **settings)


def test_no_pairs_and_a_wrong_loss_on_are_refused(start, tmp_path):
    with pytest.raises(BadData, match="no pair to train on"):
        run_sft(model_folder=start, pairs=[], output_folder=tmp_path / "x", lr=1e-3)
    with pytest.raises(BadConfig, match="loss_on"):
        run_sft(model_folder=start, pairs=PAIRS, output_folder=tmp_path / "x", lr=1e-3, loss_on="prompt")
