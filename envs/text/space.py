"""The space of free text: any string is a member, because neither prompts nor models keep to an alphabet."""

import copy
from typing import Any, Self

import numpy as np
from gymnasium.spaces import Text

from envs.errors import BadData
from envs.text.task import check_messages

MAX_LENGTH = 1_000_000
SAMPLE_LENGTH = 80


class FreeText(Text):
    """``gymnasium.spaces.Text`` that contains every string, of every length and alphabet.

    The declared alphabet and ``SAMPLE_LENGTH`` only shape what ``sample`` draws. With ``chat=True`` a
    conversation (a non-empty tuple of messages, see ``envs.text.task``) is a member too.
    """

    def __init__(self, *, chat: bool = False, seed: int | np.random.Generator | None = None) -> None:
        self.chat = chat
        super().__init__(MAX_LENGTH, min_length=0, charset=_ALPHABET, seed=seed)

    def fresh(self) -> Self:
        """The same space with a generator of its own, not yet seeded; far cheaper than a new one."""
        other = copy.copy(self)
        other._np_random = None
        return other

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A printable string of at most ``SAMPLE_LENGTH`` characters, unless a mask asks for a length."""
        if mask is None and probability is None:
            mask = (int(self.np_random.integers(SAMPLE_LENGTH + 1)), None)
        return super().sample(mask=mask, probability=probability)

    def contains(self, x: Any) -> bool:
        if isinstance(x, str):
            return True
        if not self.chat:
            return False
        try:
            check_messages("sample", x)
        except BadData:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FreeText) and self.chat == other.chat

    def __repr__(self) -> str:
        return f"FreeText(chat={self.chat})"


_ALPHABET = "".join(map(chr, range(32, 127))) + "\n"
