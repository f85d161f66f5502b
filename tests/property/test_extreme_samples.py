"""Samples of every age and scores of every size on their way into the learner (D1, D4), and who may go on (F5)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from chaos.inject import tries
from hypothesis import given, settings
from hypothesis import strategies as st
from local_learner import build_learner, optimizer_of, same, some_groups, update, weights_of
from test_batch import arrived, conversation, ids
from tiny_language import save_tiny_model

from rllib_ext.errors import CheckpointCorrupt, NonFinite
from rllib_ext.llm import persistence
from rllib_ext.llm.algorithm import LLMAlgorithm
from rllib_ext.llm.learner import LLMLearner
from rllib_ext.online_dpo.algorithm import AsyncOnlineDPO
from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig
from rllib_ext.rloo.config import AsyncRLOOConfig

NOW = 40

# ----- ages


@pytest.mark.fault("D4")
@settings(max_examples=tries(100, 2000), deadline=None)
@given(
    lags=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    bound=st.integers(0, 12),
    per_round=st.integers(1, 4),
)
def test_what_is_too_old_is_left_out_and_counted(lags: list[int], bound: int, per_round: int) -> None:
    """The age that counts is the one in the round's last update, after ``per_round - 1`` others."""
    rng = np.random.default_rng(0)
    prompts = [(0, index) for index in range(len(lags))]
    items = [arrived(conversation(rng, 0, index, ids(rng), 1.0), NOW - lag) for index, lag in enumerate(lags)]
    driver = SimpleNamespace(
        journal=SimpleNamespace(failures=lambda rollouts, limit: None),
        config=SimpleNamespace(max_unscored_share=1.0, updates_per_round=per_round, staleness_bound=bound),
        ledger=SimpleNamespace(prompts=lambda index: prompts),
        counters={"updates": NOW, "dropped_stale": 7},
        round=0,
    )
    kept = LLMAlgorithm.admit(driver, [SimpleNamespace(played=items)])  # type: ignore[arg-type]
    fresh = [index for index, lag in enumerate(lags) if lag + per_round - 1 <= bound]
    assert [group.prompt[1] for group in kept] == fresh
    assert driver.counters["dropped_stale"] == 7 + len(lags) - len(fresh)
    assert Counter(NOW - group.version for group in kept) == Counter(lags[index] for index in fresh)


# ----- scores

EXTREME = (1e38, -1e38, 3e38, -3e38, 1e300, -1e300, 5e-324, 0.0, 1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def finite(learner: LLMLearner) -> bool:
    moments = [tensor for tensor in optimizer_of(learner).values() if isinstance(tensor, torch.Tensor)]
    return all(torch.isfinite(tensor).all() for tensor in [*weights_of(learner).values(), *moments])


@pytest.mark.fault("D1", tries=tries(30, 300))
@pytest.mark.parametrize("loss", ["vanilla", "proximal"])
def test_enormous_scores_leave_finite_weights_or_no_update(model: str, loss: str) -> None:
    """A score that a float32 cannot hold, or whose gradient it cannot, may cost the update and never the weights."""
    learner = build_learner(AsyncRLOOConfig, model, loss=loss, max_grad_norm=1.0)
    rng = np.random.default_rng(0)
    for number in range(tries(30, 300) // 2):
        groups = [
            replace(group, completions=tuple(
                replace(one, score=float(rng.choice(EXTREME))) for one in group.completions
            ))
            for group in some_groups(4, 3, number)
        ]  # fmt: skip
        before, skipped = weights_of(learner), learner.skipped
        try:
            update(learner, groups, number)
        except NonFinite:  # five in a row: the run would end here, with these weights
            learner = build_learner(AsyncRLOOConfig, model, loss=loss, max_grad_norm=1.0)
            continue
        assert finite(learner)
        if learner.skipped > skipped:
            assert same(before, weights_of(learner))


@pytest.mark.fault("D1")
@settings(max_examples=tries(100, 2000), deadline=None)
@given(st.lists(st.lists(st.sampled_from([None, *EXTREME]), min_size=3, max_size=3), min_size=1, max_size=6))
def test_pairs_are_made_of_scored_completions_in_their_order(scores: list[list[float | None]]) -> None:
    """No enormous score is rounded into a tie or out of its order, no unscored completion is taken for a 0."""
    groups = [
        replace(group, completions=tuple(
            replace(one, score=score) for one, score in zip(group.completions, row, strict=True)
        ))
        for group, row in zip(some_groups(len(scores), 3), scores, strict=True)
    ]  # fmt: skip
    rows = AsyncOnlineDPO.rows_of(SimpleNamespace(config=AsyncOnlineDPOConfig()), groups)  # type: ignore[arg-type]
    for row, chosen in zip(scores, rows, strict=True):
        given_scores = [score for score in row if score is not None]
        if len(given_scores) < 2 or max(given_scores) == min(given_scores):
            assert chosen is None
        else:
            assert [one.score for one in chosen.completions] == [max(given_scores), min(given_scores)]
            assert all(math.isfinite(one.score) for one in chosen.completions)


# ----- another run's checkpoint


@pytest.mark.fault("F5")
@pytest.mark.fault("B5")
@pytest.mark.parametrize("name", ["tokenizer", "method", "seed", "num_prompts", "prompts_per_round"])
def test_a_checkpoint_of_another_tokenizer_or_run_is_refused_with_both_values(name: str) -> None:
    driver: Any = SimpleNamespace(
        config=SimpleNamespace(run_seed=3, prompts_per_round=8),
        ledger=SimpleNamespace(num_prompts=64),
        facts=SimpleNamespace(tokenizer_digest="0123abcd"),
    )
    saved = {
        "method": "SimpleNamespace", "seed": 3, "num_prompts": 64, "prompts_per_round": 8, "tokenizer": "0123abcd",
    }  # fmt: skip
    persistence._refuse_other_run(driver, saved, Path("step_000003"))
    other = {**saved, name: "another"}
    with pytest.raises(CheckpointCorrupt, match=f"{name}='another', this run has {saved[name]!r}"):
        persistence._refuse_other_run(driver, other, Path("step_000003"))
