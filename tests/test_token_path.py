"""Token ids from the engine to the learner's columns, bit for bit: nothing reads them as text and back.

The engine writes its words letter by letter, as no tokenizer would: encoding a decoded completion anew would
give other ids. The tokenizer is poisoned besides: it refuses every text that it was not meant to see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scripted_engine import ScriptedEngine

from envs.text import CallableReward, Task, TextEnv
from rllib_ext.llm.batch import groups_of, to_columns
from rllib_ext.llm.conversation import open_conversations, play
from rllib_ext.llm.engine import Sampling
from rllib_ext.llm.from_scratch import train_tokenizer
from rllib_ext.llm.played import played
from rllib_ext.llm.prompting import Prompting
from rllib_ext.llm.scoring import score

EOS = 1
TURNS = 3


class Poisoned:
    """A tokenizer that encodes the texts in ``allowed`` and nothing else."""

    def __init__(self) -> None:
        self.real = train_tokenizer(["the answer the answer the answer", "tell me more"], 300)
        self.real.chat_template = "{% for m in messages %}{{ m['content'] }}<eos>{% endfor %}"
        self.allowed: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __len__(self) -> int:
        return len(self.real)

    def __call__(self, text: Any, **settings: Any) -> Any:
        texts = [text] if isinstance(text, str) else text
        assert self.allowed.issuperset(texts), f"encoded {set(texts) - self.allowed}"
        return self.real(text, **settings)


class Curious(TextEnv):
    def reply(self, turns: tuple[str, ...]) -> str | None:
        assert turns[-1] == "the answer", "decoded for the environment"
        return None if len(turns) == TURNS else "tell me more"


@pytest.mark.fault("F4")
@pytest.mark.parametrize("chat", [False, True])
def test_ids_and_logps_arrive_bit_for_bit(chat: bool) -> None:
    poisoned = Poisoned()
    letters = [i for letter in "the answer" for i in poisoned.real(letter)["input_ids"]]
    assert (
        poisoned.real.decode(letters) == "the answer" and poisoned.real("the answer")["input_ids"] != letters
    )
    closing = "<eos>" if chat else ""
    poisoned.allowed = {f"what is it?{closing}", f"tell me more{closing}"}
    prompt = ({"role": "user", "content": "what is it?"},) if chat else "what is it?"
    env = Curious([Task("0", prompt)], CallableReward(lambda **_: 1.0, isolate=False), max_turns=TURNS)
    prompting = Prompting(poisoned, max_prompt_tokens=99, overflow="drop")
    engine = ScriptedEngine(lambda ids, sample, call: [*letters, EOS])

    conversations, refused = open_conversations(env.spawn, prompting, [(0, 0)], 2)
    play(conversations, engine, prompting, Sampling(1.0, 30, 2, 0, (EOS,)), TURNS)
    assert refused == score(conversations) == {}
    items = [played(item, 4) for item in conversations]
    columns = to_columns(groups_of(items, [(0, 0)]))

    asked = [prompts for prompts, _ in engine.calls]
    heard = poisoned.real("tell me more")["input_ids"] + [EOS] * chat
    said = [*letters, EOS]
    for k in range(2):
        real = columns["token_mask"][0, k].astype(bool)
        assert columns["token_ids"][0, k][real].tolist() == said + heard + said + heard + said
        sampled = columns["action_mask"][0, k].astype(bool)
        assert columns["token_ids"][0, k][sampled].tolist() == said * TURNS
        logps = np.concatenate([turn.logps for turn in conversations[k].turns])
        assert np.array_equal(columns["behaviour_logps"][0, k][sampled], logps)
    assert asked[2][0] == [*asked[0][0], *said, *heard, *said, *heard]
    assert columns["prompt_ids"][0][columns["prompt_mask"][0].astype(bool)].tolist() == asked[0][0]
