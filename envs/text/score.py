"""What counts as a score, and what is remembered about answers that got none.

"No score" is a value of its own: a reward that failed says nothing about the text, and a zero in its place
would teach the model that the text was bad. Model output reaches the messages of exceptions, so every text
kept here has its control characters escaped before a terminal or a log sees it.
"""

import math
import numbers
import traceback
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType

MAX_DISTINCT = 50
MAX_MESSAGE_CHARS = 200
MAX_TRACEBACK_CHARS = 4_000
OTHER = "other reasons"


@dataclass(frozen=True)
class Outcome:
    """The score of one sample, or why there is none; ``error`` names a distinct error with its ``trace``."""

    score: float | None
    reason: str | None = None
    error: str | None = None
    trace: str | None = None


@dataclass
class FailureLog:
    """Reasons, counted, and the first traceback of every distinct error; both bounded."""

    failures: Counter[str] = field(default_factory=Counter)
    tracebacks: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Remember one outcome; a scored one leaves no trace."""
        if outcome.score is not None:
            return
        reason = outcome.reason or "no reason given"
        self.failures[reason if reason in self.failures or len(self.failures) < MAX_DISTINCT else OTHER] += 1
        if outcome.error and outcome.trace and len(self.tracebacks) < MAX_DISTINCT:
            self.tracebacks.setdefault(outcome.error, outcome.trace)


def as_score(value: object) -> tuple[float | None, str | None]:
    """``(score, None)`` for a finite real number, else ``(None, reason)``. Never raises.

    Accepted: int, float and other ``numbers.Real``, numpy scalars, arrays and tensors of no dimensions, on
    any device. Refused: bool (almost always a comparison whose author meant something else: write
    ``float(...)``), text, None, NaN, infinities, numbers too large for a float, arrays with dimensions,
    everything else.
    """
    if value is None:
        return None, "returned None"
    try:
        if not isinstance(value, numbers.Real | str | bytes) and getattr(value, "shape", None) == ():
            value = value.item()  # type: ignore[attr-defined]
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return None, f"returned {_described(value)}; a score is a finite real number"
        score = float(value)
    except Exception as error:
        return (
            None,
            f"returned {type(value).__name__}, which has no value as a float ({type(error).__name__})",
        )
    return (score, None) if math.isfinite(score) else (None, f"returned {score}")


def failed(error: BaseException, frames: TracebackType | None) -> Outcome:
    """The outcome of a call that raised. Two errors are the same where type, file and line are the same."""
    name = type(error).__name__
    try:
        message = plain(str(error))[:MAX_MESSAGE_CHARS]
        trace = plain("".join(traceback.format_exception(type(error), error, frames)), keep="\n")
        place = traceback.extract_tb(frames)[-1:]
    except Exception:  # exceptions may carry objects that cannot be printed
        return Outcome(None, f"raised {name}", name, f"{name} (its message cannot be printed)")
    where = f" at {place[0].filename}:{place[0].lineno}" if place else ""
    reason = f"raised {name}: {message}" if message else f"raised {name}"
    return Outcome(None, reason, name + where, trace[-MAX_TRACEBACK_CHARS:])


def plain(text: str, keep: str = "") -> str:
    """``text`` with characters that are not printable escaped, so that no terminal obeys them."""
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def _described(value: object) -> str:
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__} of shape {tuple(shape)}" if shape else type(value).__name__
