"""What the modes promise: exact ages, sync and async with bound 0 the same, every prompt once, learning at all."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from engine_fixture import equal, running, tiny_config, weights_of
from tiny_language import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def rounds_of(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def test_async_with_bound_zero_is_bit_equal_to_sync(ray_session, model, tmp_path):
    """B6: the same seed and a staleness bound of 0 leave nothing of asynchrony but its name."""
    states = {}
    for mode, bound in (("sync", None), ("async", 0)):
        config = tiny_config(model, mode=mode, max_staleness=bound)
        with running(config, tmp_path / mode) as algorithm:
            for _ in range(6):
                algorithm.train()
            states[mode] = weights_of(algorithm)
            assert algorithm.counters["updates"] == 6
    assert equal(states["sync"], states["async"])


def test_asynchronous_ages_are_zero_once_and_one_ever_after(ray_session, model, tmp_path):
    """B6b: the first round is on-policy, every later one is exactly one update old, and every prompt comes once."""
    with running(tiny_config(model, env_config={"size": 48}), tmp_path) as algorithm:
        for _ in range(6):
            result = algorithm.train()
        before = weights_of(algorithm)
    rounds = rounds_of(tmp_path)
    ages = [set(record["ages"]) for record in rounds]
    assert ages == [{"0"}] + [{"1"}] * 5
    trained = Counter(tuple(prompt) for record in rounds for prompt in record["trained"])
    assert trained == {(0, index): 1 for index in range(48)}
    assert result["policy"]["logp_diff_max"] < 1e-4
    assert result["num_updates_lifetime"] == 6
    assert before


@pytest.mark.fault("D4")
@pytest.mark.parametrize(("n", "t"), [pytest.param(2, 1, marks=pytest.mark.slow), (2, 2)])
def test_ages_with_several_minibatches_and_passes(ray_session, model, tmp_path, n, t):
    """N mini-batches of T passes: a sample's age grows by one with every update of its round; the bound holds."""
    config = tiny_config(model, minibatches_per_generation=n, updates_per_minibatch=t)
    with running(config, tmp_path) as algorithm:
        for _ in range(3):
            algorithm.train()
    rounds = rounds_of(tmp_path)
    assert set(rounds[0]["ages"]) == {str(age) for age in range(n * t)}
    assert set(rounds[2]["ages"]) == {str(n * t + age) for age in range(n * t)}
    assert max(int(age) for record in rounds for age in record["ages"]) <= 2 * n * t - 1


@pytest.mark.fault("D4")
def test_a_wider_bound_queues_rounds_ahead_and_stays_within_it(ray_session, model, tmp_path):
    with running(tiny_config(model, max_staleness=3), tmp_path) as algorithm:
        for _ in range(6):
            algorithm.train()
    ages = [max(map(int, record["ages"])) for record in rounds_of(tmp_path)]
    assert ages == [0, 1, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("name", "settings"),
    [("AsyncOnlineDPO", {"loss": "ipo"}), ("AsyncRLOO", {"samples_per_prompt": 4}),
     pytest.param("BestOfN", {"samples_per_prompt": 4}, marks=pytest.mark.slow),
     pytest.param("AsyncRLOO", {"loss": "vanilla", "staleness_correction": "truncated", "samples_per_prompt": 4},
                  marks=pytest.mark.slow)],
)  # fmt: skip
def test_every_method_learns_to_copy(ray_session, model, tmp_path, name, settings):
    """Thirty updates raise the training reward of every method well above where it began."""
    config = tiny_config(model, name, prompts_per_minibatch=16, total_updates=60, **settings)
    with running(config, tmp_path) as algorithm:
        rewards = [algorithm.train()["reward"]["mean"] for _ in range(30)]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.15
