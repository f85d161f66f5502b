"""Text to token ids and back, at the only two places where that happens: a prompt going in, a completion
coming out.

Everything in between carries ids. User text that spells a special token ("<eos>") is encoded as text, not as
the control token. Later turns append the ids of the environment's message to the ids that were really
sampled; the conversation is never rendered and tokenised anew, because that would not give back the same ids.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import TemplateError

from envs.text.task import check_messages
from rllib_ext.errors import BadData, BadEnv
from rllib_ext.llm.safety import encode_plain, open_tokenizer

# Unicode sets these code points aside for a program's own use; no text that is meant to be read holds them.
_OPEN, _CLOSE, _ANSWER = "\ufdd0", "\ufdd1", "\ufdd2"
_STAND_IN = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


class Prompting:
    """The tokenizer of a policy, reduced to what rollouts need of it."""

    def __init__(self, tokenizer: Any, *, max_prompt_tokens: int, overflow: str) -> None:
        self._tokenizer = tokenizer
        self.max_prompt_tokens = max_prompt_tokens
        self._overflow = overflow
        if tokenizer.eos_token_id is None:
            raise BadEnv("the model's tokenizer has no EOS token; a policy could never say that it is done")
        self.eos_ids: tuple[int, ...] = (int(tokenizer.eos_token_id),)
        added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._names = sorted({*tokenizer.all_special_tokens, *added, _OPEN, _ANSWER}, key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, self._names)))
        self._prepared: dict[str, list[int]] = {}

    @property
    def vocabulary(self) -> int:
        return len(self._tokenizer)

    @property
    def digest(self) -> str:
        """Identity of the vocabulary: equal digests mean equal ids for equal text pieces."""
        vocabulary = json.dumps(sorted(self._tokenizer.get_vocab().items()))
        return hashlib.blake2b(vocabulary.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def prepare(self, texts: Sequence[str]) -> None:
        """Encode prompts that ``prompt_ids`` will be asked for in one call; one at a time costs several times more."""
        try:
            ids = encode_plain(self._tokenizer, texts, add_special_tokens=True)
        except BadData:
            ids = []  # one of them cannot be encoded; prompt_ids says which
        self._prepared = dict(zip(texts, ids, strict=False))

    def prompt_ids(self, prompt: str | Sequence[dict]) -> np.ndarray | str:
        """(P,) int32 ids of a prompt, or the reason why it cannot be used."""
        try:
            ids = self._text_ids(prompt) if isinstance(prompt, str) else self._messages_ids(prompt)
        except (BadData, TemplateError) as error:
            return f"it cannot be encoded: {error}"
        if len(ids) > self.max_prompt_tokens:
            return f"longer than max_prompt_tokens={self.max_prompt_tokens}"
        return np.asarray(ids, dtype=np.int32) if len(ids) else "the prompt has no tokens"

    def observation_ids(
        self, prompt: str | Sequence[dict], message: str, *, finished: bool = True
    ) -> np.ndarray:
        """(D,) int32 ids of the environment's next message, appended after a completion.

        In a chat, all that the template writes after an answer. finished: the policy wrote EOS itself, which
        is then not written again.
        """
        if isinstance(prompt, str):
            return np.asarray(self._encode(message, add_special_tokens=False), dtype=np.int32)
        history = [*prompt, {"role": "assistant", "content": _ANSWER}]
        before, _, _ = self._render(history, answer_next=False).partition(_ANSWER)
        after = self._render([*history, {"role": "user", "content": message}], answer_next=True)
        start, answer, rest = after.partition(_ANSWER)
        if not answer or start != before:
            raise BadEnv(
                "the tokenizer's chat template rewrites earlier turns when a message is added; multi-turn "
                "rollouts need a template that only appends"
            )
        closing = self._tokenizer.eos_token
        if finished and rest.lstrip().startswith(closing):
            rest = rest.lstrip().removeprefix(closing)
        return np.asarray(self._rendered_ids(rest), dtype=np.int32)

    def text(self, token_ids: np.ndarray) -> str:
        """The completion as text, without its control tokens."""
        return self._tokenizer.decode(token_ids.tolist(), skip_special_tokens=True)

    def count(self, text: str) -> int:
        """Length in tokens of a text, for environments that truncate by length."""
        return len(self._encode(text, add_special_tokens=False))

    def _encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return encode_plain(self._tokenizer, [text], add_special_tokens=add_special_tokens)[0]

    # ----- prompts that are text

    def _text_ids(self, prompt: str) -> list[int]:
        ids = self._prepared.get(prompt) or self._encode(prompt, add_special_tokens=True)
        return ids[-self.max_prompt_tokens :] if self._overflow == "truncate" else ids

    # ----- prompts that are messages

    def _messages_ids(self, prompt: Sequence[dict]) -> list[int]:
        """Ids of a conversation. Too long: it loses its oldest exchanges, up to the next message of a user."""
        kept = list(prompt)
        check_messages("prompt", tuple(kept))
        while True:
            ids = self._rendered_ids(self._render(kept, answer_next=True))
            opening = sum(message["role"] == "system" for message in kept[:1])
            users = [n for n in range(opening + 1, len(kept)) if kept[n]["role"] == "user"]
            if len(ids) <= self.max_prompt_tokens or self._overflow == "drop" or not users:
                return ids
            del kept[opening : users[0]]

    def _render(self, messages: Sequence[dict], *, answer_next: bool) -> str:
        """The template's text; names of control tokens in messages are replaced by stand-ins."""
        if not self._tokenizer.chat_template:
            raise BadEnv(
                "the prompts are chat messages, but the model's tokenizer has no chat template; use a chat "
                "model, or an environment whose prompts are text"
            )
        plain = [{**message, "content": self._hide(message["content"])} for message in messages]
        return self._tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=answer_next)

    def _hide(self, text: str) -> str:
        if text is _ANSWER:
            return text
        return self._controls.sub(lambda found: f"{_OPEN}{self._names.index(found[0])}{_CLOSE}", text)

    def _rendered_ids(self, rendered: str) -> list[int]:
        """Ids of a rendered template: its own control tokens are control tokens, stand-ins are spelt out."""
        ids: list[int] = []
        for number, piece in enumerate(_STAND_IN.split(rendered)):
            if number % 2:
                ids += self._encode(self._names[int(piece)], add_special_tokens=False)
            elif piece:
                ids += self._tokenizer(piece, add_special_tokens=False)["input_ids"]
        return ids


def prompting_of(config: Any) -> Prompting:
    """With the policy's own tokenizer. config: an LLMConfig."""
    return Prompting(
        open_tokenizer(config.language_model, revision=config.revision),
        max_prompt_tokens=config.max_prompt_tokens,
        overflow=config.prompt_overflow,
    )
