"""Gymnasium environments of other people as text environments: their faults cost what is at fault alone."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from scripted_engine import run

from envs.text.space import FreeText
from rllib_ext.errors import BadEnv
from rllib_ext.llm.scoring import score


class Plain(gymnasium.Env):
    """Gymnasium's own interface: the prompt is drawn from the seed, each step pays, three steps end it."""

    observation_space, action_space = FreeText(), FreeText()
    steps = 3

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.count = 0
        return "abcdef"[int(self.np_random.integers(6))], {"seed": seed}

    def step(self, action: str) -> tuple[Any, Any, bool, bool, dict]:
        self.count += 1
        return f"{action.split()[0]} more", self.pay(), self.count == self.steps, False, {"count": self.count}

    def pay(self) -> Any:
        return 0.5 * self.count


def test_plain_environments_add_up_their_rewards() -> None:
    conversations, _, engine = run(Plain, [3, 4], samples=2, turns=5)
    assert [len(prompts) for prompts, _ in engine.calls] == [2, 4, 4]
    assert score(conversations) == {} and [c.score for c in conversations] == [3.0] * 4
    assert conversations[0].prompt == conversations[1].prompt and conversations[0].info["count"] == 3
    assert [c.info["seed"] for c in conversations] == [3, 3, 4, 4]
    assert not any(c.truncated for c in conversations)
    cut, _, _ = run(Plain, [3], turns=2)
    assert score(cut) == {} and cut[0].score == 1.5 and cut[0].truncated


@pytest.mark.parametrize(
    ("pay", "reason"),
    [(math.nan, "nan"), (math.inf, "inf"), ("much", "str"), (None, "None"), (1e30, "beyond 1e+18")],
)
def test_rewards_that_are_no_numbers_are_no_zeros(pay: Any, reason: str) -> None:
    class Odd(Plain):
        def pay(self) -> Any:
            return pay if self.count == 2 else 1.0

    conversations, _, _ = run(Odd, [0], turns=5)
    (why,) = score(conversations)
    assert reason in why and conversations[0].score is None and conversations[0].unscored == why


def test_an_environment_that_raises_costs_its_conversation_alone() -> None:
    class Brittle(Plain):
        def step(self, action: str) -> Any:
            self.first = action.split()[0] if self.count == 0 else self.first
            if self.first in "abc" and self.count == 1:
                raise KeyError("lost")
            return super().step(action)

    conversations, _, _ = run(Brittle, range(8), turns=5)
    broken = [c.prompt in "abc" for c in conversations]
    assert any(broken) and not all(broken)
    assert score(conversations) == {"the environment raised KeyError: 'lost'": sum(broken)}
    assert [c.score is None for c in conversations] == broken
    assert [len(c.turns) for c in conversations] == [2 if bad else 3 for bad in broken]


def test_a_reset_that_raises_costs_its_prompt_alone() -> None:
    class Gone(Plain):
        def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
            if options == {"index": 1}:
                raise OSError("no such file")
            return super().reset(seed=seed)

    conversations, refused, _ = run(Gone, range(3), samples=2, turns=3)
    assert [c.index for c in conversations] == [0, 0, 2, 2]
    assert refused == {1: "reset() of Gone raised OSError: no such file"}


def test_samples_of_different_prompts_are_never_compared() -> None:
    class Fickle(Plain):
        def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
            return super().reset(seed=None)

    with pytest.raises(BadEnv, match="Fickle returned two different prompts for seed"):
        run(Fickle, range(20), samples=4)


@pytest.mark.parametrize("wrong", [None, 3, np.zeros(2), {"text": "a"}])
def test_observations_that_are_no_text_are_named(wrong: Any) -> None:
    class Mute(Plain):
        def step(self, action: str) -> Any:
            return wrong, 0.0, False, False, {}

    with pytest.raises(BadEnv, match=rf"step\(\) of Mute returned {type(wrong).__name__} .* prompt 5"):
        run(Mute, [5], turns=2)
    Mute.reset = lambda self, **_: (wrong, {})  # type: ignore[method-assign]
    with pytest.raises(BadEnv, match=rf"reset\(\) of Mute returned {type(wrong).__name__} .* prompt 5"):
        run(Mute, [5])
