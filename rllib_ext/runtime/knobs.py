"""Hyper-parameters declared once: default, type, range, unit, meaning, and where the default comes from.

A config class lists its knobs in a table; the attributes, the validation, the command line's ``--set`` and
the Tune search spaces all read that table, so none of them can disagree with another.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rllib_ext.errors import BadConfig, unknown_name


@dataclass(frozen=True)
class Knob:
    """One hyper-parameter.

    default: its value when nobody sets it. kind: float, int, bool or str. doc: what it does, which way it
    pushes, its unit, and the source of the default. low, high: inclusive range. choices: the allowed values.
    optional: whether None is a value (it then means "derive it", as ``doc`` says).
    """

    default: Any
    kind: type
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    optional: bool = False

    def check(self, name: str, value: Any) -> Any:
        """``value`` coerced to the knob's type, or BadConfig naming field, value and allowed range."""
        if value is None:
            if self.optional:
                return None
            raise BadConfig(f"{name} is None; it must be {self.allowed()}")
        coerced = self._coerce(value)
        if coerced is None or (self.choices and coerced not in self.choices) or not self._in_range(coerced):
            raise BadConfig(f"{name} is {value!r}; it must be {self.allowed()}")
        return coerced

    def _coerce(self, value: Any) -> Any:
        """The value in the knob's type, or None where it has no such meaning.

        Arrays and tensors without dimensions count as the number they hold; True is not a number, and an
        integer never passes through a float, which would round it above 2^53.
        """
        if getattr(value, "ndim", None) == 0:
            value = value.item()
        if self.kind is bool:
            return value if isinstance(value, bool) else None
        if self.kind is str:
            return os.fspath(value) if isinstance(value, str | os.PathLike) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self.kind is int:
            return int(value) if isinstance(value, int) or value.is_integer() else None
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None

    def _in_range(self, value: Any) -> bool:
        low, high = self.low, self.high
        return (low is None or value >= low) and (high is None or value <= high)

    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices:
            text = "one of " + ", ".join(repr(choice) for choice in self.choices)
        elif self.kind in (int, float):
            low = "-inf" if self.low is None else f"{self.low:g}"
            high = "inf" if self.high is None else f"{self.high:g}"
            text = f"{'an integer' if self.kind is int else 'a number'} in [{low}, {high}]"
        else:
            text = {bool: "True or False", str: "a string"}[self.kind]
        return text + (" or None" if self.optional else "")

    def parse(self, name: str, text: str) -> Any:
        """The value that a command line's ``name=text`` means."""
        lowered = text.strip().lower()
        if self.optional and lowered in ("none", "null"):
            return None
        if self.kind is bool and lowered in ("true", "false"):
            return lowered == "true"
        if self.kind in (int, float):
            return self.check(name, _number(text))
        return self.check(name, text)


def _number(text: str) -> Any:
    """The number that ``text`` spells, an integer where it can be one; else the text itself."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def take_knobs(knobs: Mapping[str, Knob], settings: dict[str, Any]) -> dict[str, Any]:
    """Remove the settings that are knobs from ``settings`` and return them, checked.

    What Tune draws values from is kept as it is: each trial's own value is checked when its config is validated.
    """
    taken = {name: settings.pop(name) for name in list(settings) if name in knobs}
    return {
        name: value if is_search_space(value) else knobs[name].check(name, value)
        for name, value in taken.items()
    }


def is_search_space(value: Any) -> bool:
    """Whether Tune draws values from it: ``tune.grid_search(...)``, or a distribution such as ``tune.uniform(...)``."""
    return (isinstance(value, Mapping) and set(value) == {"grid_search"}) or hasattr(value, "get_sampler")


def refuse_unknown(knobs: Mapping[str, Knob], settings: Mapping[str, Any]) -> None:
    """Raise for the first setting that no knob is called, naming the nearest one."""
    for name in settings:
        if name not in knobs:
            raise unknown_name("setting", name, knobs)
