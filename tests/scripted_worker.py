"""A rollout worker without a model: it answers tickets, or fails, by a script that outlives its process.

Imported by the actors' processes, which should start quickly: nothing heavy at the top.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rllib_ext.llm.requests import Rollout, Ticket


def weights(version: int = 0) -> Any:
    """What stands for published weights here: a version and its digest."""
    return SimpleNamespace(version=version, digest=f"digest {version}")


class ScriptedWorker:
    """``script[n]`` says what the n-th call of ``rollout`` does, ``births[n]`` what the n-th start does; then all
    goes well. Both counts are kept in ``folder``, so that a restarted process goes on where the dead one was."""

    def __init__(self, number: int, folder: str, script: list[str], births: list[str]) -> None:
        self.number, self.folder, self.script = number, Path(folder), script
        born = self._note("births", str(os.getpid()))
        getattr(self, births[born] if born < len(births) else "well")()

    def ping(self) -> int:
        return os.getpid()

    def stop(self) -> None:
        self._note("stops", "")

    def rollout(self, ticket: Ticket, weights: Any) -> Rollout:
        line = (
            f"{ticket.split} {ticket.round} {ticket.chunk} {ticket.attempt} {ticket.seed} {weights.version}"
        )
        call = self._note("calls", line)
        answer = Rollout(
            ticket=ticket,
            worker=self.number,
            version=weights.version,
            digest=weights.digest,
            episodes=[(ticket.seed, index, weights.version) for _, index in ticket.prompts],
            spans=[],
            tokens=0,
        )
        getattr(self, self.script[call] if call < len(self.script) else "well")(answer)
        return answer

    def _note(self, what: str, line: str) -> int:
        """Write a line down; returns how many there were before it."""
        path = self.folder / f"{self.number}.{what}"
        before = len(path.read_text().splitlines()) if path.exists() else 0
        with path.open("a") as file:
            file.write(line + "\n")
        return before

    # ----- what a script can say

    def well(self, answer: Rollout | None = None) -> None:
        pass

    def slowly(self, answer: Rollout | None = None) -> None:
        time.sleep(0.5)

    def hang(self, answer: Rollout | None = None) -> None:
        time.sleep(1000)

    def exit(self, answer: Rollout | None = None) -> None:
        os._exit(1)

    def kill(self, answer: Rollout | None = None) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def raise_(self, answer: Rollout | None = None) -> None:
        raise KeyError("a defect of somebody's environment")

    def bad_env(self, answer: Rollout | None = None) -> None:
        from envs.errors import BadEnv

        raise BadEnv("observation is a number")

    def engine_dead(self, answer: Rollout | None = None) -> None:
        from rllib_ext.llm.engine import EngineDead

        raise EngineDead("the cache is gone")

    def wrong_digest(self, answer: Rollout) -> None:
        answer.digest = "digest of something else"

    def wrong_version(self, answer: Rollout) -> None:
        answer.version += 1
