"""JSON that comes back as it went in.

The standard encoder accepts more than it can give back: a tuple returns as a list, an integer key as a
string, a NaN as a token that other parsers refuse. State that a run resumes from must not change on the way,
so ``encode`` refuses those and names the place. ``decode`` is for bytes that somebody else may have written:
bounded depth, no duplicate keys, no non-finite numbers, one exception type.
"""

from __future__ import annotations

import json
import math
from typing import Any

from rllib_ext.errors import RllibExtError


class NotStorable(RllibExtError, ValueError):
    """A value that the checkpoint format cannot hold without changing it."""

    exit_code = 4


def encode(value: Any, where: str) -> bytes:
    """UTF-8 JSON of ``value``; ``where`` is the name that an error begins with."""
    try:
        _check(value, where)
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
    except NotStorable:
        raise
    except (RecursionError, ValueError) as error:
        raise NotStorable(
            f"{where} cannot be written as JSON: {error}. Store a flat, acyclic value."
        ) from error


def decode(raw: bytes) -> Any:
    """The value of one JSON document; ``ValueError`` for anything that ``encode`` would not have written."""
    try:
        return json.loads(
            raw.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique,
        )
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def _check(value: Any, where: str) -> None:
    if value is None or isinstance(value, (bool, int, str)):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotStorable(
                f"{where} is {value!r}, which JSON cannot hold. Store None or a string that the reader knows."
            )
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotStorable(
                    f"{where} has the key {key!r}, which would come back as text. Use string keys or pairs."
                )
            _check(item, f"{where}.{key}")
    elif isinstance(value, tuple):
        raise NotStorable(f"{where} is a tuple, which would come back as a list. Store a list.")
    else:
        raise NotStorable(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which JSON cannot hold. "
            "Store plain numbers, strings, lists and dicts, and tensors as tensors."
        )


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is not JSON")


def _finite(token: str) -> float:
    value = float(token)
    if not math.isfinite(value):
        raise ValueError(f"the number {token[:40]} is out of range")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value
