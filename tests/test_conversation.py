"""Many conversations, one engine call a turn: whatever falls out, every answer stays with its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from scripted_engine import EOS, ScriptedEngine, echo, run, word_prompting, words

from envs.text import CallableReward, Reward, Sample, Task, TextEnv
from rllib_ext.llm.conversation import open_conversations, play
from rllib_ext.llm.engine import EngineDead, Sampling
from rllib_ext.llm.scoring import score, settle_missing_eos


def length(prompt: str, completion: str, reference: str | None) -> float:
    return float(len(completion.split()))


class Chatty(TextEnv):
    """Answers with the word it was given and 'more', until it hears 'stop'."""

    def reply(self, turns: tuple[str, ...]) -> str | None:
        return None if turns[-1].endswith("stop") else f"{turns[-1].split()[0]} more"


def env_of(prompts: Sequence[str], kind: type = TextEnv, reward: Any = length, **settings: Any) -> TextEnv:
    scorer = reward if isinstance(reward, Reward) else CallableReward(reward, isolate=False)
    return kind([Task(str(i), prompt) for i, prompt in enumerate(prompts)], scorer, **settings)


# ----- one turn


def test_every_answer_stays_with_its_prompt() -> None:
    env = env_of(["a b", "c", "d e f"])
    conversations, refused, engine = run(env, [2, 0, 1], samples=3)
    assert not refused and len(engine.calls) == 1
    assert engine.calls[0][0] == [words("d e f"), words("a b"), words("c")]
    assert [c.index for c in conversations] == [2, 2, 2, 0, 0, 0, 1, 1, 1]
    for number, item in enumerate(conversations):
        last = item.pending_ids[-1]
        assert item.turns[0].token_ids.tolist() == [last] * (number % 3 + 1) + [EOS]
        assert item.turns[0].logps[0] == -(number % 3) and item.done and not item.truncated
    assert score(conversations) == {}
    assert [c.score for c in conversations] == [1.0, 2.0, 3.0] * 3


def test_a_refused_prompt_falls_out_alone() -> None:
    def picky(prompt: list[int], sample: int, call: int) -> list[int] | str:
        return "no" if prompt == words("c") else echo(prompt, sample, call)

    conversations, _, _ = run(env_of(["a b", "c", "d e f"]), [0, 1, 2], picky, samples=2)
    assert [c.refused for c in conversations] == [None, None, "no", "no", None, None]
    left = [c for c in conversations if c.refused is None]
    assert [c.turns[0].token_ids[0] for c in left] == words("b b f f")
    assert score(conversations) == {} and conversations[2].score is conversations[2].unscored is None


def test_a_prompt_that_cannot_be_encoded_falls_out_alone() -> None:
    conversations, refused, engine = run(env_of(["a b c", "d", "zzz", "e"]), range(4), samples=2, longest=2)
    assert refused[0] == "longer than max_prompt_tokens=2" and "vocabulary" in refused[2]
    assert engine.calls[0][0] == [words("d"), words("e")] and sorted(refused) == [0, 2]
    assert [c.turns[0].token_ids[0] for c in conversations] == words("d d e e")


@pytest.mark.parametrize("lost", [[0], [1], [2, 3], [0, 1, 4]])
def test_fewer_conversations_of_a_prompt_shift_no_other(lost: list[int]) -> None:
    env, prompting, engine = env_of(["a", "b", "c"]), word_prompting(), ScriptedEngine(echo)
    conversations, _ = open_conversations(env.spawn, prompting, [(0, 0), (0, 1), (0, 2)], 2)
    left = [item for number, item in enumerate(conversations) if number not in lost]
    play(left, engine, prompting, Sampling(1.0, 9, 2, 7, (EOS,)), 1)
    assert all(item.turns[0].token_ids[0] == words("a b c")[item.index] for item in left)


def test_the_same_prompt_of_two_epochs_is_two_prompts() -> None:
    conversations, _, engine = run(env_of(["a"]), [(0, 0), (1, 0)], samples=2)
    assert [(c.slot, c.epoch, c.index) for c in conversations] == [(0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 1, 0)]
    assert len(engine.calls[0][0]) == 2
    assert [len(c.turns[0].token_ids) for c in conversations] == [2, 3, 2, 3]


@pytest.mark.fault("A3")
def test_an_engine_that_returns_too_few_is_broken() -> None:
    class Lazy(ScriptedEngine):
        def generate(self, prompts: Any, sampling: Sampling) -> Any:
            return [answers[:1] for answers in super().generate(prompts, sampling)]

    prompting = word_prompting()
    conversations, _ = open_conversations(env_of(["a"]).spawn, prompting, [(0, 0)], 2)
    with pytest.raises(EngineDead, match="1 completions where 2"):
        play(conversations, Lazy(echo), prompting, Sampling(1.0, 9, 2, 7, (EOS,)), 1)


# ----- several turns


def stop_after(calls: dict[int, int]) -> Any:
    """Says its prompt's first word and, from the call given for it on, 'stop'."""

    def script(prompt: list[int], sample: int, call: int) -> list[int]:
        return [prompt[0], *(words("stop") if call >= calls[prompt[0]] else []), EOS]

    return script


def test_turns_carry_the_exact_ids_of_all_before() -> None:
    env = env_of(["a", "b", "c"], Chatty, max_turns=9)
    conversations, _, engine = run(env, [0, 1, 2], stop_after({0: 2, 1: 0, 2: 1}), turns=5)
    assert [len(c.turns) for c in conversations] == [3, 1, 2]
    assert [len(prompts) for prompts, _ in engine.calls] == [3, 2, 1]
    said, heard = [0, EOS], words("a more")
    assert engine.calls[2][0] == [[0, *said, *heard, *said, *heard]]
    first = conversations[0]
    assert first.turns[1].observation_ids.tolist() == heard
    assert [turn.text for turn in first.turns] == ["a", "a", "a stop"]
    assert score(conversations) == {} and [c.score for c in conversations] == [2.0, 2.0, 2.0]
    assert [c.sample.turns for c in conversations][2] == ("c", "c stop")


def test_seeds_differ_by_turn_and_later_turns_ask_for_one_sample_each() -> None:
    env = env_of(["a", "b"], Chatty, max_turns=9)
    conversations, _, engine = run(env, [0, 1], stop_after({0: 2, 1: 2}), samples=2, turns=5)
    assert [sampling.samples for _, sampling in engine.calls] == [2, 1, 1]
    assert [len(prompts) for prompts, _ in engine.calls] == [2, 4, 4]
    assert len({sampling.seed for _, sampling in engine.calls}) == 3
    assert [c.index for c in conversations] == [0, 0, 1, 1]
    assert all(turn.token_ids[0] == c.index for c in conversations for turn in c.turns)


def test_a_conversation_refused_later_falls_out_alone() -> None:
    def full(prompt: list[int], sample: int, call: int) -> list[int] | str:
        return "too long" if call == 1 and prompt[0] == 1 else [prompt[0], *words("stop")[:call], EOS]

    conversations, _, _ = run(env_of(["a", "b", "c"], Chatty, max_turns=9), [0, 1, 2], full, turns=3)
    assert [c.refused for c in conversations] == [None, "too long", None]
    assert score(conversations) == {} and conversations[1].score is None
    assert [c.turns[-1].text for c in conversations if c.refused is None] == ["a stop", "c stop"]


@pytest.mark.fault("F2")
def test_an_episode_cut_by_the_knob_is_unscored() -> None:
    conversations, _, _ = run(env_of(["a"], Chatty, max_turns=9), [0], stop_after({0: 9}), turns=2)
    assert conversations[0].done and conversations[0].truncated and conversations[0].score is None
    (reason,) = score(conversations)
    assert "max_turns" in reason and conversations[0].unscored == reason


@pytest.mark.fault("F2")
def test_an_episode_cut_by_the_environment_is_scored_and_truncated() -> None:
    conversations, _, _ = run(env_of(["a"], Chatty, max_turns=2), [0], stop_after({0: 9}), turns=5)
    assert score(conversations) == {} and conversations[0].score == 1.0
    assert conversations[0].truncated and len(conversations[0].turns) == 2


# ----- scores


def test_one_batch_a_reward_and_every_score_to_its_own() -> None:
    class Batched(Reward):
        def __init__(self) -> None:
            self.batches: list[list[Sample]] = []

        def score(self, samples: Sequence[Sample]) -> list[float | None]:
            self.batches.append(list(samples))
            return [None if s.completion.startswith("b") else float(ord(s.completion[0])) for s in samples]

    reward = Batched()
    conversations, _, _ = run(env_of(["a", "b", "c"], reward=reward), [2, 1, 0], samples=2)
    assert list(score(conversations).values()) == [2]
    assert len(reward.batches) == 1 and len(reward.batches[0]) == 6
    assert [c.score for c in conversations] == [99.0, 99.0, None, None, 97.0, 97.0]
    assert all((c.unscored is None) == (c.score is not None) for c in conversations)


@pytest.mark.fault("F2")
@pytest.mark.parametrize("last", [EOS, 0])
@pytest.mark.parametrize("scored", [0.75, None])
@pytest.mark.parametrize(("policy", "expected"), [("keep", 0.75), ("replace", -2.0), ("subtract", -1.25)])
def test_missing_eos(policy: str, expected: float, scored: float | None, last: int) -> None:
    conversations, _, _ = run(env_of(["a"], reward=lambda **_: scored), [0], lambda *_: [0, last])
    score(conversations)
    settle_missing_eos(conversations[0], policy, 2.0)
    assert conversations[0].score == (scored if last == EOS or scored is None else expected)
