"""Reward models: the head, where a score is read, training, normalisation, and the Reward itself."""

from __future__ import annotations

import math
import pickle
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import (
    AutoModelForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from envs.text.rewards import Reward
from envs.text.task import Sample, Task
from rllib_ext.errors import BadConfig, BadData
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer
from rllib_ext.llm.reward_head import (
    fresh_head,
    last_token_scores,
    new_reward_model,
    open_reward_model,
    pad_right,
    score_rows,
)
from rllib_ext.llm.rewards import RewardModel
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.llm.supervised import run_reward_model
from rllib_ext.llm.supervised_rows import agreement, collate_preferences, preference_loss, preference_rows

GOOD, BAD = ["sun", "bird", "leaf"], ["mud", "rust", "smog"]
WORDS = [*GOOD, *BAD, "say:", "please"]


def preferences(count: int, seed: int) -> list[tuple[str, str, str]]:
    """The chosen text has more good words; lengths differ."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        length = draw.randint(2, 6)
        good = draw.choices(GOOD, k=length) + draw.choices(BAD, k=draw.randint(0, 1))
        bad = draw.choices(BAD, k=length) + draw.choices(GOOD, k=draw.randint(0, 1))
        draw.shuffle(good)
        draw.shuffle(bad)
        rows.append(("please say:", " " + " ".join(good), " " + " ".join(bad)))
    return rows


def untrained(folder, architecture):
    tokenizer = word_tokenizer(WORDS)
    config = causal_lm_config(
        tokenizer, architecture=architecture, hidden=32, layers=2, heads=2, max_length=24
    )
    return save_model(build_causal_lm(config, 0), tokenizer, folder)


@pytest.fixture(scope="module", params=["llama", "gpt_neox"])
def start(request, tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("start") / "model", request.param)


PAD = len(WORDS)


@pytest.fixture(scope="module")
def references():
    return [(prompt, chosen) for prompt, chosen, _ in preferences(100, 7)]


@pytest.fixture(scope="module")
def trained(references, tmp_path_factory):
    return run_reward_model(
        model_folder=untrained(tmp_path_factory.mktemp("llama") / "model", "llama"),
        pairs=preferences(256, 0),
        eval_pairs=preferences(200, 1),
        references=references,
        output_folder=tmp_path_factory.mktemp("trained") / "reward",
        lr=3e-3,
        batch_size=32,
        epochs=3,
    )


def test_n_plus_11_the_head_starts_at_std_1_over_sqrt_d_plus_1_and_bias_0():
    head = fresh_head(16_384, seed=0)
    assert head.weight.std().item() == pytest.approx(1 / math.sqrt(16_385), rel=0.03)
    assert abs(head.weight.mean().item()) < 4 / 16_384 and head.bias.item() == 0.0


def test_n_plus_11_the_head_of_a_new_model_is_that_head_on_the_backbone_of_the_sft_model(start):
    model = new_reward_model(start, seed=3, pad_token_id=PAD)
    assert torch.equal(model.score.weight, fresh_head(32, seed=3).weight)
    causal = open_causal_lm(start).base_model.state_dict()
    backbone = model.base_model.state_dict()
    assert causal.keys() == backbone.keys()
    assert all(torch.equal(causal[name], tensor) for name, tensor in backbone.items())


rows_of_ids = st.lists(
    st.lists(st.integers(0, len(WORDS) - 1), min_size=1, max_size=12), min_size=1, max_size=6
)


@settings(max_examples=25, deadline=None)
@given(rows=rows_of_ids, fill=st.integers(0, PAD), extra=st.integers(0, 4))
def test_padding_of_any_width_and_any_id_changes_no_score(rows, fill, extra):
    model = _shared_model()
    input_ids, mask = pad_right(rows)
    input_ids, mask = F.pad(input_ids, (0, extra)), F.pad(mask, (0, extra))
    with torch.no_grad():
        padded = last_token_scores(model, input_ids.masked_fill(mask == 0, fill), mask)[:, 0]
        alone = torch.stack([last_token_scores(model, *pad_right([row]))[0, 0] for row in rows])
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(score_rows(model, rows, batch_size=2), alone, atol=1e-5, rtol=0)


def _shared_model(cache: list = []):  # noqa: B006 - one model for all examples of the property
    if not cache:
        config = causal_lm_config(word_tokenizer(WORDS), hidden=32, layers=2, heads=2, max_length=24)
        config.num_labels = 1
        cache.append(AutoModelForSequenceClassification.from_config(config).eval())
    return cache[0]


def test_n_plus_12_the_score_is_the_heads_output_at_the_last_token_before_padding(start):
    model = new_reward_model(start, seed=0, pad_token_id=PAD)
    rows = [[0, 1, 2, 0], [3], [0, 0]]  # id 0 is both a word and what fills the padding
    with torch.no_grad():
        scores = last_token_scores(model, *pad_right(rows))[:, 0]
        for row, score in zip(rows, scores, strict=True):
            hidden = model.base_model(torch.tensor([row])).last_hidden_state[0, -1]
            by_hand = hidden @ model.score.weight[0] + model.score.bias[0]
            assert score.item() == pytest.approx(by_hand.item(), abs=1e-5)


def test_transformers_own_pooling_agrees_where_pad_fills_the_right(start):
    model = new_reward_model(start, seed=0, pad_token_id=PAD)
    input_ids, mask = pad_right([[0, 1, 2, 0], [3], [0, 0]])
    with torch.no_grad():
        peer = model(input_ids=input_ids.masked_fill(mask == 0, PAD), attention_mask=mask).logits
        torch.testing.assert_close(last_token_scores(model, input_ids, mask), peer, atol=1e-6, rtol=0)


def test_n_plus_10_the_loss_is_minus_log_sigmoid_of_the_margin_in_one_forward_pass(start):
    model = new_reward_model(start, seed=0, pad_token_id=PAD)
    rows, _ = preference_rows(preferences(5, 3), word_tokenizer(WORDS), max_length=24)
    calls = []
    handle = model.base_model.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        total, terms = preference_loss(model, collate_preferences(rows))
        handle.remove()
        assert len(calls) == 1 and terms == 5
        by_hand = 0.0
        for row in rows:
            chosen, rejected = (score_rows(model, [row[key]]).item() for key in ("input_ids", "rejected_ids"))
            by_hand += math.log1p(math.exp(rejected - chosen))
    assert total.item() == pytest.approx(by_hand, abs=1e-5)


def test_equal_sides_cost_ln_2_and_count_as_wrong(start):
    model = new_reward_model(start, seed=0, pad_token_id=PAD)
    rows, _ = preference_rows([("say:", " sun", " sun")], word_tokenizer(WORDS), max_length=24)
    total, _ = preference_loss(model, collate_preferences(rows))
    assert total.item() == pytest.approx(math.log(2), abs=1e-6)
    assert agreement(model, rows, 4) == (0.0, 0.0)


def test_a_separable_preference_is_learnt(trained):
    assert trained.accuracy > 0.9 and trained.margin > 0.5
    assert trained.train_loss < math.log(2) and trained.stopped == "done" and trained.dropped == 0
    rows, _ = preference_rows(preferences(200, 1), word_tokenizer(WORDS), max_length=24)
    opened = agreement(open_reward_model(trained.folder), rows, 16)
    assert opened == pytest.approx((trained.accuracy, trained.margin), abs=1e-5)


def test_n_plus_15_references_score_0_on_average_after_saving_and_opening(trained, references):
    assert abs(trained.reference_mean) < 1e-3 and trained.bias != 0.0
    reward = RewardModel(trained.folder)
    samples = [Sample(Task(str(i), prompt), text) for i, (prompt, text) in enumerate(references)]
    scores = reward.score(samples)
    assert abs(sum(scores) / len(scores)) < 1e-3
    assert torch.tensor(scores).std() > 0.01, "the scale stays, only the mean moves"


def test_n_plus_15_the_bias_is_a_weight_that_stock_opening_leaves_out(trained):
    ours = open_reward_model(trained.folder)
    stock = AutoModelForSequenceClassification.from_pretrained(trained.folder)
    assert ours.score.bias.item() == pytest.approx(trained.bias, abs=1e-7) and stock.score.bias is None
    rows = [[0, 1, 2], [3, 4]]
    torch.testing.assert_close(
        score_rows(ours, rows) - trained.bias, score_rows(stock, rows), atol=1e-5, rtol=0
    )


def test_without_references_nothing_is_normalised(start, tmp_path):
    report = run_reward_model(
        model_folder=start, pairs=preferences(8, 0), references=None, output_folder=tmp_path / "rm", lr=1e-3
    )
    bias = open_reward_model(report.folder).score.bias.item()
    assert report.reference_mean is None and report.accuracy is None and bias == report.bias
    with pytest.raises(BadData, match="no reference"):
        run_reward_model(
            model_folder=start, pairs=preferences(8, 0), references=[], output_folder=tmp_path / "x", lr=1e-3
        )


def test_a_reward_model_saved_again_scores_the_same_to_the_bit(trained, tmp_path):
    first = open_reward_model(trained.folder)
    folder = save_model(first, word_tokenizer(WORDS), tmp_path / "again")
    rows = [[0, 1, 2], [3, 4], [5]]
    assert torch.equal(score_rows(first, rows), score_rows(open_reward_model(folder), rows))


def samples_of(*texts: str) -> list[Sample]:
    return [Sample(Task(str(i), "please say:"), text) for i, text in enumerate(texts)]


def test_the_reward_reads_prompt_completion_and_eos(trained):
    reward = RewardModel(trained.folder)
    assert isinstance(reward, Reward) and reward.name == "reward_model"
    ids = [[WORDS.index(word) for word in ("please", "say:", "sun", "bird")] + [PAD + 1]]
    expected = score_rows(open_reward_model(trained.folder), ids).item()
    assert reward.score(samples_of(" sun bird")) == [pytest.approx(expected, abs=1e-6)]
    without = RewardModel(trained.folder, append_eos=False).score(samples_of(" sun bird"))
    assert without != [pytest.approx(expected, abs=1e-6)]


def test_scores_keep_their_order_whatever_the_lengths_and_the_batch_size(trained):
    samples = samples_of(" sun", " mud rust smog mud", " bird leaf sun", " rust", "")
    by_one = RewardModel(trained.folder, batch_size=1).score(samples)
    assert RewardModel(trained.folder, batch_size=3).score(samples) == pytest.approx(by_one, abs=1e-5)
    assert by_one[0] > by_one[1] and all(isinstance(score, float) for score in by_one)
    assert RewardModel(trained.folder).score([]) == []


def test_the_model_is_opened_late_and_does_not_travel_with_a_pickle(trained):
    assert RewardModel("/not/there/yet").folder == "/not/there/yet"
    reward = RewardModel(trained.folder)
    scores = reward.score(samples_of(" sun", " mud"))
    data = pickle.dumps(reward)
    assert len(data) < 2_000
    assert pickle.loads(data).score(samples_of(" sun", " mud")) == scores
    reward.close()
    reward.close()
    assert reward.score(samples_of(" sun", " mud")) == scores


def test_what_cannot_be_scored_is_none_with_a_reason_and_the_rest_is_scored(trained):
    reward = RewardModel(trained.folder)
    scores = reward.score(samples_of(" sun", " hawk", " sun" * 40, " mud"))
    assert scores[1] is scores[2] is None
    assert scores[0] > scores[3]
    assert sorted(reward.failures.values()) == [1, 1]


def test_weights_that_are_no_numbers_give_no_score(trained, tmp_path):
    model = open_reward_model(trained.folder)
    torch.nn.init.constant_(model.score.weight, math.nan)
    folder = save_model(model, word_tokenizer(WORDS), tmp_path / "nan")
    assert RewardModel(folder).score(samples_of(" sun")) == [None]


def test_a_model_without_a_trained_head_is_refused(start):
    with pytest.raises(BadConfig, match=r"lacks 1 parameters.*score\.weight"):
        RewardModel(start).score(samples_of(" sun"))


def test_chat_messages_need_a_chat_template(trained):
    task = Task("chat", ({"role": "user", "content": "say:"},))
    with pytest.raises(BadConfig, match="no chat template"):
        RewardModel(trained.folder).score([Sample(task, " sun")])


def test_a_classifier_scores_with_the_logit_of_one_label(tmp_path):
    tokenizer = word_tokenizer(WORDS)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=16, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=24,
        pad_token_id=PAD, id2label={0: "NEGATIVE", 1: "POSITIVE"}, label2id={"NEGATIVE": 0, "POSITIVE": 1},
    )  # fmt: skip
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification(config).eval()
    folder = save_model(model, tokenizer, tmp_path / "classifier")
    ids = torch.tensor([[WORDS.index(word) for word in ("please", "say:", "sun")]])
    with torch.no_grad():
        logits = model(ids, attention_mask=torch.ones_like(ids)).logits[0].tolist()
    samples = [*samples_of(" sun"), *samples_of(" sun mud rust")]
    assert RewardModel(folder, label="POSITIVE").score(samples)[0] == pytest.approx(logits[1], abs=1e-6)
    assert RewardModel(folder, label=0).score(samples)[0] == pytest.approx(logits[0], abs=1e-6)
    with pytest.raises(BadConfig, match="2 labels"):
        RewardModel(folder).score(samples)
    with pytest.raises(BadConfig, match="Did you mean 'POSITIVE'"):
        RewardModel(folder, label="POSITIV").score(samples)
    with pytest.raises(BadConfig, match=r"classifier\."):
        new_reward_model(folder, seed=0, pad_token_id=PAD)
