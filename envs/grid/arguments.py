"""Constructor arguments of the environments, checked: what is out of range is refused by name, with the range."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from envs.errors import BadEnv


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """value as an int of at least ``low`` and at most ``high``. Raises BadEnv otherwise; True and 3.0 are no counts."""
    right = isinstance(value, Integral) and not isinstance(value, bool)
    if not right or value < low or (high is not None and value > high):
        bounds = f"{low} or more" if high is None else f"from {low} to {high}"
        raise BadEnv(f"{name} = {value!r} must be a whole number, {bounds}.")
    return int(value)


def real(name: str, value: Any, low: float = float("-inf"), high: float = float("inf")) -> float:
    """value as a finite float from ``low`` to ``high``, both included. Raises BadEnv otherwise."""
    right = isinstance(value, Real) and not isinstance(value, bool)
    if not right or not low <= value <= high or abs(value) == float("inf"):
        raise BadEnv(f"{name} = {value!r} must be a finite number from {low} to {high}.")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """value, which must be True or False. Raises BadEnv otherwise: 0 and "no" are no answers."""
    if not isinstance(value, bool):
        raise BadEnv(f"{name} = {value!r} must be True or False.")
    return value


def choice(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """value, which must be one of ``choices``. Raises BadEnv otherwise."""
    if not any(value is known or (type(value) is type(known) and value == known) for known in choices):
        raise BadEnv(f"{name} = {value!r} must be one of {', '.join(map(repr, choices))}.")
    return value
