"""Judging one value of one column: clean it by a written rule, or say why it cannot be used.

Repairs of text, in this order
    number written as text        3 becomes "3" (True, NaN and infinity are quarantined, not repaired)
    invalid UTF-8 replaced        bytes that are no UTF-8, and surrogates without a partner, become U+FFFD
    NUL removed                   U+0000 goes: C code below the tokenizers ends a string there
    line ends made LF             CRLF and CR become LF, which is what the truncation rules cut at
Not repairs: columns that no environment asks for are ignored; a row is read as it stands otherwise,
special-token text included (it is text here; a tokenizer must encode it as text). Blank, missing, null,
nested and over-long values (``MAX_CHARS``) are quarantined.

Not judged here: length in tokens (the environments that have a budget do), and whether a text makes sense.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_CHARS = 1_000_000


class Unusable(Exception):
    """Raised by a column's converter or by ``Recipe.build``: the row is quarantined with this text as its
    reason.
    """


def as_text(value: object) -> tuple[str, list[str]]:
    """``value`` as clean text and the repairs that this took; ``Unusable`` where it is no text."""
    repairs = []
    number = _number_as_text(value)
    if number is not None:
        value = number
        repairs.append("number written as text")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if value is None:
        raise Unusable("is null")
    if not isinstance(value, str):
        raise Unusable(f"is of type {type(value).__name__}, not text")
    if len(value) > MAX_CHARS:
        raise Unusable(f"is longer than {MAX_CHARS:,} characters")
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    ended = whole.replace("\0", "")
    clean = ended.replace("\r\n", "\n").replace("\r", "\n")
    steps = (
        (value, whole, "invalid UTF-8 replaced"),
        (whole, ended, "NUL removed"),
        (ended, clean, "line ends made LF"),
    )
    repairs += [rule for before, after, rule in steps if before != after]
    if not clean.strip():
        raise Unusable("is blank")
    return clean, repairs


def strict_text(value: object) -> tuple[str, list[str]]:
    """As ``as_text``, but text that is no valid UTF-8 is refused: a training set is not written by repairs."""
    clean, repairs = as_text(value)
    if "invalid UTF-8 replaced" in repairs:
        raise Unusable("holds invalid UTF-8 or a surrogate without its partner")
    return clean, repairs


@dataclass(frozen=True)
class Column:
    """A column that a row must have, and how its value is judged: ``convert`` returns (value, repairs) or
    raises. An ``optional`` column may be absent from a row or from the whole source: its value is then None.
    """

    name: str
    convert: Callable[[object], tuple[Any, list[str]]] = as_text
    optional: bool = False


def text_columns(*names: str) -> tuple[Column, ...]:
    """Columns of plain text."""
    return tuple(Column(name) for name in names)


def _number_as_text(value: object) -> str | None:
    """The digits of a finite number; None for anything else, integers too long to write down included."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        return str(value) if math.isfinite(value) else None
    except (OverflowError, ValueError):
        return None
