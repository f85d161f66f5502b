"""The one training step of every language-model method: sync and async, whatever the loss.

    admit and submit rounds  ->  take the oldest  ->  check ages  ->  build rows  ->  N x T updates  ->  publish

Admission is what bounds staleness: a round is submitted as soon as, and only if, its samples will be no older than the
bound when they are learnt from. With a bound of N*T - 1 that is generate-then-learn; with 2*N*T - 1 the next round is
generated while this one is learnt from (the paper's asynchronous mode); larger bounds queue further ahead.

Source: "Asynchronous RLHF" (arXiv 2410.18252), Algorithm 1. Left out: live parameter references and skipped weight
loads of the paper's code; every sample here is stamped with the version that produced it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.tune.execution.placement_groups import PlacementGroupFactory

from rllib_ext.functional import staleness
from rllib_ext.llm import persistence, publishing
from rllib_ext.llm.batch import Group, groups_of, to_columns
from rllib_ext.llm.config import LLMConfig
from rllib_ext.llm.crew import await_first, creation_error, make_pool
from rllib_ext.llm.evaluation import Evaluation
from rllib_ext.llm.journal import Journal
from rllib_ext.llm.ledger import PromptLedger
from rllib_ext.llm.requests import Rollout, Ticket
from rllib_ext.llm.reward_worker import reward_bundles
from rllib_ext.llm.threads import set_learner_threads
from rllib_ext.llm.weights import PublishedWeights
from rllib_ext.runtime.learner_calls import call_learners, learner_deaths
from rllib_ext.runtime.seeding import SeedTree
from rllib_ext.runtime.trial_folder import trial_folder

_LEARNER_TIMEOUT_S = 600.0


class LLMAlgorithm(Algorithm):
    """Base of the language-model algorithms. A method overrides ``rows_of`` and names its learner in its config."""

    config: LLMConfig
    _env_runner_group: Any = None

    @classmethod
    def get_default_config(cls) -> LLMConfig:
        return LLMConfig(algo_class=cls)

    @classmethod
    def _should_create_evaluation_env_runners(cls, eval_config: Any) -> bool:
        return (
            False  # evaluations share the rollout workers: an engine is too large to keep a second one idle
        )

    @classmethod
    def default_resource_request(cls, config: Any) -> PlacementGroupFactory:
        """What Tune reserves: RLlib's own bundles and the reward workers'. Workers that may join are not in it."""
        request = super().default_resource_request(config)
        extra = reward_bundles(cls.get_default_config().update_from_dict(config))
        return (
            PlacementGroupFactory([*request.bundles, *extra], strategy=request.strategy) if extra else request
        )

    @property
    def env_runner_group(self) -> Any:
        return self._env_runner_group

    @env_runner_group.setter
    def env_runner_group(self, group: Any) -> None:
        """Set by RLlib, which then waits for a worker's answer without a deadline; so this waits first, with one."""
        if group is not None:
            await_first(group, self.config.engine_start_timeout_s)
        self._env_runner_group = group

    def setup(self, config: Any) -> None:
        try:
            super().setup(config)
        except IndexError as error:  # RLlib's way of saying that no worker answered for the spaces
            raise creation_error(self.env_runner_group) from error
        set_learner_threads(self.config)
        self.seeds = SeedTree(self.config.run_seed)
        self.journal = Journal(Path(self.config.run_folder or trial_folder(self)))
        self.pool = make_pool(self.config, self.env_runner_group, self.journal.event)
        self.facts = self.env_runner_group.foreach_env_runner(
            lambda runner: runner.facts(),
            local_env_runner=False,
            timeout_seconds=self.config.engine_start_timeout_s,
        )[0]
        self.ledger = PromptLedger(
            self.facts.num_prompts, self.config.prompts_per_round, self.config.run_seed
        )
        self.round = 0  # the round that is learnt from next
        self.submitted = 0  # the round that is submitted next
        self.minibatches = 0
        self.counters = dict.fromkeys(
            ("updates", "prompts", "completions", "tokens", "dropped_stale", "skipped"), 0
        )
        self.evaluator = Evaluation(self)
        self._published: PublishedWeights | None = None
        self.publish_s = 0.0
        self.ages: list[int] = []

    # ----- the algorithm

    def training_step(self) -> None:
        """One iteration: one generation round, N * T updates (Algorithm 1)."""
        began = time.time()
        weights = self.publish()
        self.submit_admissible(weights)
        rollouts = self.take_round()
        waited = time.time() - began
        groups = self.admit(rollouts)
        rows = self.rows_of(groups)
        learning = time.time()
        self.learn(rows)
        self.finish_round(rollouts, groups, rows, began, waited, learning)

    def submit_admissible(self, weights: PublishedWeights) -> None:
        """Submit every round whose samples will meet the staleness bound if generated with these weights now."""
        bound, per_round = self.config.staleness_bound, self.config.updates_per_round
        while staleness.may_submit(self.submitted, self.round * per_round, per_round, bound):
            self.pool.submit(self.tickets(self.submitted), weights)
            self.submitted += 1

    def take_round(self) -> list[Rollout]:
        """The finished rollouts of the oldest round; waits for them, within the pool's deadlines."""
        return self.pool.collect(self.tickets(self.round))

    def admit(self, rollouts: list[Rollout]) -> list[Group]:
        """Groups of the round, without those that a fault has aged beyond the bound (they are counted)."""
        self.journal.failures(rollouts, self.config.max_unscored_share)
        items = [item for rollout in rollouts for item in rollout.played]
        groups = groups_of(items, self.ledger.prompts(self.round))
        last = self.counters["updates"] + self.config.updates_per_round - 1
        fresh = [g for g in groups if staleness.age(last, g.version) <= self.config.staleness_bound]
        self.counters["dropped_stale"] += len(groups) - len(fresh)
        return fresh

    def rows_of(self, groups: list[Group]) -> list[Group | None]:
        """What each group contributes to training: a reduced group, or None (a tie, nothing scored). Method-specific."""
        raise NotImplementedError

    def learn(self, rows: list[Group | None]) -> None:
        """N mini-batches of T passes. A mini-batch without a usable row is no update."""
        size = self.config.prompts_per_minibatch
        self.ages = []
        for start in range(0, len(rows), size):
            usable = [row for row in rows[start : start + size] if row is not None]
            learners = max(1, self.config.num_learners)
            usable = usable[: len(usable) - len(usable) % learners]
            self.minibatches += 1
            if usable:
                batch = self._batch(usable)
                for _ in range(self.config.updates_per_minibatch):
                    self.ages += [staleness.age(self.counters["updates"], row.version) for row in usable]
                    self.update(batch)

    def update(self, batch: MultiAgentBatch) -> None:
        """One optimizer step."""
        with learner_deaths():
            results = self.learner_group.update(batch=batch)
        self.metrics.aggregate(results, key="learners")
        done, skipped = self.on_learner(lambda learner, **_: (learner.updates, learner.skipped))
        if skipped > self.counters["skipped"]:
            self.journal.event("nonfinite_update_skipped", f"after update {done}, {skipped} in all")
        self.counters.update(updates=done, skipped=skipped)

    def publish(self) -> PublishedWeights:
        """The current weights as a versioned snapshot; the same one as long as no update has happened."""
        if self._published is None or self._published.version != self.counters["updates"]:
            start = time.time()
            keep = self.config.staleness_bound + 2 if self.config.logp_probe else 0
            self._published = self.on_learner(publishing.publish, keep=keep)
            self.journal.span("publish", "learner", start, time.time(), self.round, self._published.version)
            self.publish_s = time.time() - start
        return self._published

    def forget_published(self) -> None:
        """After a restore: whatever was published belongs to another past."""
        self._published = None

    # ----- pieces

    def tickets(self, round_index: int) -> list[Ticket]:
        """A round's prompts, a chunk for each worker of a full crew: a pure function of the round, to resume alike."""
        prompts = self.ledger.prompts(round_index)
        chunks = min(self.config.most_env_runners, len(prompts))
        size = -(-len(prompts) // chunks)
        seeds = self.seeds.child("sampling").child(str(round_index))
        return [
            Ticket(
                round=round_index,
                chunk=chunk,
                prompts=tuple(prompts[chunk * size : (chunk + 1) * size]),
                samples=self.config.samples_per_prompt,
                temperature=self.config.temperature,
                seed=seeds.child(str(chunk)).int() % 2**31,
            )
            for chunk in range(chunks)
            if prompts[chunk * size : (chunk + 1) * size]
        ]

    def _batch(self, rows: list[Group]) -> MultiAgentBatch:
        columns = to_columns(rows)
        columns["minibatch"] = torch.full((len(rows),), self.minibatches).numpy()
        return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=len(rows))

    def on_learner(self, function: Any, **arguments: Any) -> Any:
        """Call ``function(learner, **arguments)`` on the first learner and return its result."""
        group, timeout_s = self.learner_group, _LEARNER_TIMEOUT_S
        return call_learners(group, function, timeout_s=timeout_s, first_only=True, **arguments)[0]

    def finish_round(
        self,
        rollouts: list[Rollout],
        groups: list[Group],
        rows: list[Group | None],
        began: float,
        waited: float,
        learning: float,
    ) -> None:
        """Book the round: the ledger, the journal's files, the metrics."""
        now = time.time()
        prompts = self.ledger.prompts(self.round)
        self.ledger.record(prompts)
        tokens = sum(rollout.tokens for rollout in rollouts)
        self.counters["prompts"] += len(prompts)
        self.counters["completions"] += sum(len(group.completions) for group in groups)
        self.counters["tokens"] += tokens
        self.journal.spans(rollouts)
        self.journal.span("learn", "learner", learning, now, self.round, self.counters["updates"])
        self.journal.round(self, rollouts, groups, rows, prompts)
        probe = self._probe(groups)
        self.journal.log(self.metrics, self, rollouts, groups, rows, probe, (began, waited, learning, now))
        self.round += 1

    def _probe(self, groups: list[Group]) -> tuple[float, float] | None:
        """How far the engine's log-probabilities lie from the learner's, on a few completions of the round."""
        chosen = [group.keep([0]) for group in groups[: self.config.logp_probe]]
        versions = {group.version for group in chosen}
        if len(versions) != 1:
            return None
        return self.on_learner(publishing.probe_logps, columns=to_columns(chosen), version=versions.pop())

    # ----- RLlib's surface

    def evaluate(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """Held-out prompts under the current weights, on the rollout workers, after what they are already doing."""
        return {"evaluation": self.evaluator.run()}

    def _run_one_evaluation(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """RLlib's own would put what ``evaluate`` returns under "evaluation" once more."""
        return self.evaluate(parallel_train_future)

    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        return []  # the pool supervises its workers itself

    def step(self) -> dict[str, Any]:
        """One iteration. A run that is evaluated at all is evaluated before its first update and after its last."""
        if (
            self.config.evaluation_interval
            and not self.counters["updates"]
            and not self.evaluator.initial_scores
        ):
            self.evaluate()
        result = super().step()
        result["done"] = self.counters["updates"] >= self.config.total_updates
        if self.config.evaluation_interval and result["done"] and not result.get("evaluation"):
            result |= self.evaluate()
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        super().save_checkpoint(checkpoint_dir)
        persistence.save(self, Path(checkpoint_dir) / persistence.FOLDER)

    def restore_from_path(self, path: Any, *args: Any, component: str | None = None, **kwargs: Any) -> None:
        """RLlib's restore; where the folder holds this package's own checkpoint, only that is read (no pickle)."""
        if component is None and (Path(path) / persistence.FOLDER).is_dir():
            persistence.restore(self, Path(path) / persistence.FOLDER)
        else:
            super().restore_from_path(path, *args, component=component, **kwargs)

    def cleanup(self) -> None:
        if hasattr(self, "pool"):
            self.pool.stop()
            self.env_runner_group = None  # RLlib would wait for its dead workers without a deadline
        super().cleanup()
        if hasattr(self, "journal"):
            self.journal.close()
