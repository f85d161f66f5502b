"""The controlled TL;DR: exact gold rewards, noise at its stated rates, the ceiling, splits, determinism."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import BadData, BadEnv
from envs.text.controlled import ControlledTLDR, GoldReward, best_reward, gold_reward, label_pairs, vocabulary
from envs.text.controlled_gold import marked_keys
from envs.text.controlled_pairs import controlled_rows, demonstrations, preference_pairs
from envs.text.controlled_words import FILLER, KEYS, MARKERS
from envs.text.task import Sample, Task

PROMPT = "the note anchor and main basket of to vital candle in mark desert we TL;DR:"
N = 20_000


def within(count: int, trials: int, probability: float) -> bool:
    """Whether a binomial count lies within five standard deviations of its mean."""
    return abs(count - trials * probability) < 5 * math.sqrt(trials * probability * (1 - probability))


@pytest.fixture(scope="module")
def references() -> list[Task]:
    env = ControlledTLDR("train", size=N)
    return [env.task(index) for index in range(N)]


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("anchor basket candle desert", 5.0),
        (" anchor basket candle desert ", 5.0),
        ("", 0.0),
        ("anchor", 1.25),
        ("desert", 1.25),  # the first key always has the bonus
        ("desert candle basket anchor", 1.25 + 3),
        ("basket anchor candle desert", 1.25 + 1 + 1.25 + 1.25),
        ("anchor candle basket desert", 1.25 + 1.25 + 1 + 1.25),
        ("anchor desert candle basket", 1.25 + 1.25 + 1 + 1),
        ("anchor anchor", 1.25 - 0.5),
        ("anchor the anchor", 1.25 - 0.5 - 0.5),
        ("anchor anchor anchor basket candle desert", 5 - 1),
        ("anchor engine basket candle desert", 4.5),  # a key that is not in the prompt
        ("note anchor", 0.75),  # markers are wrong words
        ("the the", -1.0),  # a wrong word costs the same each time
        ("Anchor", -0.5),
        ("anchor basket candle desert TL;DR:", 4.5),
        ("engine falcon garden hammer", -2.0),
    ],
)
def test_gold_rewards_are_exact(completion, reward):
    assert gold_reward(PROMPT, completion) == reward
    assert GoldReward().score([Sample(Task("t", PROMPT), completion)]) == [reward]


def test_only_the_keys_in_order_reach_the_maximum():
    scores = {order: gold_reward(PROMPT, " ".join(order)) for order in permutations(marked_keys(PROMPT))}
    assert max(scores.values()) == 5.0 == best_reward(PROMPT)
    assert [order for order, score in scores.items() if score == 5.0] == [
        ("anchor", "basket", "candle", "desert")
    ]
    assert min(scores.values()) == 4.25


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(vocabulary()), max_size=10), st.sampled_from(vocabulary()))
def test_gold_moves_by_one_step_a_word_and_never_passes_the_maximum(words, word):
    before, after = (gold_reward(PROMPT, " ".join(w)) for w in (words, [*words, word]))
    assert after - before in (-0.5, 1.0, 1.25) and before <= 5.0
    assert (after < before) == (word not in marked_keys(PROMPT) or word in words)


def test_gold_reads_what_the_policy_saw():
    assert marked_keys("note\nanchor basket main TL;DR:") == ["anchor"]  # unmarked keys do not count
    assert best_reward("no key here") == 0.0 and gold_reward("no key here", "anchor") == -0.5
    assert marked_keys("note anchor main basket vital anchor") == ["anchor", "basket"]
    chat = ({"role": "user", "content": PROMPT},)
    assert GoldReward().score([Sample(Task("t", chat), "anchor")]) == [1.25]


def test_prompts_have_the_stated_form(references):
    lengths, markers, keys, fillers, first = Counter(), Counter(), Counter(), Counter(), Counter()
    for task in references:
        words = task.prompt.split(" ")
        lengths[len(words)] += 1
        assert words[-1] == "TL;DR:" and words.count("TL;DR:") == 1
        places = [place for place, word in enumerate(words) if word in KEYS]
        assert [words[place] for place in places] == task.info["keys"] == marked_keys(task.prompt)
        assert len(set(task.info["keys"])) == 4
        assert all(words[place - 1] in MARKERS for place in places)
        assert sum(word in MARKERS for word in words) == 4
        first[words[0] in MARKERS] += 1
        markers.update(word for word in words if word in MARKERS)
        fillers.update(word for word in words if word in FILLER)
        keys.update(task.info["keys"])
    assert sorted(lengths) == list(range(22, 33))
    assert all(within(count, N, 1 / 11) for count in lengths.values())
    assert all(within(markers[marker], 4 * N, 1 / 4) for marker in MARKERS)
    assert all(within(keys[key], N, 4 / 24) for key in KEYS)
    assert all(within(fillers[word], fillers.total(), 1 / 24) for word in FILLER)
    slots = [length - 5 for length in range(22, 33)]  # the first slot is marked with probability 4 / slots
    assert within(first[True], N, sum(4 / slot for slot in slots) / len(slots))


def noise_of(prompt: str, summary: str) -> tuple[int, int]:
    """(keys missing, wrong words) of a noisy summary, which keeps the order and repeats no key."""
    wanted, words = marked_keys(prompt), summary.split()
    kept = [word for word in words if word in wanted]
    assert kept == [key for key in wanted if key in kept], "a noisy summary never breaks the order"
    assert all(word in KEYS or word in FILLER for word in words)
    return 4 - len(kept), len(words) - len(kept)


@pytest.mark.parametrize(
    ("drop", "insert", "source"), [(0.45, 0.35, "demonstrations"), (0.30, 0.20, "references")]
)
def test_noise_has_the_stated_rates(references, drop, insert, source):
    pairs = (
        demonstrations(N)
        if source == "demonstrations"
        else [(task.prompt, task.reference) for task in references]
    )
    counts = [noise_of(prompt, summary) for prompt, summary in pairs]
    spared = drop**4 * (1 - insert) ** 5 / 4  # an empty summary keeps one key
    assert within(sum(missing for missing, _ in counts), 4 * N, drop - spared)
    assert within(sum(wrong for _, wrong in counts), 5 * N, insert)
    assert within(sum(count == (0, 0) for count in counts), N, (1 - drop) ** 4 * (1 - insert) ** 5)
    assert all(summary.startswith(" ") and summary.strip() for _, summary in pairs)
    mean = sum(gold_reward(*pair) for pair in pairs) / N
    assert mean == pytest.approx(1.25 * 4 * (1 - drop + spared) - 0.5 * 5 * insert, abs=0.05)


def test_the_win_rate_ceiling_is_above_nine_tenths(references):
    exact = 1 - 0.7**4 * 0.8**5
    beatable = sum(gold_reward(task.prompt, task.reference) < 5.0 for task in references)
    assert within(beatable, N, exact)
    assert ControlledTLDR("train", size=N).win_ceiling() == beatable / N
    for split in ("validation", "test"):
        assert ControlledTLDR(split).win_ceiling() > 0.9
    assert ControlledTLDR("test", size=3000, drop=0.15, insert=0.10).win_ceiling() < 0.75  # too little noise
    assert ControlledTLDR("test", size=100, drop=0, insert=0).win_ceiling() == 0.0


def test_splits_are_disjoint_in_prompts_and_in_key_sets():
    sets: dict[str, set] = {}
    for split in ("train", "validation", "test"):
        env = ControlledTLDR(split, size=5000)
        sets[split] = {frozenset(env.task(i).info["keys"]) for i in range(5000)}
        sums = {sum(map(KEYS.index, keys)) % 24 for keys in sets[split]}
        assert sums == {"train": set(range(2, 24)), "validation": {0}, "test": {1}}[split]
    assert not sets["train"] & sets["validation"] and not sets["train"] & sets["test"]
    assert not sets["validation"] & sets["test"]


def test_task_i_depends_on_seed_split_and_i_alone():
    long, short = ControlledTLDR("train", size=2500, seed=7), ControlledTLDR("train", size=1030, seed=7)
    assert [long.task(i) for i in range(1030)] == [short.task(i) for i in range(1030)]
    other = ControlledTLDR("train", size=1030, seed=8)
    assert sum(other.task(i).prompt == short.task(i).prompt for i in range(1030)) == 0
    quiet = ControlledTLDR("train", size=1030, seed=7, drop=0.0)  # noise moves no prompt
    assert [quiet.task(i).prompt for i in range(1030)] == [short.task(i).prompt for i in range(1030)]
    for make in (demonstrations, preference_pairs, controlled_rows):
        assert make(1030, 7) == make(2000, 7)[:1030] != make(1030, 8)


def test_the_first_tasks_are_these_bytes():
    task = ControlledTLDR("validation", size=1).task(0)
    assert (task.id, task.prompt, task.reference) == (
        "controlled/validation/0/0",
        FIRST_PROMPT,
        FIRST_REFERENCE,
    )


FIRST_PROMPT = (
    "that while main magnet but we after note valley from very note zipper of to over"
    " went of in of then the went there after so very note quarry TL;DR:"
)
FIRST_REFERENCE = " magnet then quarry"


def test_demonstrations_use_the_prompts_of_the_train_split():
    env = ControlledTLDR("train", size=2000, seed=5)
    assert [prompt for prompt, _ in demonstrations(2000, 5)] == [env.task(i).prompt for i in range(2000)]


def test_pairs_are_labelled_by_gold_and_flipped_at_the_stated_rate():
    clean = preference_pairs(5000, 2)
    assert len(clean) == 5000
    assert all(
        gold_reward(prompt, chosen) > gold_reward(prompt, rejected) for prompt, chosen, rejected in clean
    )
    flipped = preference_pairs(5000, 2, flip=0.2)
    assert [{a, b} for _, a, b in flipped] == [{a, b} for _, a, b in clean]
    wrong = sum(
        gold_reward(prompt, chosen) < gold_reward(prompt, rejected) for prompt, chosen, rejected in flipped
    )
    assert within(wrong, 5000, 0.2)
    assert preference_pairs(50, 2, flip=1.0) == [(prompt, b, a) for prompt, a, b in clean[:50]]


def test_samples_of_a_policy_are_labelled_and_ties_left_out():
    samples = [(PROMPT, "desert", "anchor basket"), (PROMPT, "anchor", "basket"), (PROMPT, "", "the")]
    assert list(label_pairs(samples)) == [(PROMPT, "anchor basket", "desert"), (PROMPT, "", "the")]


def test_the_vocabulary_covers_everything_and_is_small():
    words = vocabulary()
    assert len(words) == len(set(words)) == 53
    used = {word for prompt, summary in demonstrations(2000) for word in (prompt + summary).split()}
    assert used == set(words)


def test_an_episode_pays_the_gold_reward():
    env = ControlledTLDR("test")
    assert env.num_tasks == 512
    _, info = env.reset(seed=1)
    _, reward, terminated, truncated, _ = env.step(" ".join(info["keys"]))
    assert (reward, terminated, truncated) == (5.0, True, False)


def test_rows_keep_marker_and_key_on_one_line():
    for row in controlled_rows(500, paragraphs=5):
        assert set(row) == {"subreddit", "title", "post", "summary"}
        lines = row["post"].split("\n")
        assert 4 <= len(lines) <= 5 and not any(line.split()[-1] in MARKERS for line in lines)
        assert len(marked_keys(row["post"])) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ControlledTLDR("all"), "split is 'all'"),
        (lambda: ControlledTLDR(size=0), "size is 0"),
        (lambda: ControlledTLDR(seed=-1), "seed is -1"),
        (lambda: ControlledTLDR(drop=1.5), "drop is 1.5"),
        (lambda: preference_pairs(1, flip=2.0), "flip is 2.0"),
        (lambda: controlled_rows(1, paragraphs=0), "paragraphs is 0"),
    ],
)
def test_bad_settings_are_named(call, message):
    with pytest.raises((BadEnv, BadData), match=message):
        call()
