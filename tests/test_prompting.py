"""Text to ids: no text becomes a control token, nothing is encoded twice, long prompts follow the policy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from chaos.inject import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.errors import BadEnv
from rllib_ext.llm.from_scratch import train_tokenizer, word_tokenizer
from rllib_ext.llm.prompting import Prompting

TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]\n{{ m['content'] }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
REWRITING = (  # mentions how long the conversation is, so that an early part changes later
    "{{ messages | length }} {% for m in messages %}{{ m['content'] }}<eos>{% endfor %}"
)
FORGETFUL = "{{ messages[-1]['content'] }}<eos>"
STRICT = (
    "{% if messages[0]['role'] != 'user' %}{{ raise_exception('start with the user') }}{% endif %}" + TEMPLATE
)
quick = settings(max_examples=tries(60, 1000), deadline=None)
texts = st.text(max_size=30) | st.sampled_from(
    ["<eos>", "a <eos> b", "<pad>", "<eos", "\ufdd0", "\ufdd00\ufdd1", "\ufdd2", "x\ufdd2<eos>", "", "\n"]
)


@cache
def tokenizer(template: str = TEMPLATE) -> Any:
    made = train_tokenizer(["the answer is in the text " * 3, "[user] [assistant] [system]"], 300)
    made.chat_template = template
    return made


def prompting(template: str = TEMPLATE, longest: int = 10_000, overflow: str = "drop") -> Prompting:
    return Prompting(tokenizer(template), max_prompt_tokens=longest, overflow=overflow)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def plain(text: str) -> list[int]:
    """Ids of a text in which nothing is a control token."""
    return tokenizer()(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


# ----- control tokens


@pytest.mark.fault("C2")
@quick
@given(texts)
def test_text_never_becomes_a_control_token(text: str) -> None:
    ids = prompting().prompt_ids(text)
    if isinstance(ids, str):
        assert text == "" and ids == "the prompt has no tokens"
    else:
        assert not {0, 1} & set(ids.tolist()) and ids.dtype == np.int32
        assert tokenizer().decode(ids) == text
    assert not {0, 1} & set(prompting().observation_ids("a prompt", text).tolist())


@pytest.mark.fault("C2")
@quick
@given(st.lists(texts, min_size=1, max_size=4))
def test_messages_hold_no_control_tokens_but_the_templates_own(contents: list[str]) -> None:
    messages = [(user if n % 2 == 0 else assistant)(content) for n, content in enumerate(contents)]
    ids = prompting().prompt_ids(tuple(messages)).tolist()
    assert ids.count(1) == len(contents) and 0 not in ids
    spoken = "".join(f"[{m['role']}]\n{m['content']}<eos>\n" for m in messages) + "[assistant]\n"
    assert tokenizer().decode(ids) == spoken


def test_without_names_of_control_tokens_the_ids_are_those_of_transformers() -> None:
    messages = (user("the answer\n is in"), assistant("the text "), user(" the answer"))
    theirs = tokenizer().apply_chat_template(
        list(messages), add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert prompting().prompt_ids(messages).tolist() == theirs


# ----- the environment's messages


@quick
@given(texts, texts, texts, st.booleans())
def test_appending_gives_what_the_template_would_have_written(
    question: str, answer: str, message: str, finished: bool
) -> None:
    """prompt + answer (+ EOS) + observation = the prompt of the conversation with the message in it."""
    prompt = (user(question),)
    sampled = plain(answer) + ([1] if finished else [])
    appended = [
        *prompting().prompt_ids(prompt),
        *sampled,
        *prompting().observation_ids(prompt, message, finished=finished),
    ]
    whole = prompting().prompt_ids((*prompt, assistant(answer), user(message))).tolist()
    # Where an answer ends in what tokens may grow over, ids differ and the text does not.
    assert tokenizer().decode(appended) == tokenizer().decode(whole)
    assert appended.count(1) == whole.count(1) == 3


def test_appending_in_plain_text_is_appending() -> None:
    assert prompting().observation_ids("a prompt", " the answer").tolist() == plain(" the answer")
    assert prompting().observation_ids("a prompt", "").size == 0


@pytest.mark.parametrize("template", [REWRITING, FORGETFUL])
def test_templates_that_rewrite_what_was_said_are_refused(template: str) -> None:
    with pytest.raises(BadEnv, match="only appends"):
        prompting(template).observation_ids((user("hello"),), "and?")


# ----- long prompts


@pytest.mark.fault("F1")
@quick
@given(st.text(max_size=60), st.integers(1, 40))
def test_long_text_is_dropped_or_keeps_its_end(text: str, longest: int) -> None:
    whole = plain(text)
    dropped = prompting(longest=longest).prompt_ids(text)
    cut = prompting(longest=longest, overflow="truncate").prompt_ids(text)
    if not whole:
        assert dropped == cut == "the prompt has no tokens"
    else:
        assert cut.tolist() == whole[-longest:]
        fits = len(whole) <= longest
        assert (dropped.tolist() == whole) if fits else dropped == f"longer than max_prompt_tokens={longest}"


@pytest.mark.fault("F1")
def test_long_conversations_lose_their_oldest_exchanges_whole() -> None:
    system = {"role": "system", "content": "be brief"}
    messages = (system, user("one " * 9), assistant("two"), user("three " * 3), assistant("4"), user("five"))
    lengths = [
        len(prompting().prompt_ids(kept))
        for kept in (messages, (system, *messages[3:]), (system, messages[5]))
    ]
    for longest in range(lengths[2] - 1, lengths[0] + 2):
        ids = prompting(longest=longest, overflow="truncate").prompt_ids(messages)
        fitting = [length for length in lengths if length <= longest]
        if fitting:
            assert len(ids) == max(fitting) and tokenizer().decode(ids).startswith("[system]\nbe brief")
        else:
            assert ids == f"longer than max_prompt_tokens={longest}"


@pytest.mark.fault("F1")
def test_a_conversation_cut_short_still_begins_with_a_user() -> None:
    messages = (user("one"), assistant("two"), user("three"))
    whole, last = (len(prompting().prompt_ids(kept)) for kept in (messages, messages[2:]))
    for longest in range(last, whole):
        ids = prompting(STRICT, longest=longest, overflow="truncate").prompt_ids(messages)
        assert tokenizer().decode(ids) == "[user]\nthree<eos>\n[assistant]\n"


# ----- what cannot be encoded


@pytest.mark.fault("F1")
def test_what_the_template_refuses_costs_that_prompt() -> None:
    reason = prompting(STRICT).prompt_ids((assistant("hello"),))
    assert reason == "it cannot be encoded: start with the user"
    assert isinstance(prompting().prompt_ids(({"role": "king", "content": "x"},)), str)


@pytest.mark.fault("F1")
def test_what_the_vocabulary_lacks_costs_that_prompt() -> None:
    words = Prompting(word_tokenizer(["a", "b"]), max_prompt_tokens=9, overflow="drop")
    assert words.prompt_ids("a b a").tolist() == [0, 1, 0]
    for unknown in ("a c", "a <eos>"):
        assert "cannot be written in this tokenizer's vocabulary" in words.prompt_ids(unknown)


def test_chat_without_a_template_says_so() -> None:
    bare = Prompting(word_tokenizer(["a"]), max_prompt_tokens=9, overflow="drop")
    with pytest.raises(BadEnv, match="no chat template"):
        bare.prompt_ids((user("a"),))


@pytest.mark.fault("F2")
def test_a_policy_that_cannot_stop_is_refused() -> None:
    endless = word_tokenizer(["a"])
    endless.eos_token = None
    with pytest.raises(BadEnv, match="no EOS"):
        Prompting(endless, max_prompt_tokens=9, overflow="drop")


# ----- identity


@pytest.mark.fault("F5")
def test_the_digest_tells_vocabularies_apart() -> None:
    def digest(words: list[str], extra: str | None = None) -> str:
        made = word_tokenizer(words)
        if extra:
            made.add_tokens([extra])
        return Prompting(made, max_prompt_tokens=9, overflow="drop").digest

    digests = [digest(["a", "b"]), digest(["b", "a"]), digest(["a", "b", "c"]), digest(["a", "b"], "c")]
    assert len(set(digests)) == 4 and digest(["a", "b"]) == digests[0]


def test_completions_are_read_without_control_tokens() -> None:
    assert prompting().text(np.array([*plain("the answer"), 1, 0], np.int32)) == "the answer"
    assert prompting().count("the answer") == len(plain("the answer"))
    assert prompting().eos_ids == (1,) and prompting().vocabulary == len(tokenizer())
