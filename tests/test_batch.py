"""Conversations to padded columns: every number where a slow construction puts it, and no row torn or shifted."""

from __future__ import annotations

import pickle
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.llm.batch import Completion, Group, completion_of, groups_of, score_table, to_columns
from rllib_ext.llm.conversation import Conversation, Turn
from rllib_ext.llm.episodes import episode_of
from rllib_ext.llm.played import Played, PlayedBatch, played

quick = settings(max_examples=40, deadline=None)


def ids(rng: np.random.Generator, low: int = 1, high: int = 9) -> np.ndarray:
    return rng.integers(1, 1000, rng.integers(low, high), dtype=np.int32)


def turn(rng: np.random.Generator, heard: np.ndarray) -> Turn:
    tokens = ids(rng)
    logps = -rng.random(len(tokens), dtype=np.float32)
    return Turn("heard", heard, tokens, logps, "said", bool(rng.integers(2)))


def conversation(
    rng: np.random.Generator, epoch: int, index: int, prompt: np.ndarray, score: float | None, turns: int = 1
) -> Conversation:
    heard = [prompt, *(ids(rng) for _ in range(turns - 1))]
    item = Conversation(0, epoch, index, None, "", {"epoch": "the environment's own"}, "", prompt)
    item.turns = [turn(rng, words) for words in heard]
    item.score, item.done = score, True
    return item


def arrived(item: Conversation, version: int = 3) -> Played:
    """What a rollout worker makes of it, after its way through the object store."""
    return pickle.loads(pickle.dumps(PlayedBatch([played(item, version)])))[0]


def some_groups(seed: int, rows: int, kept: int) -> list[Group]:
    rng = np.random.default_rng(seed)
    groups = []
    for index in range(rows):
        prompt = ids(rng)
        scores = [None if rng.random() < 0.3 else float(rng.standard_normal()) for _ in range(kept)]
        items = [conversation(rng, 0, index, prompt, score, int(rng.integers(1, 4))) for score in scores]
        groups += groups_of([arrived(item, int(rng.integers(9))) for item in items], [(0, index)])
    return groups


# ----- columns


@quick
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 4), st.sampled_from([1, 3, 8]))
def test_columns_equal_a_slow_construction(seed: int, rows: int, kept: int, multiple: int) -> None:
    groups = some_groups(seed, rows, kept)
    columns = to_columns(groups, multiple=multiple)
    prompts = [group.prompt_ids.tolist() for group in groups]
    tokens = [[c.ids.tolist() for c in group.completions] for group in groups]
    left = -(-max(map(len, prompts)) // multiple) * multiple
    right = -(-max(len(t) for row in tokens for t in row) // multiple) * multiple

    def padded(values: list, width: int, before: bool = False) -> list:
        padding = [0] * (width - len(values))
        return padding + values if before else values + padding

    slow = {
        "prompt_ids": [padded(p, left, True) for p in prompts],
        "prompt_mask": [padded([1] * len(p), left, True) for p in prompts],
        "token_ids": [[padded(t, right) for t in row] for row in tokens],
        "token_mask": [[padded([1] * len(t), right) for t in row] for row in tokens],
        "action_mask": [[padded(c.sampled.tolist(), right) for c in g.completions] for g in groups],
        "behaviour_logps": [[padded(c.logps.tolist(), right) for c in g.completions] for g in groups],
        "scores": [[0.0 if c.score is None else c.score for c in g.completions] for g in groups],
        "scored": [[c.score is not None for c in g.completions] for g in groups],
        "finished": [[c.finished for c in g.completions] for g in groups],
        "versions": [g.version for g in groups],
    }
    assert columns.keys() == slow.keys()
    for name, values in slow.items():
        assert np.array_equal(columns[name], np.array(values, dtype=columns[name].dtype)), name


def test_types_and_shapes_are_those_of_the_documentation() -> None:
    columns = to_columns(some_groups(0, 3, 2))
    types = {name: column.dtype for name, column in columns.items()}
    assert all(types[name] == np.int64 for name in ("prompt_ids", "token_ids", "token_mask", "versions"))
    assert types["behaviour_logps"] == types["scores"] == types["action_mask"] == np.float32
    assert types["scored"] == np.bool_ and columns["scores"].shape == (3, 2)
    assert columns["token_ids"].shape == (3, 2, columns["token_mask"].shape[-1])
    assert columns["prompt_ids"].shape[1] % 8 == columns["token_ids"].shape[2] % 8 == 0


def test_widths_are_those_of_this_batch_alone() -> None:
    short, long = np.arange(1, 4), np.arange(1, 18)

    def group(prompt: np.ndarray, tokens: np.ndarray) -> Group:
        one = Completion(tokens, np.zeros(len(tokens)), np.ones(len(tokens)), 1.0, True)
        return Group((0, 0), prompt, (one,), 0)

    assert to_columns([group(short, short)])["prompt_ids"].shape[1] == 8
    assert to_columns([group(short, long)])["token_ids"].shape[2] == 24
    assert to_columns([group(short, long)], multiple=1)["token_ids"].shape[2] == 17


# ----- on the way


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@quick
@given(st.integers(0, 2**31), st.lists(st.integers(1, 4), max_size=6))
def test_a_batch_of_conversations_arrives_as_it_was_sent(seed: int, turns: list[int]) -> None:
    rng = np.random.default_rng(seed)
    items = [conversation(rng, 1, i, ids(rng), rng.random(), count) for i, count in enumerate(turns)]
    sent = PlayedBatch(played(item, 5) for item in items)
    came = pickle.loads(pickle.dumps(sent))
    assert type(came) is PlayedBatch and len(came) == len(sent)
    for one, other in zip(sent, came, strict=True):
        assert all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(Played))


def test_an_episode_of_rllib_says_the_same() -> None:
    rng = np.random.default_rng(5)
    item = played(conversation(rng, 2, 7, ids(rng), 0.25, turns=3), version=9)
    episode = episode_of(item)
    assert len(episode) == 3 and episode.is_terminated and episode.get_return() == 0.25
    said = episode.infos[-1]
    assert (said["epoch"], said["index"], said["score"], said["unscored"]) == (2, 7, 0.25, None)
    outputs = episode.extra_model_outputs
    names = {"observation_ids": item.observation_ids, "token_ids": item.token_ids, "action_logp": item.logps}
    for name, arrays in names.items():
        assert all(np.array_equal(outputs[name][turn], arrays[turn]) for turn in range(3)), name
    assert list(outputs["weights_seq_no"]) == [9] * 3 and list(outputs["finished"]) == list(item.finished)


# ----- completions


@quick
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_later_turns_are_in_the_sequence_and_only_answers_are_sampled(seed: int, turns: int) -> None:
    rng = np.random.default_rng(seed)
    item = conversation(rng, 0, 0, ids(rng), 0.5, turns)
    prompt, completion = completion_of(arrived(item))
    assert np.array_equal(prompt, item.turns[0].observation_ids)
    assert [*prompt, *completion.ids] == item.sequence()[: -len(item.pending_ids)]
    sampled = completion.sampled.astype(bool)
    assert np.array_equal(completion.ids[sampled], np.concatenate([t.token_ids for t in item.turns]))
    assert np.array_equal(completion.logps[sampled], np.concatenate([t.logps for t in item.turns]))
    assert not completion.logps[~sampled].any()
    assert sampled.sum() + sum(len(t.observation_ids) for t in item.turns[1:]) == len(completion.ids)
    assert completion.finished == item.turns[-1].finished and completion.score == 0.5


def test_an_absent_score_stays_absent_and_zero_stays_zero() -> None:
    rng = np.random.default_rng(0)
    for score in (None, 0.0):
        assert completion_of(arrived(conversation(rng, 0, 0, ids(rng), score)))[1].score == score


# ----- groups


def test_groups_come_in_the_order_of_the_prompts_with_their_samples_in_order() -> None:
    rng = np.random.default_rng(1)
    prompts = [(0, 4), (0, 1), (0, 7), (0, 3)]
    items = {i: [conversation(rng, 0, i, ids(rng), float(k)) for k in range(3)] for _, i in prompts}
    scrambled = [arrived(item, version=i) for i in (1, 3, 4) for item in items[i]]  # of 7 nothing came back
    groups = groups_of(scrambled, prompts)
    assert [group.prompt for group in groups] == [(0, 4), (0, 1), (0, 3)]
    assert [group.version for group in groups] == [4, 1, 3]
    for group in groups:
        wanted = items[group.prompt[1]]
        assert [c.score for c in group.completions] == [0.0, 1.0, 2.0]
        assert all(
            np.array_equal(c.ids, w.turns[0].token_ids)
            for c, w in zip(group.completions, wanted, strict=True)
        )


def test_a_round_that_reaches_into_the_next_epoch_keeps_the_epochs_apart() -> None:
    rng = np.random.default_rng(2)
    prompt = ids(rng)
    items = [conversation(rng, epoch, 5, prompt, float(epoch)) for epoch in (0, 0, 1)]
    groups = groups_of([arrived(item) for item in items], [(0, 5), (1, 5)])
    assert [len(group.completions) for group in groups] == [2, 1]
    assert [{c.score for c in group.completions} for group in groups] == [{0.0}, {1.0}]


def test_keep_reduces_in_the_order_asked_for() -> None:
    group = some_groups(3, 1, 4)[0]
    kept = group.keep([2, 0])
    assert kept.completions == (group.completions[2], group.completions[0])
    assert (kept.prompt, kept.version) == (group.prompt, group.version)
    assert kept.prompt_ids is group.prompt_ids


# ----- scores


def test_the_score_table_fills_up_as_unscored() -> None:
    def group(*scores: float | None) -> Group:
        nothing = np.zeros(1)
        return Group(
            (0, 0), nothing, tuple(Completion(nothing, nothing, nothing, s, True) for s in scores), 0
        )

    scores, scored = score_table([group(1.5, None, -2.0), group(0.0), group(None, None)])
    assert scored.tolist() == [[True, False, True], [True, False, False], [False] * 3]
    assert scores.tolist() == [[1.5, 0.0, -2.0], [0.0, 0.0, 0.0], [0.0] * 3]
    assert scores.dtype == np.float64 and scored.dtype == bool
    assert score_table([])[0].shape == (0, 1)


@pytest.mark.parametrize("width", [1, 5])
def test_scores_keep_their_precision_in_the_table(width: int) -> None:
    fine = [1.0 + k * 1e-12 for k in range(width)]
    nothing = np.zeros(1)
    group = Group((0, 0), nothing, tuple(Completion(nothing, nothing, nothing, s, True) for s in fine), 0)
    assert score_table([group])[0][0].tolist() == fine, "ties are decided at full precision"
