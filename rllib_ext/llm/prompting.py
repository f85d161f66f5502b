"""Text to token ids and back, at the only two places where that happens: a prompt going in, a completion
coming out.

Everything in between carries ids. User text that spells a special token ("<eos>") is encoded as text, not as
the control token. Later turns append the ids of the environment's message to the ids that were really
sampled; the conversation is never rendered and tokenised anew, because that would not give back the same ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from rllib_ext.errors import BadEnv
from rllib_ext.llm.safety import encode_plain


class Prompting:
    """The tokenizer of a policy, reduced to what rollouts need of it."""

    def __init__(self, tokenizer: Any, *, max_prompt_tokens: int, overflow: str) -> None:
        self._tokenizer = tokenizer
        self.max_prompt_tokens = max_prompt_tokens
        self._overflow = overflow
        if tokenizer.eos_token_id is None:
            raise BadEnv("the model's tokenizer has no EOS token; a policy could never say that it is done")
        self.eos_ids: tuple[int, ...] = (int(tokenizer.eos_token_id),)

    @property
    def vocabulary(self) -> int:
        return len(self._tokenizer)

    @property
    def digest(self) -> str:
        """Identity of the vocabulary: equal digests mean equal ids for equal text pieces."""
        vocabulary = json.dumps(sorted(self._tokenizer.get_vocab().items()))
        return hashlib.blake2b(vocabulary.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def prompt_ids(self, prompt: str | Sequence[dict]) -> np.ndarray | str:
        """(P,) int32 ids of a prompt, or the reason why it cannot be used."""
        if isinstance(prompt, str):
            ids = self._encode(prompt, add_special_tokens=True)
        else:
            ids = self._tokenizer.apply_chat_template(
                list(prompt), add_generation_prompt=True, tokenize=True, return_dict=False
            )
        if len(ids) > self.max_prompt_tokens:
            if self._overflow == "drop":
                return f"longer than max_prompt_tokens={self.max_prompt_tokens}"
            ids = ids[-self.max_prompt_tokens :]
        return np.asarray(ids, dtype=np.int32) if len(ids) else "the prompt has no tokens"

    def observation_ids(self, prompt: str | Sequence[dict], message: str) -> np.ndarray:
        """(D,) int32 ids of the environment's next message, appended after a completion."""
        if isinstance(prompt, str):
            return np.asarray(self._encode(message, add_special_tokens=False), dtype=np.int32)
        history = [*prompt, {"role": "assistant", "content": "."}]
        before = self._tokenizer.apply_chat_template(history, tokenize=False)
        after = self._tokenizer.apply_chat_template(
            [*history, {"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
        if not after.startswith(before):
            raise BadEnv(
                "the tokenizer's chat template rewrites earlier turns when a message is added; multi-turn rollouts need a "
                "template that only appends"
            )
        suffix = self._tokenizer(after[len(before) :], add_special_tokens=False)["input_ids"]
        return np.asarray(suffix, dtype=np.int32)

    def text(self, token_ids: np.ndarray) -> str:
        """The completion as text, without its control tokens."""
        return self._tokenizer.decode(token_ids.tolist(), skip_special_tokens=True)

    def count(self, text: str) -> int:
        """Length in tokens of a text, for environments that truncate by length."""
        return len(self._encode(text, add_special_tokens=False))

    def _encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return encode_plain(self._tokenizer, [text], add_special_tokens=add_special_tokens)[0]
