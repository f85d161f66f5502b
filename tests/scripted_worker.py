"""A rollout worker without a model: it answers tickets, or fails, by a script that outlives its process.

Imported by the actors' processes, which should start quickly: nothing heavy at the top.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rllib_ext.llm.requests import Rollout, Ticket
from rllib_ext.runtime.process_end import this_actor_process


def weights(version: int = 0) -> Any:
    """What stands for published weights here: a version and its digest."""
    return SimpleNamespace(version=version, digest=f"digest {version}")


class ScriptedWorker:
    """Does what ``assignment.json`` in its home says of its number.

    scripts[n] is what the n-th call of ``rollout`` does, births[n] what the n-th start does; after that all goes
    well. Both counts are those of notes in the folder of the assignment, so that a restarted process goes on
    where the dead one was, and a new assignment begins anew.
    """

    def __init__(self, number: int, home: str) -> None:
        self.number, self.home, self._process = number, Path(home), this_actor_process()
        born = self._note("births", str(os.getpid()))
        self._do(self._assignment()["births"], born, None)

    def _assignment(self) -> dict[str, Any]:
        return json.loads((self.home / "assignment.json").read_text())

    def _do(self, script: list[str], number: int, answer: Rollout | None) -> None:
        if number < len(script):
            getattr(self, script[number])(answer)

    def ping(self) -> int:
        return os.getpid()

    def assert_healthy(self) -> None:
        if self.number in self._assignment()["unfit"]:
            raise RuntimeError("its engine does not start")

    def stop(self) -> None:
        self._note("stops", "")

    def rollout(self, ticket: Ticket, weights: Any) -> Rollout:
        line = (
            f"{ticket.split} {ticket.round} {ticket.chunk} {ticket.attempt} {ticket.seed} {weights.version}"
        )
        call, script = self._note("calls", line), self._assignment()["scripts"][str(self.number)]
        answer = Rollout(
            ticket=ticket,
            worker=self.number,
            version=weights.version,
            digest=weights.digest,
            played=[(ticket.seed, index, weights.version) for _, index in ticket.prompts],
            spans=[],
            tokens=0,
            process=self._process,
        )
        self._do(script, call, answer)
        return answer

    def _note(self, what: str, line: str) -> int:
        """Write a line down; returns how many there were before it."""
        path = Path(self._assignment()["folder"]) / f"{self.number}.{what}"
        before = len(path.read_text().splitlines()) if path.exists() else 0
        with path.open("a") as file:
            file.write(line + "\n")
        return before

    # ----- what a script can say

    def well(self, answer: Rollout | None) -> None:
        pass

    def slowly(self, answer: Rollout | None) -> None:
        time.sleep(0.5)

    def hang(self, answer: Rollout | None) -> None:
        time.sleep(1000)

    def exit(self, answer: Rollout | None) -> None:
        os._exit(1)

    def kill(self, answer: Rollout | None) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def freeze(self, answer: Rollout | None) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def raise_(self, answer: Rollout | None) -> None:
        raise KeyError("a defect of somebody's environment")

    def bad_env(self, answer: Rollout | None) -> None:
        from envs.errors import BadEnv

        raise BadEnv("observation is a number")

    def engine_dead(self, answer: Rollout | None) -> None:
        from rllib_ext.llm.engine import EngineDead

        raise EngineDead("the cache is gone")

    def wrong_digest(self, answer: Rollout) -> None:
        answer.digest = "digest of something else"

    def wrong_version(self, answer: Rollout) -> None:
        answer.version += 1
