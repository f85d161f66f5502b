"""Tune schedulers that do not judge a trial just after a reset.

Returns of Elastic Reset are a saw-tooth: a trial that ASHA or the median rule looks at right after a reset seems worse
than it is, and is stopped. ``ResetAware(AsyncHyperBandScheduler(...))`` keeps results with ``er/recovering`` = 1 from the
scheduler inside, which then sees the next one. A rung whose iteration falls into a recovery is judged at the first result
after it; population-based training perturbs at that point.
"""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import TrialScheduler

FLAG = "er/recovering"


class ResetAware(TrialScheduler):
    """Passes everything to ``scheduler`` but the results of a recovering trial, which goes on without being judged."""

    def __init__(self, scheduler: TrialScheduler) -> None:
        super().__init__()
        self.scheduler = scheduler

    @property
    def metric(self) -> str | None:
        return self.scheduler.metric

    @property
    def supports_buffered_results(self) -> bool:
        return False

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return self.scheduler.set_search_properties(metric, mode, **spec)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self.scheduler.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self.scheduler.on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if recovering(result):
            return TrialScheduler.CONTINUE
        return self.scheduler.on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self.scheduler.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.scheduler.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        return self.scheduler.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        return f"ResetAware: {self.scheduler.debug_string()}"

    def save(self, checkpoint_path: str) -> None:
        self.scheduler.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        self.scheduler.restore(checkpoint_path)


def recovering(result: dict[str, Any]) -> bool:
    """Whether a result, nested or flat, was sampled by weights that a reset had just put back."""
    nested = result.get("er")
    value = nested.get("recovering") if isinstance(nested, dict) else result.get(FLAG)
    return bool(value)
