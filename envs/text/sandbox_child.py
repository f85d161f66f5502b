"""The inside of the reward process: read a call, run the function, write one JSON line back.

Runs below a supervisor (envs/text/sandbox_supervisor.py) in a fresh interpreter, which holds no model and no
threads of the caller. Answers are JSON and never pickles, because the caller must not have to trust them.
"""

import io
import json
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any

from envs.text.sandbox_limits import Limits, apply_limits, descendants
from envs.text.sandbox_supervisor import supervise
from envs.text.score import Outcome, as_score, failed


def start(setup: io.BufferedReader, header: dict[str, Any], request_fd: int, reply_fd: int) -> None:
    """Become the supervisor, with the function in a process below. Never returns."""
    for fd in (setup.fileno(), request_fd, reply_fd):
        os.set_inheritable(fd, False)
    limits = Limits(**header["limits"])
    supervise(lambda: serve(setup, limits, request_fd, reply_fd), request_fd, reply_fd)


def serve(setup: io.BufferedReader, limits: Limits, request_fd: int, reply_fd: int) -> None:
    """Load the function, say whether that went well, then answer calls until the caller closes its end."""
    with os.fdopen(request_fd, "rb") as requests, os.fdopen(reply_fd, "wb", buffering=0) as replies:
        confined = apply_limits(limits)
        function, outcome = _load(setup)
        _reply(replies, outcome, ready=function is not None, confined=confined)
        if function is not None:
            _answer_calls(function, requests, replies, limits)


def _answer_calls(
    function: Callable[..., object], requests: io.BufferedReader, replies: io.FileIO, limits: Limits
) -> None:
    owner = os.getpid()
    for line in requests:
        call = json.loads(line)
        if isinstance(call["prompt"], list):
            call["prompt"] = tuple(call["prompt"])
        outcome, spent = _score(function, call)
        if os.getpid() != owner:  # a copy that the function forked and let return
            os._exit(0)
        _reply(replies, outcome, spent=spent or _crowded(outcome, limits))


def _load(setup: io.BufferedReader) -> tuple[Callable[..., object] | None, Outcome]:
    try:
        with setup:
            return pickle.load(setup), Outcome(None)
    except BaseException as error:  # SystemExit from an import must not end the conversation without a word
        return None, failed(error, error.__traceback__)


def _score(function: Callable[..., object], call: dict[str, Any]) -> tuple[Outcome, bool]:
    """The outcome, and whether the process is spent: after a MemoryError nothing in it can be relied upon."""
    try:
        value = function(**call)
    except BaseException as error:  # SystemExit of foreign code is a failure like any other
        frames = error.__traceback__.tb_next if error.__traceback__ else None
        spent = isinstance(error, MemoryError)
        if spent:
            traceback.clear_frames(frames)  # lets go of what filled the memory
        return failed(error, frames), spent
    score, reason = as_score(value)
    return Outcome(score, reason), False


def _crowded(outcome: Outcome, limits: Limits) -> bool:
    """Whether a call that failed left processes behind, or any call more of them than allowed."""
    if not hasattr(os, "waitid"):  # macOS: only the parent's count is left
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return outcome.score is None or len(descendants(os.getpid())) > limits.processes


def _reply(replies: io.FileIO, outcome: Outcome, **flags: bool) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # the function may have closed or replaced them
            continue
    fields = {
        "score": outcome.score,
        "reason": outcome.reason,
        "error": outcome.error,
        "trace": outcome.trace,
    }
    message = json.dumps({**fields, **flags}).encode() + b"\n"
    while message:
        message = message[replies.write(message) or 0 :]
