"""Score samples with a function that may raise, hang, crash or run wild, and lose only the samples that it
failed on.

A single long-lived process runs the function, one sample after the other. Whatever stops an answer (its
deadline, a crash, a limit) costs that sample its score and the process its life; the next one is started at
once, so that the next sample is scored. There is no thread and no signal in the caller: a loop in C that
holds the interpreter lock can only be ended from another process.

The function travels by cloudpickle: functions of scripts, notebooks and closures go by value; functions of
importable modules go by name, and their module is imported in the process (keep such modules light).
"""

import json
import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from envs.errors import BadEnv
from envs.text.sandbox_limits import Limits
from envs.text.sandbox_process import TIMED_OUT, ProcessLost, RewardProcess
from envs.text.score import Outcome, as_score, failed, plain

__all__ = ["Limits", "Outcome", "Sandbox"]
log = logging.getLogger(__name__)

MAX_TIMEOUTS = 3  # in one batch


@dataclass
class _Held:
    """The process of a sandbox, apart from it, so that it can be ended when the sandbox is gone."""

    process: RewardProcess | None = None
    owner: int = 0


class Sandbox:
    """Runs one function in a process of its own, started by the first call. Pickles without it."""

    def __init__(
        self, function: Callable[..., object], *, timeout_s: float, limits: Limits | None = None
    ) -> None:
        if not 0 < timeout_s < float("inf"):
            raise BadEnv(f"timeout_s is {timeout_s!r}; it must be a finite number of seconds above 0")
        self.timeout_s = float(timeout_s)
        self.limits = limits or Limits()
        self._payload = _pickled(function)
        self._set_up()

    def _set_up(self) -> None:
        self._lock = threading.Lock()
        self._held = _Held()
        weakref.finalize(self, _end, self._held)
        self.last_output = ""
        self._told = False

    def __getstate__(self) -> dict[str, Any]:
        return {"timeout_s": self.timeout_s, "limits": self.limits, "_payload": self._payload}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up()

    def run(self, calls: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        """One outcome per call, in order. ``calls`` are the keyword arguments, JSON values only.

        Where the function cannot even be loaded, the rest of the batch is unscored with that reason: trying
        again for each of its samples would only repeat the wait. So it is where ``MAX_TIMEOUTS`` calls of the
        batch ran into their deadline: a function that always hangs costs a batch that many deadlines, not one
        for each sample. The next batch tries again.
        """
        outcomes: list[Outcome] = []
        with self._lock:
            for call in calls:
                if sum(TIMED_OUT in (outcome.reason or "") for outcome in outcomes) >= MAX_TIMEOUTS:
                    given_up = Outcome(None, f"not called: {MAX_TIMEOUTS} calls of its batch {TIMED_OUT}")
                    return outcomes + [given_up] * (len(calls) - len(outcomes))
                process, unloaded = self._ready_process()
                if process is None:
                    return outcomes + [unloaded] * (len(calls) - len(outcomes))
                outcomes.append(self._call(process, call))
        return outcomes

    def close(self) -> None:
        """End the process. Idempotent; a later ``run`` starts a new one."""
        with self._lock:
            _end(self._held)

    def _ready_process(self) -> tuple[RewardProcess | None, Outcome]:
        """A process that has loaded the function, or None and why not."""
        try:
            process = self._running() or self._start()
        except OSError as error:
            return None, failed(error, error.__traceback__)
        if process.ready:
            return process, Outcome(None)
        try:
            answer = process.exchange(b"", self.limits.load_timeout_s)
        except ProcessLost as lost:
            answer = {"reason": str(lost), "error": str(lost), "trace": self._printed(process)}
        if answer.get("ready") is True:
            process.ready = True
            self._tell_once(answer.get("confined") is True)
            return process, Outcome(None)
        _end(self._held)
        outcome = _outcome({**answer, "score": None})
        return None, replace(outcome, reason=f"the function did not load in its process: {outcome.reason}")

    def _call(self, process: RewardProcess, call: Mapping[str, Any]) -> Outcome:
        try:
            answer = process.exchange(json.dumps(dict(call)).encode() + b"\n", self.timeout_s)
            outcome, spent = _outcome(answer), answer.get("spent") is not False
        except ProcessLost as lost:
            outcome, spent = Outcome(None, str(lost), error=str(lost)), True
        self.last_output = self._printed(process)
        if spent:
            _end(self._held)
            with suppress(OSError):  # the next call tries again, and reports it
                self._start()
        return outcome if outcome.trace or not outcome.error else replace(outcome, trace=self.last_output)

    @staticmethod
    def _printed(process: RewardProcess) -> str:
        printed, process.output = process.output, b""
        return plain(printed.decode(errors="replace"), keep="\n")

    def _running(self) -> RewardProcess | None:
        held = self._held
        if held.process is not None and held.owner != os.getpid():  # this object was copied by a fork
            held.process.abandon()
            held.process = None
        return held.process

    def _start(self) -> RewardProcess:
        process = RewardProcess(self._payload, self.limits)
        self._held.process, self._held.owner = process, os.getpid()
        return process

    def _tell_once(self, confined: bool) -> None:
        if not confined and not self._told:
            log.warning("no kernel filter on this platform: the network is closed to rewards in Python only")
        self._told = True


def _end(held: _Held) -> None:
    process, held.process = held.process, None
    if process is not None and held.owner == os.getpid():
        process.kill()


def _outcome(answer: Mapping[str, Any]) -> Outcome:
    """Read an answer as untrusted data: any function can write to the pipe of the process that it runs in."""
    score, reason = as_score(answer.get("score"))
    if score is not None:
        return Outcome(score)
    texts = {name: text for name in ("reason", "error", "trace") if isinstance(text := answer.get(name), str)}
    plain_texts = {name: plain(text[-8_000:], keep="\n") for name, text in texts.items()}
    return Outcome(None, **{"reason": reason, **plain_texts})


def _pickled(function: Callable[..., object]) -> bytes:
    try:
        import cloudpickle
    except ImportError as error:
        raise BadEnv("CallableReward(isolate=True) needs cloudpickle: pip install cloudpickle") from error
    try:
        return bytes(cloudpickle.dumps(function))
    except Exception as error:  # whatever the objects in the closure raise
        raise BadEnv(
            f"{function!r} cannot be sent to its own process ({type(error).__name__}: {error}); "
            "open files, models and connections inside the function, or pass isolate=False"
        ) from error
