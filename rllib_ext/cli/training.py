"""The run loop: train, book, save, evaluate, until the algorithm says that it is done or somebody asks to stop.

It knows the algorithm by four things alone: ``train()``, ``evaluate()``, ``counters["updates"]`` and
``journal``. Everything that can go wrong in a round ends the run with the error that names it; the checkpoints
written before stay.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from rllib_ext.analysis.live import LiveTable
from rllib_ext.cli.interrupts import Interrupts, RoundAbandoned
from rllib_ext.cli.result_log import ResultLog
from rllib_ext.cli.saving import Saver
from rllib_ext.cli.settings import RunSettings
from rllib_ext.errors import Stalled
from rllib_ext.runtime.run_folder import RunFolder

MAX_EMPTY_ROUNDS = 100  # in a row without an update: what is asked for cannot be learnt from


class Training:
    """One session of one run. ``fresh``: nothing was trained before."""

    def __init__(
        self,
        algorithm: Any,
        run: RunFolder,
        settings: RunSettings,
        interrupts: Interrupts,
        *,
        view: LiveTable | None,
    ) -> None:
        self._algorithm, self._settings, self._interrupts = algorithm, settings, interrupts
        self._log = ResultLog(run, algorithm.journal.event)
        self.saver = Saver(algorithm, run, settings.values["checkpoint_every"])
        self._show: Callable[[Mapping[str, Any]], None] = view.update if view else lambda result: None
        self._evaluates = settings.values["evaluation_interval"] is not None
        self._evaluated_at = -1

    @property
    def updates(self) -> int:
        """Optimizer updates of the whole run so far."""
        return self._algorithm.counters["updates"]

    def run(self) -> bool:
        """Train to the end. True: done. False: stopped on request, with a checkpoint where the storage let it."""
        try:
            with contextlib.suppress(RoundAbandoned):
                if self._train():
                    return True
                self.saver.save()
            return False
        finally:
            self._log.close()

    def _train(self) -> bool:
        if self.updates == 0:
            self._evaluate()  # the initial policy: what win rates and the report compare with
        done = self.updates >= self._settings.values["total_updates"]
        empty = 0
        while not done and not self._interrupts.requested:
            before = self.updates
            with self._interrupts.round():
                result = self._algorithm.train()
            if result.get("evaluation"):
                self._evaluated_at = self.updates
            self._log.write(result)
            self._show(result)
            empty = 0 if self.updates > before else empty + 1
            if empty >= MAX_EMPTY_ROUNDS:
                raise _nothing_to_learn(empty)
            done = bool(result["done"])
            if not done:
                self.saver.save_if_due()
        if done:
            self.saver.save_now()
            self._evaluate()
        return done

    def _evaluate(self) -> None:
        """On held-out prompts, unless evaluation is off or has just been done."""
        if self._evaluates and self._evaluated_at != self.updates and not self._interrupts.requested:
            with self._interrupts.round():
                self._algorithm.evaluate()
            self._evaluated_at = self.updates


def _nothing_to_learn(rounds: int) -> Stalled:
    return Stalled(
        f"{rounds} rounds in a row gave no update: the completions of a prompt all get the same score, or no "
        "prompt can be used (events.jsonl says which). Raise samples_per_prompt or temperature, start from a "
        "model that knows the task, set missing_eos=keep if completions never end, or raise max_prompt_tokens"
    )
