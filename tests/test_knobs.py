"""A knob takes every spelling of an allowed value and refuses the rest by name, value and allowed values."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rllib_ext.errors import BadConfig
from rllib_ext.llm.knobs import LLM_KNOBS
from rllib_ext.online_dpo.config import ONLINE_DPO_KNOBS
from rllib_ext.rloo.config import RLOO_KNOBS
from rllib_ext.runtime.knobs import Knob, refuse_unknown, take_knobs

ALL_KNOBS = [
    *((name, knob) for name, knob in LLM_KNOBS.items()),
    *((f"dpo {name}", knob) for name, knob in ONLINE_DPO_KNOBS.items()),
    *((f"rloo {name}", knob) for name, knob in RLOO_KNOBS.items()),
]
every_knob = pytest.mark.parametrize(("name", "knob"), ALL_KNOBS, ids=[name for name, _ in ALL_KNOBS])


def refused(knob: Knob, name: str, value: object) -> None:
    with pytest.raises(BadConfig) as error:
        knob.check(name, value)
    assert str(error.value) == f"{name} is {value!r}; it must be {knob.allowed()}"


def wrong_types(knob: Knob) -> list[object]:
    """Values of no type that the knob could mean."""
    wrong: list[object] = [[1], {}, (), object, b"x", np.zeros(2), torch.zeros(1, 1), 1j]
    if knob.kind is not str:
        wrong += ["", "1", "True", Path("x")]
    if knob.kind is not bool:
        wrong += [True, False, np.True_]
    if knob.kind is int:
        wrong += [0.5, 2.000001, np.float32(1.5)]
    if knob.kind in (int, float):
        wrong += [math.nan, math.inf, -math.inf, np.float64("nan"), 10**400]
    return wrong


@every_knob
def test_the_default_is_allowed_and_documented(name: str, knob: Knob) -> None:
    assert knob.check(name, knob.default) == knob.default
    assert knob.doc.endswith(".") and len(knob.doc) > 10
    assert knob.optional or knob.default is not None


@every_knob
def test_wrong_types_are_refused(name: str, knob: Knob) -> None:
    for value in wrong_types(knob):
        refused(knob, name, value)
    if not knob.optional:
        refused(knob, name, None)
    else:
        assert knob.check(name, None) is None


@every_knob
def test_ranges_are_inclusive_and_closed(name: str, knob: Knob) -> None:
    if knob.choices:
        for choice in knob.choices:
            assert knob.check(name, choice) == choice
            assert repr(choice) in knob.allowed()
        refused(knob, name, "no such choice")
    for bound, outside in ((knob.low, -1), (knob.high, 1)):
        if bound is not None:
            assert knob.check(name, bound) == bound
            step = 1 if knob.kind is int else max(abs(bound) * 1e-6, 1e-300)
            refused(knob, name, bound + outside * step)


@every_knob
def test_numbers_have_a_range(name: str, knob: Knob) -> None:
    if knob.kind in (int, float):
        assert knob.low is not None and knob.high is not None, "a sweep draws from it"
        assert "[" in knob.allowed()


@given(st.integers(-(2**70), 2**70))
def test_integers_stay_exact(value: int) -> None:
    knob = Knob(0, int, "Any integer.")
    for spelling in (value, str(value)):
        result = knob.parse("n", spelling) if isinstance(spelling, str) else knob.check("n", spelling)
        assert result == value and type(result) is int


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_stay_exact(value: float) -> None:
    knob = Knob(0.0, float, "Any number.")
    assert knob.check("x", value) == value == knob.parse("x", repr(value))


@pytest.mark.parametrize("three", [3, 3.0, np.int64(3), np.float32(3), np.array(3), torch.tensor(3.0)])
def test_spellings_of_a_number_become_plain_numbers(three: object) -> None:
    for kind in (int, float):
        result = Knob(1, kind, "A number.", 0, 10).check("n", three)
        assert result == 3 and type(result) is kind


def test_numpy_truth_is_a_truth_and_no_number() -> None:
    truth = Knob(False, bool, "A truth.")
    assert truth.check("t", np.True_) is True
    refused(truth, "t", 1)
    refused(Knob(1, int, "A number.", 0, 10), "n", np.True_)


def test_a_path_is_a_string() -> None:
    assert Knob("", str, "A folder.").check("folder", Path("a") / "b") == "a/b"


@pytest.mark.parametrize(
    ("knob", "text", "value"),
    [
        (Knob(1, int, "n", 0, 10_000), "1e3", 1000),
        (Knob(1, int, "n", 0, 10_000), " 7 ", 7),
        (Knob(1.0, float, "x", 0, 1), "3e-6", 3e-6),
        (Knob(True, bool, "b"), "False", False),
        (Knob(None, int, "n", 0, 10, optional=True), "None", None),
        (Knob(None, str, "s", optional=True), "null", None),
        (Knob("a", str, "s", choices=("a", "b")), "b", "b"),
    ],
)
def test_the_command_line_says_the_same(knob: Knob, text: str, value: object) -> None:
    result = knob.parse("k", text)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("knob", "text"),
    [
        (Knob(1, int, "n", 0, 10), "1.5"),
        (Knob(1, int, "n", 0, 10), "11"),
        (Knob(1, int, "n", 0, 10), "None"),
        (Knob(1, int, "n", 0, 10), "nan"),
        (Knob(1.0, float, "x", 0, 1), "inf"),
        (Knob(1.0, float, "x", 0, 1), "a lot"),
        (Knob(1.0, float, "x", 0, 1), "9" * 5000),
        (Knob(True, bool, "b"), "1"),
        (Knob("a", str, "s", choices=("a", "b")), "A"),
    ],
)
def test_the_command_line_refuses_by_name(knob: Knob, text: str) -> None:
    with pytest.raises(BadConfig, match=rf"^the_knob is .*; it must be {re.escape(knob.allowed())}$"):
        knob.parse("the_knob", text)


def test_take_knobs_leaves_the_rest() -> None:
    table = {"a": Knob(1, int, "n", 0, 10), "b": Knob("x", str, "s")}
    settings = {"a": 3.0, "other": None}
    assert take_knobs(table, settings) == {"a": 3}
    assert settings == {"other": None}
    with pytest.raises(BadConfig, match="a is 11"):
        take_knobs(table, {"a": 11})


def test_unknown_settings_answer_with_the_nearest() -> None:
    refuse_unknown(LLM_KNOBS, {"mode": "sync"})
    with pytest.raises(BadConfig, match=r"unknown setting 'max_stalenes'\. Did you mean 'max_staleness'\?"):
        refuse_unknown(LLM_KNOBS, {"mode": "sync", "max_stalenes": 1})
