"""TLDR: the N+ query format, its truncation rule, the reference's leading space, and reading rows offline."""

from __future__ import annotations

import json
import pickle
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import BadData, BadEnv
from envs.text.controlled_gold import GoldReward, best_reward, gold_reward
from envs.text.controlled_pairs import controlled_rows
from envs.text.row_values import MAX_CHARS
from envs.text.tldr import TLDR, completion_text, query_text
from envs.text.truncation import cut_to_budget, cut_words, rough_tokens

HEAD = "SUBREDDIT: r/pets\n\nTITLE: My cat\n\nPOST: "
TAIL = "\n\nTL;DR:"


def row(post: str = "She sleeps.", **changes: str) -> dict[str, str]:
    return {"subreddit": "pets", "title": "My cat", "post": post, "summary": "Cat sleeps.", **changes}


def words_of(count: int, stem: str) -> str:
    return " ".join(f"{stem}{i}" for i in range(count))


def literally(text: str, fits) -> str | None:
    """The rule as it is written: test, cut at the last newline or remove one character, test again."""
    while not fits(text):
        if not text:
            return None
        newline = text.rfind("\n")
        text = text[: newline if newline >= 0 else -1]
    return text


@pytest.fixture(scope="module")
def byte_pairs():
    """A byte-level BPE counter whose counts do fall when some words grow longer."""
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    corpus = [" ".join(f"{row['title']} {row['post']}".split()) for row in controlled_rows(50)]
    tokenizer.train_from_iterator(
        [*corpus, "umbrella umbrellas\n\nTL;DR: \n\n"] * 3, vocab_size=600, show_progress=False
    )
    return lambda text: len(tokenizer.encode(text).ids)


def test_the_query_has_the_published_form():
    env = TLDR("all", data=[row("She sleeps.\nAll day.")])
    assert env.task(0).prompt == HEAD + "She sleeps.\nAll day." + TAIL
    assert env.task(0).prompt.endswith(":") and env.task(0).info == {"subreddit": "pets", "cut_chars": 0}


def test_a_given_r_slash_is_not_doubled():
    assert TLDR("all", data=[row(subreddit="r/pets ")]).task(0).prompt.startswith("SUBREDDIT: r/pets\n\n")


@pytest.mark.parametrize("summary", ["Cat sleeps.", " Cat sleeps.", "  \n Cat sleeps."])
def test_the_reference_has_exactly_one_leading_space(summary):
    assert (
        TLDR("all", data=[row(summary=summary)]).task(0).reference
        == " Cat sleeps."
        == completion_text(summary)
    )


def test_a_post_of_three_paragraphs_loses_the_last_one_whole():
    paragraphs = [words_of(200, stem) for stem in "abc"]
    env = TLDR("all", data=[row("\n".join(paragraphs))])
    assert env.task(0).prompt == HEAD + "\n".join(paragraphs[:2]) + TAIL
    assert env.task(0).info["cut_chars"] == len(paragraphs[2]) + 1
    assert (
        rough_tokens(env.task(0).prompt)
        <= 512
        < rough_tokens(query_text("pets", "My cat", "\n".join(paragraphs)))
    )


def test_a_post_without_newline_loses_single_characters():
    overhead = rough_tokens(HEAD + TAIL)
    for budget in (overhead + 1, overhead + 7, overhead + 40):
        prompt = TLDR("all", data=[row(words_of(50, "w"))], max_query_tokens=budget).task(0).prompt
        kept = prompt.removeprefix(HEAD).removesuffix(TAIL)
        assert kept == literally(
            words_of(50, "w"), lambda part, b=budget: rough_tokens(HEAD + part + TAIL) <= b
        )
        assert rough_tokens(kept) == budget - overhead  # nothing more was removed than had to be


posts = st.lists(
    st.text("ab \n.é\U0001f600", max_size=12)
    | st.sampled_from(["umbrella umbrellas ", "falcon\n", "\n\n\n", "   ", "TL;DR: "]),
    max_size=10,
).map("".join)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(posts, st.integers(0, 40))
def test_bisection_gives_what_removing_one_character_at_a_time_gives(post, budget):
    def fits(part: str) -> bool:
        return rough_tokens(HEAD + part + TAIL) <= budget

    assert cut_to_budget(post, fits) == literally(post, fits)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(posts, st.integers(0, 60))
def test_bisection_is_right_for_byte_pair_encoding_too(byte_pairs, post, budget):
    def fits(part: str) -> bool:
        return byte_pairs(part + TAIL) <= budget

    assert cut_to_budget(post, fits) == literally(post, fits)


def test_a_longer_word_may_have_fewer_tokens_and_is_then_kept(byte_pairs):
    post = "umbrella umbrella umbrella"
    counts = [byte_pairs(post[:end]) for end in range(len(post) + 1)]
    assert any(after < before for before, after in pairwise(counts)), "not the case it is for"
    for budget in range(max(counts) + 1):
        fits = lambda part, b=budget: byte_pairs(part) <= b  # noqa: E731
        assert cut_to_budget(post, fits) == literally(post, fits)


def test_long_posts_take_few_counts():
    calls = 0

    def count(text: str) -> int:
        nonlocal calls
        calls += 1
        return len(text)

    post = ("x" * 99 + "\n") * 9_999
    env = TLDR("all", data=[row("y" * 900_000), row(post)], count_tokens=count, max_query_tokens=500)
    assert all(len(env.task(i).prompt) <= 500 for i in range(2)) and len(env.task(0).prompt) == 500
    assert calls < 700  # one a character would be a million


def test_a_query_that_does_not_fit_without_its_post_is_quarantined(tmp_path):
    rows = [row(title=words_of(30, "t")), *(row(words_of(5, f"p{i}")) for i in range(9))]
    listed = tmp_path / "bad.jsonl"
    env = TLDR("all", data=rows, max_query_tokens=25, max_bad_rows=0.1, quarantine=listed)
    assert json.loads(listed.read_text())["index"] == 0
    assert env.num_tasks == 9
    assert env.report.quarantined == [(0, "the query does not fit max_query_tokens even without its post")]
    with pytest.raises(BadData, match="1 of 10 rows"):
        TLDR("all", data=rows, max_query_tokens=25)


def test_controlled_rows_run_through_files_and_truncation(tmp_path):
    rows = controlled_rows(300, seed=3)
    path = tmp_path / "posts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = TLDR("all", data=path, reward=GoldReward())
    short = TLDR("all", data=rows, max_query_tokens=32)
    cut = [short.task(i).info["cut_chars"] for i in range(300)]
    assert not any(whole.task(i).info["cut_chars"] for i in range(300)) and sum(map(bool, cut)) > 200
    for i, posted in enumerate(rows):
        assert whole.task(i).prompt == query_text(posted["subreddit"], posted["title"], posted["post"])
        assert best_reward(whole.task(i).prompt) == 5.0
        kept = re.search(r"POST: (.*)\n\nTL;DR:$", short.task(i).prompt, re.DOTALL).group(1)
        assert not cut[i] or posted["post"].startswith(kept + "\n")  # whole paragraphs
    sample = whole.task(0)
    whole.reset(options={"index": 0})
    assert whole.step(sample.reference)[1] == gold_reward(sample.prompt, sample.reference)
    sizes = {split: TLDR(split, data=path).num_tasks for split in ("train", "validation", "test")}
    assert sum(sizes.values()) == 300 and min(sizes.values()) >= 3


def test_the_default_reward_compares_with_the_human_summary():
    env = TLDR("all", data=[row()])
    env.reset(options={"index": 0})
    assert env.step(" Cat sleeps.")[1] == pytest.approx(1.0)


def test_an_environment_travels_to_another_process():
    env = TLDR("all", data=controlled_rows(20), max_query_tokens=32, reward=GoldReward())
    copy = pickle.loads(pickle.dumps(env))
    assert [copy.task(i) for i in range(20)] == [env.task(i) for i in range(20)] and copy.report == env.report
    assert env.spawn().reset(options={"index": 3})[0] == env.task(3).prompt


def test_bad_settings_and_hostile_posts():
    with pytest.raises(BadEnv, match="max_query_tokens is 0"):
        TLDR("all", data=[row()], max_query_tokens=0)
    hostile = ["\0nul", "\udcff", "<|im_end|><eos>", "\u202edlrow", "x" * MAX_CHARS, "\n" * 5000 + "end"]
    env = TLDR("all", data=[row(post) for post in hostile])
    assert env.num_tasks == len(hostile) == env.report.total
    assert all(rough_tokens(env.task(i).prompt) <= 512 for i in range(env.num_tasks))
    assert "<|im_end|><eos>" in env.task(2).prompt  # text stays text


def test_cut_words_keeps_whole_words_of_one_side():
    text = "one two  three\nfour"
    for stay, left, right in ((1, "four", "one"), (2, "three\nfour", "one two"), (4, text, text)):
        fits = lambda part, most=stay: rough_tokens(part) <= most  # noqa: E731
        assert (cut_words(text, fits, "left"), cut_words(text, fits, "right")) == (left, right)
    assert cut_words(text, lambda part: False, "left") == "four" and cut_words("", bool, "left") == ""
