"""Win rates: intervals, length control against closed forms and scipy, and judges that see places."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envs.text.controlled_gold import GoldReward
from envs.text.rewards import CallableReward
from rllib_ext.analysis.judging import Contest, ask_judge, ask_reward
from rllib_ext.errors import BadData
from rllib_ext.functional.win_rate import length_controlled, share, wins_by_length


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_wilsons_interval_solves_its_quadratic() -> None:
    """The bounds are the two p with (p_hat - p)^2 = z^2 p (1 - p) / n."""
    for wins, n in ((0, 10), (3, 10), (250, 512), (10, 10)):
        found = share(wins, n)
        for bound in (found.low, found.high):
            assert (wins / n - bound) ** 2 == pytest.approx(
                1.959963984540054**2 * bound * (1 - bound) / n, abs=1e-12
            )
        assert 0 <= found.low <= found.value <= found.high <= 1 and found.high > found.low
    assert math.isnan(share(0, 0).value)
    with pytest.raises(ValueError, match="5 of 3"):
        share(5, 3)


def test_without_length_differences_the_controlled_rate_is_the_raw_one() -> None:
    found = length_controlled([True] * 30 + [False] * 70, [0.0] * 100)
    assert found.value == pytest.approx(0.3) and found.slope == 0.0
    assert found.standard_error == pytest.approx(1 / math.sqrt(100 * 0.3 * 0.7))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 39), st.integers(1, 39), st.floats(0.1, 3.0))
@example(1, 37, 0.1015625)  # a steep slope is a matter of units, and no sign that there is no fit
def test_two_lengths_have_a_closed_form(short: int, long: int, d: float) -> None:
    """Half the items at -d, half at +d: the fit is exact, and at 0 the mean of the two log-odds."""
    wins = [i < short for i in range(40)] + [i < long for i in range(40)]
    found = length_controlled(wins, [-d] * 40 + [d] * 40)
    p, q = logit(short / 40), logit(long / 40)
    assert found.value == pytest.approx(sigmoid((p + q) / 2), abs=1e-8)
    assert found.slope == pytest.approx((q - p) / (2 * d), abs=1e-6)
    assert found.raw == pytest.approx((short + long) / 80)


def test_the_fit_is_scipys_maximum() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    d = rng.normal(0.3, 0.5, 400)
    wins = rng.random(400) < 1 / (1 + np.exp(-(-0.4 + 2.0 * d)))

    def loss(w):
        z = w[0] + w[1] * d
        return np.sum(np.logaddexp(0, z) - wins * z)

    best = optimize.minimize(loss, np.zeros(2), tol=1e-12).x
    found = length_controlled(wins.tolist(), d.tolist())
    assert found.value == pytest.approx(sigmoid(best[0]), abs=1e-5)
    assert found.slope == pytest.approx(best[1], abs=1e-4)
    assert found.low < sigmoid(-0.4) < found.high, "the truth lies in the interval"
    assert found.raw > found.value, "longer answers won by being longer"


def test_outcomes_that_length_separates_fall_back_to_the_plain_rate() -> None:
    for wins, lengths in (
        ([True] * 5, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ([False, False, True, True], [-2.0, -1.0, 1.0, 2.0]),
    ):
        found = length_controlled(wins, lengths)
        assert found.value == found.raw == sum(wins) / len(wins) and math.isnan(found.slope)
    with pytest.raises(ValueError, match="no comparison"):
        length_controlled([], [])
    with pytest.raises(ValueError, match="finite"):
        length_controlled([True], [math.inf])


def test_wins_by_length_partition_the_items() -> None:
    rng = np.random.default_rng(1)
    at, wins = rng.normal(0, 0.5, 200), rng.random(200) < 0.5
    parts = wins_by_length(wins.tolist(), at.tolist(), [-math.inf, -0.3, 0.0, 0.3, math.inf])
    assert sum(part.count for _, _, part in parts) == 200
    assert sum(round(part.value * part.count) for _, _, part in parts) == wins.sum()
    low, high, part = parts[1]
    inside = (at >= low) & (at < high)
    assert part.value == wins[inside].mean()
    with pytest.raises(ValueError, match="ascend"):
        wins_by_length([True], [0.0], [1.0, 0.0])


def contests(count: int) -> list[Contest]:
    return [Contest(f"p{i}", " good" if i % 4 else " bad", " fair") for i in range(count)]


def test_a_judge_that_sees_places_wins_nothing_for_anybody() -> None:
    """Always the first: half the items by the drawn order, and the report says which place won."""
    found = ask_judge(lambda prompt, first, second: 0, contests(2000))
    assert found.first_share == 1.0 and found.win_rate.value == pytest.approx(0.5, abs=0.04)


def test_a_judge_that_reads_is_believed_whatever_the_order() -> None:
    ranks = {" good": 2, " fair": 1, " bad": 0}

    def judge(prompt: str, first: str, second: str) -> int:
        return 0 if ranks[first] > ranks[second] else 1

    found = ask_judge(judge, contests(400))
    assert found.wins == tuple(bool(i % 4) for i in range(400))
    assert found.first_share == pytest.approx(0.5, abs=0.08)
    assert found.wins == ask_judge(judge, contests(400), seed=9).wins


def test_unreadable_verdicts_are_settled_by_a_coin_and_counted() -> None:
    found = ask_judge(lambda *_: None, contests(1000), seed=1)
    assert found.coin_flips == 1000 and found.win_rate.value == pytest.approx(0.5, abs=0.05)
    assert found == ask_judge(lambda *_: None, contests(1000), seed=1)
    with pytest.raises(BadData, match="answered 'A' to item 0"):
        ask_judge(lambda *_: "A", contests(1))


def test_an_items_order_does_not_depend_on_the_others() -> None:
    shown: list[tuple[str, str]] = []
    ask_judge(lambda prompt, first, second: shown.append((first, second)) or 0, contests(50))
    first = list(shown)
    shown.clear()
    ask_judge(lambda prompt, first, second: shown.append((first, second)) or 0, contests(20))
    assert shown == first[:20]


def test_the_gold_reward_is_a_strict_judge() -> None:
    prompt = "note falcon the mark garden TL;DR:"
    items = [
        Contest(prompt, " falcon garden", " falcon"),
        Contest(prompt, " falcon", " falcon"),
        Contest(prompt, " the", " garden"),
    ]
    found = ask_reward(GoldReward(), items)
    assert found.wins == (True, False, False) and found.unscored == 0
    assert found.lengths == (math.log(2), 0.0, 0.0)


def test_what_the_reward_cannot_score_is_left_out() -> None:
    reward = CallableReward(
        lambda prompt, completion, reference: None if "bad" in completion else 1.0, isolate=False
    )
    found = ask_reward(reward, contests(8))
    assert found.unscored == 2 and found.win_rate.count == 6
    assert found.as_json()["win_rate"] == 0.0 and found.as_json()["unscored"] == 2


def test_the_length_curve_of_verdicts_counts_everything() -> None:
    items = [Contest("p", " a" * (1 + i % 9), " b b b") for i in range(90)]
    found = ask_judge(lambda prompt, first, second: int(len(second) > len(first)), items)
    assert sum(part.count for _, _, part in found.by_length()) == 90
    rates = [part.value for _, _, part in found.by_length() if part.count]
    assert rates == sorted(rates), "this judge likes length and nothing else"
