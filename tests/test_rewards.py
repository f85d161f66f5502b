"""Rewards: what counts as a score, what a failure leaves behind, and ROUGE-L against its own library."""

import json
import math
import pickle
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from chaos.inject import tries
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from envs.errors import BadData, BadEnv
from envs.text import CallableReward, Reward, RougeL, Sample, Task
from envs.text.rewards import as_score
from envs.text.score import MAX_DISTINCT, plain


def sample(completion, reference="the reference", prompt="p"):
    return Sample(Task("t", prompt, reference), completion, (completion,))


ACCEPTED = [
    (1, 1.0),
    (-0.5, -0.5),
    (Fraction(1, 4), 0.25),
    (np.float32(0.5), 0.5),
    (np.int64(7), 7.0),
    (np.array(2.5), 2.5),
    (torch.tensor(0.25), 0.25),
    (torch.tensor(3), 3.0),
    (torch.tensor(0.5, requires_grad=True), 0.5),
    (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
]
REFUSED = [
    *(None, "1.0", b"1", True, False, math.nan, math.inf, -math.inf, 10**400, 1 + 0j, Decimal("1")),
    *([1.0], (1.0,), {}, object(), float, lambda: 1.0),
    *(np.True_, np.float32("nan"), np.complex64(1), np.datetime64("2020-01-01")),
    *(np.array(True), np.array([1.0]), np.zeros(0), np.array("1")),
    *(torch.tensor(True), torch.tensor(math.inf), torch.ones(1)),
]


@pytest.mark.fault("E4")
@pytest.mark.parametrize(("value", "expected"), ACCEPTED, ids=repr)
def test_finite_real_numbers_are_scores(value, expected):
    assert as_score(value) == (expected, None)
    assert type(as_score(value)[0]) is float


@pytest.mark.fault("D1")
@pytest.mark.fault("E4")
@pytest.mark.parametrize("value", REFUSED, ids=lambda value: plain(repr(value)).split(" at 0x")[0][:40])
def test_anything_else_is_unscored_with_a_reason_and_never_zero(value):
    score, reason = as_score(value)
    assert score is None and reason


numbers = [0, -1, 2**70, 10**400, 0.1, 1e308, -0.0, math.nan, math.inf, Fraction(1, 3), True, False]
values = st.one_of(
    st.floats(), st.integers(), st.sampled_from([*numbers, None, "0.5", b"0", [0.5], Decimal(1)])
)


@pytest.mark.fault("E4")
@pytest.mark.fault("D1")
@settings(max_examples=tries(50, 1000), deadline=None)
@given(st.lists(values, min_size=20, max_size=20))
def test_a_value_is_a_score_exactly_where_it_is_a_finite_real_number(batch):
    for value in [*batch, *(np.asarray(value) for value in batch if isinstance(value, float))]:
        inner = value.item() if isinstance(value, np.ndarray) else value
        real = isinstance(inner, int | float | Fraction) and not isinstance(inner, bool)
        finite = real and abs(inner) <= sys.float_info.max
        score, reason = as_score(value)
        assert (score is not None) == finite == (reason is None)
        assert score is None or score == float(inner)


@pytest.mark.fault("E4")
def test_objects_that_fight_back_are_only_unscored():
    class Hostile:
        @property
        def shape(self):
            raise RuntimeError("no shape")

    class Item:
        shape = ()

        def item(self):
            raise KeyError("no item")

    class Eternal:
        shape = ()

        def item(self):
            return self

    for value in (Hostile(), Item(), Eternal()):
        assert as_score(value)[0] is None


def raising():
    def reward(*, prompt, completion, reference):
        if completion == "value":
            raise ValueError("bad \x1b[31mred\x1b[0m text")
        if completion == "key":
            return {}["missing"]
        if completion == "text":
            return "1.0"
        return 0.5

    return reward


@pytest.mark.fault("E1")
@pytest.mark.parametrize("isolate", [True, False])
def test_a_raising_reward_costs_its_samples_and_keeps_one_traceback_per_error(isolate):
    reward = CallableReward(raising(), isolate=isolate)
    try:
        scores = reward.score([sample(text) for text in ["fine", "value", "key", "text"] * 25])
    finally:
        reward.close()
    assert scores == [0.5, None, None, None] * 25
    assert sorted(reward.failures.values()) == [25, 25, 25]
    assert len(reward.tracebacks) == 2
    (trace,) = [trace for name, trace in reward.tracebacks.items() if name.startswith("ValueError")]
    assert 'raise ValueError("bad' in trace and "in reward" in trace
    assert "\x1b" not in trace + "".join(reward.failures), "model text must not reach a terminal unescaped"


@pytest.mark.fault("E1")
def test_remembered_failures_are_bounded():
    def reward(*, prompt, completion, reference):
        raise ValueError(completion)

    bounded = CallableReward(reward, isolate=False)
    bounded.score([sample(str(i)) for i in range(10 * MAX_DISTINCT)])
    assert len(bounded.failures) == MAX_DISTINCT + 1
    assert sum(bounded.failures.values()) == 10 * MAX_DISTINCT
    assert len(bounded.tracebacks) == 1, "one line of code is one distinct error"


def test_the_function_gets_prompt_completion_and_reference_by_keyword():
    seen = []

    def reward(*, reference, prompt, completion):
        seen.append((prompt, completion, reference))
        return 1.0

    chat = ({"role": "user", "content": "hi"},)
    CallableReward(reward, isolate=False).score([sample("c", "r", "p"), sample("d", None, chat)])
    assert seen == [("p", "c", "r"), (chat, "d", None)]


@pytest.mark.parametrize("fn", [lambda prompt, completion: 1.0, lambda: 1.0, lambda text: 1.0, 3.0])
def test_functions_of_another_signature_are_refused_when_the_reward_is_made(fn):
    with pytest.raises(BadEnv, match=r"CallableReward needs|it is called as fn"):
        CallableReward(fn)


def test_a_callable_reward_travels_to_other_processes():
    offset = 2.0
    reward = CallableReward(lambda prompt, completion, reference: len(completion) + offset, name="length")
    reward.score([sample("a")])
    copy = pickle.loads(pickle.dumps(reward))
    try:
        assert copy.score([sample("abc")]) == [5.0] and copy.name == "length"
    finally:
        reward.close()
        copy.close()
        copy.close()


class Scores(Reward):
    """A reward of a user that returns, or raises, what it was made with."""

    def __init__(self, result):
        self.result = result

    def score(self, samples):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.fault("E4")
@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_list_of_the_wrong_length_is_an_error_for_the_batch(length):
    with pytest.raises(BadEnv, match=f"returned {length} scores for 2 samples"):
        Scores([1.0] * length).outcomes([sample("a"), sample("b")])


@pytest.mark.fault("E4")
def test_outcomes_keep_the_good_scores_of_a_batch_and_say_what_is_wrong_with_the_rest():
    reward = Scores([1.0, math.nan, "x", None, np.float64(2)])
    outcomes = reward.outcomes([sample("a")] * 5)
    assert [outcome.score for outcome in outcomes] == [1.0, None, None, None, 2.0]
    assert [bool(outcome.reason) for outcome in outcomes] == [False, True, True, True, False]
    assert sum(reward.failures.values()) == 3


@pytest.mark.fault("E1")
def test_a_batch_whose_reward_raises_is_unscored_but_a_wrong_set_up_is_passed_on():
    reward = Scores(RuntimeError("no model"))
    assert [o.score for o in reward.outcomes([sample("a")] * 2)] == [None, None]
    assert reward.failures == {"raised RuntimeError: no model": 2}
    with pytest.raises(BadData):
        Scores(BadData("no file")).outcomes([sample("a")])


# ROUGE-L

WORDS = ["the", "The", "cat's", "sat", "on", "mats", "mat.", "42", "--", "\u00e9t\u00e9", "\n"]
words = st.lists(st.sampled_from(WORDS), max_size=12)
texts = st.one_of(words.map(" ".join), st.text(max_size=20))


@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_l_equals_the_librarys_own_scorer(stemmer):
    ours, theirs = RougeL(stemmer=stemmer), rouge_scorer.RougeScorer(["rougeL"], use_stemmer=stemmer)

    @settings(max_examples=200, deadline=None)
    @given(texts, texts)
    def agree(reference, completion):
        (score,) = ours.score([sample(completion, reference)])
        if score is None:
            assert not theirs._tokenizer.tokenize(reference)
        else:
            assert score == theirs.score(reference, completion)["rougeL"].fmeasure

    agree()


def test_rouge_l_closed_forms():
    """F1 = 2 LCS / (words of the answer + words of the reference)."""
    cases = [
        ("a b c d", "a b c d", 1.0),
        ("a b c d", "d c b a", 2 * 1 / 8),
        ("a b c d", "a x c", 2 * 2 / 7),
        ("a a b", "a b a", 2 * 2 / 6),
        ("a", "b", 0.0),
        ("a", "", 0.0),
        (" ".join(map(str, range(200))), " ".join(map(str, range(1, 200, 2))), 2 * 100 / 300),
    ]
    scores = RougeL().score([sample(completion, reference) for reference, completion, _ in cases])
    assert scores == pytest.approx([expected for *_, expected in cases], abs=1e-12)


def test_rouge_l_without_a_reference_is_unscored_not_zero():
    reward = RougeL()
    assert reward.score([sample("a", None), sample("a", ""), sample("a", " .,! ")]) == [None, None, None]
    assert len(reward.failures) == 2


def test_rouge_l_reads_a_reference_once_and_pickles():
    reward, read = RougeL(), []
    tokenize = reward._tokenize
    reward._tokenize = lambda text: read.append(text) or tokenize(text)
    reward.score([sample("a b", "one reference"), sample("c", "one reference"), sample("d", "another")] * 10)
    assert read.count("one reference") == 1 and read.count("another") == 1
    for stemmer, expected in [(False, 0.0), (True, 1.0)]:
        assert pickle.loads(pickle.dumps(RougeL(stemmer=stemmer))).score([sample("cats", "cat")]) == [
            expected
        ]


def test_reading_the_package_loads_no_library_that_is_not_needed():
    code = (
        "import sys, json, envs.text, envs.text.rewards\n"
        "heavy = {'numpy', 'torch', 'ray', 'nltk', 'rouge_score', 'gymnasium', 'datasets'}\n"
        "print(json.dumps(sorted(heavy & sys.modules.keys())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=True)
    assert json.loads(done.stdout) == []
