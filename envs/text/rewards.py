"""Rewards: finished answers in, one score or None each out.

``None`` means *unscored* and is never 0: a reward that failed says nothing about the text, so the sample must
not reach a baseline, an advantage or a mean. ``score`` is the plain interface; ``outcomes`` adds the reasons
and shields its caller from rewards that raise or return what is no number.

``RougeL`` and ``NumberMatch`` live in ``envs.text.verifiers`` and can be imported from here.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from envs.errors import BadEnv, RllibExtError
from envs.text.sandbox import Sandbox
from envs.text.sandbox_limits import Limits
from envs.text.score import FailureLog, Outcome, as_score, failed
from envs.text.task import Prompt, Sample

if TYPE_CHECKING:
    from envs.text.verifiers import NumberMatch, RougeL

__all__ = [
    "CallableReward",
    "Limits",
    "NumberMatch",
    "Outcome",
    "Reward",
    "RougeL",
    "SampleReward",
    "as_score",
]

TextFunction = Callable[..., float | None]  # called with prompt=, completion=, reference=


class Reward(ABC):
    """Scores batches of samples. A subclass implements ``score``; it may hold models and processes."""

    name: str = "reward"
    # Whether the score measures closeness to the reference text: then no text can beat the reference.
    compares_with_reference: bool = False

    @abstractmethod
    def score(self, samples: Sequence[Sample]) -> list[float | None]:
        """One score per sample, in order; None for a sample that cannot be scored."""

    def close(self) -> None:
        """Let go of processes and models. Idempotent; ``score`` may be called again afterwards."""
        return None

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        """``score`` with the reason of every missing score, which ``failures`` and ``tracebacks`` remember.

        An exception of ``score`` leaves the batch unscored; errors of this package (a wrong set-up) are
        passed on. A list of the wrong length is an error for the batch, because no score can then be said to
        belong to a sample.
        """
        try:
            scores = list(self.score(samples))
        except RllibExtError:
            raise
        except Exception as error:
            return self._remember([failed(error, error.__traceback__)] * len(samples))
        if len(scores) != len(samples):
            raise BadEnv(
                f"reward {self.name!r} returned {len(scores)} scores for {len(samples)} samples; "
                "return one per sample, and None for a sample that cannot be scored"
            )
        return self._remember([Outcome(*as_score(score)) for score in scores])

    @property
    def failures(self) -> dict[str, int]:
        """Reason -> how many samples it left unscored, since this object was made."""
        return dict(self._log().failures)

    @property
    def tracebacks(self) -> dict[str, str]:
        """Distinct error (type, file and line) -> the first traceback of it."""
        return dict(self._log().tracebacks)

    def _log(self) -> FailureLog:
        log: FailureLog = self.__dict__.setdefault("_failure_log", FailureLog())
        return log

    def _remember(self, outcomes: list[Outcome]) -> list[Outcome]:
        for outcome in outcomes:
            self._log().add(outcome)
        return outcomes


class SampleReward(Reward):
    """A reward that judges one sample at a time and says why it cannot."""

    @abstractmethod
    def judge(self, sample: Sample) -> Outcome:
        """The outcome of one sample."""

    def score(self, samples: Sequence[Sample]) -> list[float | None]:
        return [outcome.score for outcome in self.outcomes(samples)]

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        return self._remember([self.judge(sample) for sample in samples])


class CallableReward(SampleReward):
    """A user's function ``fn(*, prompt, completion, reference) -> float | None`` as a reward.

    fn         called by keyword, once per sample; any finite real number is a score, None says "cannot tell"
    timeout_s  seconds that one call may take (only where isolated)
    isolate    True: in a process of its own, where it may raise, hang, crash or run wild and costs only the
               samples that it failed on (envs/text/sandbox.py). False: in this process, for fast functions
               that are known to return; exceptions are still caught, hangs are not.
    limits     memory, files, processes and network of that process
    """

    def __init__(
        self,
        fn: TextFunction,
        *,
        name: str | None = None,
        timeout_s: float = 10.0,
        isolate: bool = True,
        limits: Limits | None = None,
    ) -> None:
        _check_signature(fn)
        self.name = name or str(getattr(fn, "__name__", type(fn).__name__))
        self._sandbox = Sandbox(fn, timeout_s=timeout_s, limits=limits) if isolate else None
        self._fn = None if isolate else fn

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        if self._sandbox is None:
            return super().outcomes(samples)
        return self._remember(self._sandbox.run([_arguments(sample) for sample in samples]))

    def judge(self, sample: Sample) -> Outcome:
        if self._fn is None:
            return self.outcomes([sample])[0]
        try:
            return Outcome(*as_score(self._fn(**_arguments(sample))))
        except Exception as error:
            frames = error.__traceback__
            return failed(error, frames.tb_next if frames else None)

    def close(self) -> None:
        """End the process of an isolated function; the next ``score`` starts a new one."""
        if self._sandbox is not None:
            self._sandbox.close()


def _arguments(sample: Sample) -> dict[str, Prompt | str | None]:
    return {"prompt": sample.task.prompt, "completion": sample.completion, "reference": sample.task.reference}


def _check_signature(fn: TextFunction) -> None:
    if not callable(fn):
        raise BadEnv(f"CallableReward needs a function, got {type(fn).__name__}")
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # some functions written in C do not tell
        return
    try:
        signature.bind(prompt="", completion="", reference=None)
    except TypeError as error:
        raise BadEnv(
            f"reward function {getattr(fn, '__name__', fn)!r} has the signature {signature} ({error}); "
            "it is called as fn(prompt=..., completion=..., reference=...)"
        ) from error


def __getattr__(name: str) -> Any:
    """The verifiers subclass ``Reward``: their module can only be imported once this one is complete."""
    if name in ("NumberMatch", "RougeL"):
        from envs.text import verifiers

        return getattr(verifiers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
