"""Evaluation on held-out prompts: reward, win rates, KL and perplexity under the reference policy.

The prompts are the first ``evaluation_prompts`` of the split, the same at every evaluation, sampled near
greedily (spec A.7) on the training workers. ``win_rate`` is the share of prompts whose completion scores
strictly above the dataset's reference text. A reward that measures closeness to that text would always call it
the winner, so there, and where there are no references, ``win_rate`` compares with what the initial policy
wrote for the same prompt, a tie counting one half; ``win_rate_against`` says which of the two it was.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from rllib_ext.llm import publishing
from rllib_ext.llm.batch import completion_of, groups_of, to_columns
from rllib_ext.llm.played import Played
from rllib_ext.llm.reference_text import policy_perplexity
from rllib_ext.llm.requests import Rollout, Ticket


class Evaluation:
    """Runs evaluations for one algorithm; remembers the initial policy's scores."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm
        self._count = 0
        self.initial_scores: dict[int, float] = {}
        self._text: str | None = None

    def _tickets(self) -> list[Ticket]:
        config = self._algorithm.config
        prompts = [(0, index) for index in range(config.evaluation_prompts)]
        chunks = min(config.num_env_runners, len(prompts))
        size = -(-len(prompts) // chunks)
        seeds = self._algorithm.seeds.child("evaluation")
        self._count += 1
        return [
            Ticket(
                round=-self._count,
                chunk=chunk,
                prompts=tuple(prompts[chunk * size : (chunk + 1) * size]),
                samples=1,
                temperature=config.evaluation_temperature,
                seed=seeds.child(str(chunk)).int() % 2**31,
                split=config.evaluation_split,
            )
            for chunk in range(chunks)
            if prompts[chunk * size : (chunk + 1) * size]
        ]

    def run(self) -> dict[str, Any]:
        """One evaluation; also written to evaluations.jsonl and samples.jsonl."""
        algorithm = self._algorithm
        tickets = self._tickets()
        algorithm.pool.submit(tickets, algorithm.publish())
        rollouts = algorithm.pool.collect(tickets)
        algorithm.journal.spans(rollouts)
        items = [item for rollout in rollouts for item in rollout.played]
        results = {**self._scores(items), **self._divergence(rollouts, items), **self._drift()}
        record = {
            "iteration": algorithm.iteration,
            "updates": algorithm.counters["updates"],
            "split": algorithm.config.evaluation_split,
            **results,
        }
        algorithm.journal.folder.append_jsonl("evaluations", record)
        self._write_samples(items)
        return {**results, "env_runners": {"episode_return_mean": results["reward_mean"]}}

    def _scores(self, items: list[Played]) -> dict[str, Any]:
        scored = [item for item in items if item.score is not None]
        if not self.initial_scores:
            self.initial_scores = {item.index: item.score for item in scored}
        values = np.array([item.score for item in scored], dtype=np.float64)
        return {
            "reward_mean": float(values.mean()) if values.size else float("nan"),
            "reward_se": float(values.std(ddof=1) / np.sqrt(values.size))
            if values.size > 1
            else float("nan"),
            "n": int(values.size),
            "unscored": len(items) - int(values.size),
            **self._win_rate(scored),
        }

    def _win_rate(self, scored: list[Played]) -> dict[str, Any]:
        compared = [item for item in scored if item.info.get("reference_score") is not None]
        if compared:
            wins = [item.score > item.info["reference_score"] for item in compared]
            return {"win_rate": float(np.mean(wins)), "win_rate_against": "reference"}
        pairs = [(item.score, self.initial_scores.get(item.index)) for item in scored]
        wins = [0.5 * ((new > old) + (new >= old)) for new, old in pairs if old is not None]
        return {"win_rate": float(np.mean(wins)) if wins else 0.5, "win_rate_against": "initial policy"}

    def _divergence(self, rollouts: list[Rollout], items: list[Played]) -> dict[str, float]:
        prompts = [prompt for rollout in rollouts for prompt in rollout.ticket.prompts]
        groups = groups_of(items, prompts)
        if not groups:
            return {}
        columns = to_columns(groups)
        start, version = time.time(), self._algorithm.counters["updates"]
        values = self._algorithm.on_learner(publishing.evaluate_completions, columns=columns)
        self._algorithm.journal.span("evaluate", "learner", start, time.time(), self._count, version)
        return {
            "kl_ref": float(values["kl"].mean()),
            "ppl_completion": float(values["ppl_completion"].mean()),
            "ppl_diluted": float(values["ppl_diluted"].mean()),
            "completion_tokens": float(np.mean([len(completion_of(item)[1].ids) for item in items])),
        }

    def _drift(self) -> dict[str, float]:
        """Perplexity of human text under the policy, where it is asked for and the environment has references."""
        config, tokens = self._algorithm.config, self._algorithm.config.drift_tokens
        if not tokens:
            return {}
        if self._text is None:
            texts = self._algorithm.env_runner_group.foreach_env_runner(
                lambda runner: runner.reference_text(config.evaluation_split, tokens),
                local_env_runner=False,
                timeout_seconds=config.worker_timeout_s,
            )
            self._text = next(iter(texts), "")
        if not self._text:
            return {}
        return {
            "ppl_reference": self._algorithm.on_learner(policy_perplexity, text=self._text, tokens=tokens)
        }

    def _write_samples(self, items: list[Played]) -> None:
        algorithm = self._algorithm
        for item in items[: algorithm.config.evaluation_samples_logged]:
            algorithm.journal.folder.append_jsonl(
                "samples",
                {
                    "updates": algorithm.counters["updates"],
                    "split": algorithm.config.evaluation_split,
                    "id": str(item.info.get("id", item.index)),
                    "prompt": _as_text(item.observations[0]),
                    "completion": "\n".join(item.texts),
                    "reference": item.info.get("reference"),
                    "reward": item.score,
                },
            )


def _as_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)
