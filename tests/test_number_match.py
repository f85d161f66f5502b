"""The number verifier: its grammar case by case, and text that tries to be more than text."""

import time
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envs.errors import BadEnv
from envs.text import NumberMatch, Sample, Task


def score(completion, reference="42", **settings):
    return NumberMatch(**settings).score([Sample(Task("t", "p", reference), completion)])[0]


@pytest.mark.parametrize(
    ("completion", "reference", "expected"),
    [
        ("so it is\n#### 42", "42", 1.0),
        ("####42", "42", 1.0),
        ("#### 42.", "42", 1.0),
        ("#### 42.00", "42", 1.0),
        ("#### $42", "42", 1.0),
        ("#### -$42", "-42", 1.0),
        ("#### the answer is 42 apples", "42", 1.0),
        ("#### 1,250", "1250", 1.0),
        ("#### 1250", "1,250.0", 1.0),
        ("#### .5", "0.5", 1.0),
        ("#### -7", "-7", 1.0),
        ("#### 1 then #### 42", "42", 1.0),
        ("#### 42", "He has 40 + 2 = <<40+2=42>>42.\n#### 42", 1.0),
        ("#### 41", "42", 0.0),
        ("#### 42 then #### 41", "42", 0.0),
        ("#### 41 42", "42", 0.0),
        ("#### 7", "-7", 0.0),
        ("#### 4 2", "42", 0.0),
        ("#### 0.1", "0.10000000000000001", 0.0),
        ("#### 1e3", "1000", 0.0),
        ("#### 84/2", "42", 0.0),
        ("#### 0x2a", "42", 0.0),
        ("#### \u0664\u0662", "42", 0.0),
        ("####", "42", 0.0),
        ("", "42", 0.0),
        ("the answer is 42", "42", 0.0),
    ],
)
def test_the_number_after_the_last_marker_decides(completion, reference, expected):
    assert score(completion, reference) == expected


def test_answers_without_the_marker_follow_the_fallback():
    assert score("first 41, then 42", fallback="last") == 1.0
    assert score("first 42, then 41", fallback="last") == 0.0
    assert score("no number", fallback="last") == 0.0
    assert score("42 #### none", fallback="last") == 0.0, "with the marker there, only what follows it counts"
    assert score("Answer: 42", marker="Answer:") == 1.0


@pytest.mark.parametrize("reference", [None, "", "no number", "#### none"])
def test_a_task_without_a_number_is_unscored_because_the_task_is_broken(reference):
    reward = NumberMatch()
    assert reward.score([Sample(Task("t", "p", reference), "#### 42")]) == [None]
    assert reward.failures == {"the task's reference has no number": 1}


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(BadEnv, match="fallback"):
        NumberMatch(fallback="first")
    with pytest.raises(BadEnv, match="marker"):
        NumberMatch(marker="")


@settings(max_examples=200, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_any_decimal_matches_itself_however_it_is_written(number):
    for written in (f"{number:f}", f"{number:,f}", f"{number:.6f}"):
        assert score(f"#### {written}", f"{number:f}") == 1.0
        assert score(f"#### {written}", f"{number + Decimal('0.0001'):f}") == 0.0


MEAN = [
    "####",
    "\\pi",
    "\x1b[2J",
    "\x00",
    "\u202e",
    "\ud800",
    "\u0664",
    "$",
    "-",
    ".",
    ",",
    "9",
    "1e999",
    "nan",
    "\n",
]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(MEAN), max_size=8).map("".join), min_size=20, max_size=20), st.text()
)
@example(["__import__('os').system('touch owned')", "#### __import__('os')._exit(1)"], "")
def test_hostile_text_is_zero_or_one_and_never_an_error(texts, random_text):
    for text in [*texts, random_text]:
        assert score(text, fallback="last") in (0.0, 1.0)
        assert score(text) in (0.0, 1.0)


def test_text_is_never_evaluated(tmp_path):
    """The payload of reliability.md G9: a grader that evaluates what contains \\pi would write this file."""
    owned = tmp_path / "owned"
    for payload in (f"open({str(owned)!r},'w')#\\pi", f"__import__('pathlib').Path({str(owned)!r}).touch()"):
        for text in (payload, f"#### {payload}", f"####{payload} 42", f"#### 42 {payload}"):
            score(text, fallback="last")
            score("#### 42", reference=text)
    assert not owned.exists()


@pytest.mark.parametrize(
    "text", ["9" * 2_000_000, ",9" * 1_000_000, "#" * 2_000_000, "-." * 1_000_000, "9." * 1_000_000]
)
def test_long_text_takes_linear_time(text):
    start = time.perf_counter()
    assert score("####" + text, fallback="last") == 0.0
    assert score(text, fallback="last") == 0.0
    assert time.perf_counter() - start < 2.0
