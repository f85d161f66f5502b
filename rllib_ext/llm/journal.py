"""What a run writes down of itself: its faults, its timeline, every round, and the metrics of every
iteration.

Files are those of a run folder (``runtime/run_folder.py``), in the trial's own directory, so that ``rllib-ext
plot`` and ``report`` read a Tune trial and a plain run alike. Nothing here decides anything.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from rllib_ext.errors import RllibExtError
from rllib_ext.functional import staleness
from rllib_ext.llm.batch import Group
from rllib_ext.llm.requests import Rollout
from rllib_ext.runtime.events import Events
from rllib_ext.runtime.run_folder import RunFolder

_MOST_EMPTY_ROUNDS = 3


class Journal:
    """The writer for one algorithm instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder)
        self._events = Events(self.folder)
        self._seen_tracebacks: set[str] = set()
        self._empty_rounds = 0

    def event(self, kind: str, detail: str) -> None:
        self._events.emit(kind, detail)

    def span(
        self, role: str, who: str, start: float, end: float, round_index: int | None, version: int
    ) -> None:
        record = {
            "role": role,
            "who": who,
            "start": start,
            "end": end,
            "round": round_index,
            "version": version,
        }
        self.folder.append_jsonl("timeline", record)

    def spans(self, rollouts: list[Rollout]) -> None:
        for rollout in rollouts:
            for role, start, end in rollout.spans:
                who = f"worker {rollout.worker}"
                of_round = None if rollout.ticket.evaluates else rollout.ticket.round
                what = "evaluate" if rollout.ticket.evaluates else role
                self.span(what, who, start, end, of_round, rollout.version)

    def failures(self, rollouts: list[Rollout], limit: float) -> None:
        """Note unscored completions and refused prompts.

        Raises where more than ``limit`` of the round's completions have no score, and where rounds in a row give
        no completion at all: such a run would go on for ever and never update anything.
        """
        reasons: Counter[str] = Counter()
        for rollout in rollouts:
            reasons.update(rollout.failures)
            for traceback in rollout.tracebacks:
                if traceback not in self._seen_tracebacks:
                    self._seen_tracebacks.add(traceback)
                    self.event("reward_failure", traceback)
            for index, why in rollout.refused.items():
                self.event("prompt_refused", f"prompt {index}: {why}")
        total = sum(len(rollout.played) for rollout in rollouts)
        for reason, count in reasons.items():
            self.event("unscored", f"{count} of {total} completions: {reason}")
        if total and sum(reasons.values()) > limit * total:
            worst = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
            raise RllibExtError(
                f"{sum(reasons.values())} of {total} completions have no score, more than "
                f"max_unscored_share={limit:g}: {worst}. Mend the reward, or raise max_unscored_share; tracebacks "
                "are in events.jsonl"
            )
        self._empty_rounds = 0 if total else self._empty_rounds + 1
        if self._empty_rounds >= _MOST_EMPTY_ROUNDS:
            refused = Counter(why for rollout in rollouts for why in rollout.refused.values())
            worst = ", ".join(f"{why} ({count})" for why, count in refused.most_common(3))
            raise RllibExtError(
                f"none of the prompts of {_MOST_EMPTY_ROUNDS} rounds in a row could be used: {worst}. Raise "
                "max_prompt_tokens, set prompt_overflow='truncate', or mend the environment"
            )

    def round(
        self, algorithm: Any, rollouts: list[Rollout], groups: list[Group], rows: list, prompts: list
    ) -> None:
        """One line of rounds.jsonl: ages, what was left out and why, and the prompts that were consumed."""
        scores = [c.score for group in groups for c in group.completions]
        record = {
            "round": algorithm.round,
            "iteration": algorithm.iteration + 1,
            "updates": algorithm.counters["updates"],
            "ages": {str(age): count for age, count in sorted(Counter(algorithm.ages).items())},
            "dropped_stale": algorithm.counters["dropped_stale"],
            "tied": sum(row is None for row in rows),
            "unscored": sum(score is None for score in scores),
            "prompts": len(prompts),
            "trained": [list(prompt) for prompt in prompts],
            "refused": sum(len(rollout.refused) for rollout in rollouts),
        }
        self.folder.append_jsonl("rounds", record)

    def log(
        self,
        metrics: Any,
        algorithm: Any,
        rollouts: list[Rollout],
        groups: list[Group],
        rows: list,
        probe: tuple[float, float] | None,
        times: tuple[float, float, float, float],
    ) -> None:
        """The iteration's metrics under RLlib's names where it has one."""
        began, waited, learning, now = times
        values = {
            **_reward_metrics(groups, rows),
            **_age_metrics(algorithm),
            **_speed_metrics(rollouts, algorithm, now - began, waited, now - learning),
            **_counters(algorithm),
        }
        if probe is not None:
            values["policy/logp_diff_mean"], values["policy/logp_diff_max"] = probe
        for name, value in values.items():
            metrics.log_value(tuple(name.split("/")), value, window=1)

    def close(self) -> None:
        self.folder.close()


def _reward_metrics(groups: list[Group], rows: list) -> dict[str, float]:
    completions = [c for group in groups for c in group.completions]
    scores = np.array([c.score for c in completions if c.score is not None], dtype=np.float64)
    count = max(1, len(completions))
    mean = float(scores.mean()) if scores.size else float("nan")
    return {
        "reward/mean": mean,
        "reward/se": float(scores.std() / np.sqrt(scores.size)) if scores.size else float("nan"),
        "reward/unscored_share": 1 - scores.size / count,
        "reward/eos_share": sum(c.finished for c in completions) / count,
        "reward/tied_share": sum(row is None for row in rows) / max(1, len(rows)),
        "env_runners/episode_return_mean": mean,
        "env_runners/episode_len_mean": float(np.mean([c.sampled.sum() for c in completions]))
        if completions
        else 0.0,
    }


def _age_metrics(algorithm: Any) -> dict[str, float]:
    ages = staleness.summary(algorithm.ages) if algorithm.ages else None
    consumed = max(1, algorithm.counters["prompts"])
    return {
        "staleness/mean": ages.mean if ages else 0.0,
        "staleness/p95": ages.p95 if ages else 0.0,
        "staleness/max": ages.maximum if ages else 0.0,
        "staleness/dropped": algorithm.counters["dropped_stale"] / consumed,
    }


def _speed_metrics(
    rollouts: list[Rollout], algorithm: Any, wall: float, waited: float, learn_s: float
) -> dict[str, float]:
    busy = sum(end - start for rollout in rollouts for _, start, end in rollout.spans)
    generating = sum(end - start for r in rollouts for role, start, end in r.spans if role == "generate")
    wall = max(wall, 1e-9)
    return {
        "rollout/tokens_per_s": sum(rollout.tokens for rollout in rollouts) / wall,
        "rollout/generate_s": generating,
        "rollout/idle_share": max(0.0, 1.0 - busy / (wall * max(1, algorithm.pool.size))),
        "learner/learn_s": learn_s,
        "learner/idle_share": min(1.0, waited / wall),
        "weights/publish_s": algorithm.publish_s,
    }


def _counters(algorithm: Any) -> dict[str, float]:
    counters = algorithm.counters
    return {
        "num_updates_lifetime": counters["updates"],
        "num_env_steps_sampled_lifetime": counters["completions"],
        "env_runners/num_env_steps_sampled_lifetime": counters["completions"],
        "num_tokens_sampled_lifetime": counters["tokens"],
        "num_prompts_trained_lifetime": counters["prompts"],
        "weights/version": counters["updates"],
        "health/worker_restarts": algorithm.pool.restarts,
        "health/requeued_prompts": algorithm.pool.requeued_prompts,
        "health/skipped_updates": counters["skipped"],
        "health/empty_iteration": float(not algorithm.ages),
    }
