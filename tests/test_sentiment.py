"""Sentiment: half a review as the prompt, labels, a reward that must be given, and the word-list judge."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import BadEnv
from envs.text.row_values import Unusable
from envs.text.sentiment import LexiconSentiment, Sentiment, as_label, split_review
from envs.text.task import Sample, Task
from envs.text.truncation import rough_tokens

REVIEW = "one two three four\nfive six seven"


def judged(text: str) -> float:
    (score,) = LexiconSentiment().score([Sample(Task("t", "prompt"), text)])
    return score


def one(text: str = REVIEW, **settings) -> Sentiment:
    return Sentiment("all", data=[{"text": text, "label": 1}], reward=LexiconSentiment(), **settings)


def test_a_reward_must_be_given_and_the_message_names_two():
    with pytest.raises(BadEnv, match=r"RewardModel.*LexiconSentiment"):
        Sentiment("all", data=[{"text": REVIEW, "label": 1}])


@pytest.mark.parametrize(
    ("settings", "prompt", "reference"),
    [
        ({}, "one two three", " four\nfive six seven"),
        ({"prompt_tokens": 2}, "two three", " four\nfive six seven"),
        ({"prompt_tokens": 2, "truncation_side": "right"}, "one two", " three four\nfive six seven"),
        ({"prompt_share": 0.9}, "one two three four\nfive six", " seven"),
        ({"prompt_share": 0.01}, "one", " two three four\nfive six seven"),
    ],
)
def test_prompt_and_what_follows_it(settings, prompt, reference):
    task = one(**settings).task(0)
    assert (task.prompt, task.reference, task.info) == (prompt, reference, {"label": 1})


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.text("ab.\n ", min_size=1, max_size=80),
    st.floats(0.01, 0.99),
    st.integers(1, 20),
    st.sampled_from(["left", "right"]),
)
def test_prompts_hold_their_budget_and_lose_no_text(text, share, budget, side):
    parts = split_review(text, share=share, budget=budget, side=side, count=rough_tokens)
    words = text.split()
    assert (parts is None) == (len(words) < 2)
    if parts is None:
        return
    prompt, rest = parts
    assert prompt + rest == text.strip()[-len(prompt + rest) :]
    assert 1 <= len(prompt.split()) <= max(1, len(words) * share) and rest.strip()
    assert rough_tokens(prompt) <= budget or len(prompt.split()) == 1
    if side == "right":
        assert prompt + rest == text.strip()
    else:
        assert len(rest.split()) == len(words) - max(1, int(len(words) * share))


def test_the_published_budget_is_64_tokens_cut_on_the_left():
    review = " ".join(f"w{i}" for i in range(300))
    assert one(review).task(0).prompt == " ".join(f"w{i}" for i in range(86, 150))


@pytest.mark.parametrize("value", [0, 1])
def test_labels_are_accepted(value):
    assert as_label(value) == (value, [])


@pytest.mark.parametrize(
    ("value", "label"), [(True, 1), (False, 0), ("True", 1), ("pos", 1), (" Negative", 0), ("0", 0), (1.0, 1)]
)
def test_other_spellings_of_a_label_are_repaired(value, label):
    assert as_label(value) == (label, ["label written as 0 or 1"])


@pytest.mark.parametrize("value", [-1, 2, None, "maybe", 0.5, float("nan"), [1], {"label": 1}, b"1"])
def test_no_other_label_is_guessed(value):
    with pytest.raises(Unusable, match="neither 0 nor 1"):
        as_label(value)


def test_validation_is_a_fifth_of_train_and_single_words_are_quarantined(tmp_path):
    rows = [{"text": f"film {i} was fine", "label": i % 2} for i in range(1000)]
    (tmp_path / "train.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows, {"text": "bad", "label": 0}])
    )
    (tmp_path / "test.jsonl").write_text(json.dumps(rows[0]) + "\n")
    envs = {
        s: Sentiment(s, data=tmp_path, reward=LexiconSentiment()) for s in ("train", "validation", "test")
    }
    sizes = {split: env.num_tasks for split, env in envs.items()}
    assert sizes["train"] + sizes["validation"] == 1000 and sizes["test"] == 1
    assert abs(sizes["validation"] - 200) < 5 * (1000 * 0.2 * 0.8) ** 0.5
    bad = [entry for env in envs.values() for entry in env.report.quarantined]
    assert bad == [(1000, "column 'text' is a single word")]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("", 1 / 2),
        ("the film was long", 1 / 2),
        ("A wonderful film.", 2 / 3),
        ("great great great", 2 / 3),
        ("GREAT and funny", 3 / 4),
        ("an awful mess", 1 / 4),
        ("great but dull", 2 / 4),
        ("not a great film", 1 / 3),
        ("it isn't bad", 2 / 3),
        ("it isn\u2019t bad", 2 / 3),
        ("never, great", 2 / 3),
        ("not one two three great", 2 / 3),
        ("great and not great", 2 / 4),
        ("greatly badge", 1 / 2),
    ],
)
def test_the_word_list_judge_counts_as_its_formula_says(text, score):
    assert judged(text) == pytest.approx(score)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_the_word_list_judge_scores_any_text_between_0_and_1(text):
    assert 0 < judged(text) < 1
    assert judged(text + " | superb") > judged(text) or "superb" in text.lower()


def test_an_episode_is_scored_by_the_given_reward():
    env = one()
    prompt, info = env.reset(options={"index": 0})
    assert prompt == "one two three" and info["label"] == 1
    assert env.step(" was wonderful")[1:4] == (pytest.approx(2 / 3), True, False)


@pytest.mark.parametrize("bad", [{"prompt_share": 1.0}, {"prompt_tokens": 0}, {"truncation_side": "middle"}])
def test_bad_settings_are_named(bad):
    with pytest.raises(BadEnv, match=next(iter(bad))):
        one(**bad)
