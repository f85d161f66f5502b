"""The rollout worker: one generation engine, many text environments, behind RLlib's EnvRunner interface.

``rollout(ticket, weights)`` is what the package's own driver calls: it loads the named weights version if the worker
does not serve it yet, plays the ticket's prompts and returns them as plain data. ``sample()`` is the same behind
RLlib's usual signature, as RLlib SingleAgentEpisodes. The engine starts in a thread of its own while the learner is
being built, and every call to it is made from that thread.

Extra model outputs of an episode, one entry a turn: ``observation_ids`` (what the environment added), ``token_ids``
(what was sampled, never re-tokenised), ``action_logp`` (of the tempered policy, one number a token),
``weights_seq_no`` (the version that sampled), ``finished`` (whether EOS came).
"""

from __future__ import annotations

import copy
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.checkpoints import Checkpointable

from envs.text import TextEnv
from rllib_ext.errors import RllibExtError
from rllib_ext.llm import conversation as talk
from rllib_ext.llm import scoring
from rllib_ext.llm.engine import Engine, EngineDead, Sampling
from rllib_ext.llm.engine_start import start_engine
from rllib_ext.llm.environments import HELD_OUT_SEEDS, make_environment, of_split
from rllib_ext.llm.episodes import ReferenceScores, episode_of
from rllib_ext.llm.played import PlayedBatch, played
from rllib_ext.llm.prompting import prompting_of
from rllib_ext.llm.reference_text import joined_references
from rllib_ext.llm.requests import Rollout, Ticket, WorkerFacts
from rllib_ext.llm.reward_worker import RemoteReward, reward_of
from rllib_ext.llm.weights import PublishedWeights, digest_of
from rllib_ext.runtime.process_end import this_actor_process

_FETCH_TIMEOUT_S = 120.0


class VLLMEnvRunner(EnvRunner, Checkpointable):
    """A rollout worker. ``config`` is an LLMConfig; the engine is vLLM or, where the config says so, Hugging Face."""

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        if self.config.engine_threads:
            torch.set_num_threads(self.config.engine_threads)
        self._prompting = prompting_of(self.config)
        self._process = this_actor_process()
        self._reward_worker: Any = None
        self._prototypes: dict[str, gym.Env] = {}
        self._references = ReferenceScores()
        self.version = -1
        self.digest = ""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._starting: Future[Engine] = self._thread.submit(start_engine, self.config)
        self.make_env()

    # ----- construction

    @property
    def engine(self) -> Engine:
        return self._starting.result(timeout=self.config.engine_start_timeout_s)

    def make_env(self) -> None:
        self.env = self._prototype("train")

    def _prototype(self, split: str) -> gym.Env:
        """The environment of a split; further instances are cheap copies of it where the environment allows that."""
        if split not in self._prototypes:
            settings = of_split(self.config.env_config, split)
            made = make_environment(self.config.env, settings, self._prompting.count, self.worker_index or 0)
            self._prototypes[split] = made
            self._place_reward(split)
        return self._prototypes[split]

    def _place_reward(self, split: str) -> None:
        """Where rewards have actors of their own, this worker's stands for one of them."""
        if self._reward_worker is not None:
            env = self._prototypes[split]
            local = reward_of(env, self.config.env)
            env.unwrapped.reward = RemoteReward(
                self._reward_worker, split, local, self.config.worker_timeout_s
            )

    def _make_instance(self, split: str) -> gym.Env:
        prototype = self._prototype(split)
        return (
            prototype.unwrapped.spawn()
            if isinstance(prototype.unwrapped, TextEnv)
            else copy.deepcopy(prototype)
        )

    def _prompts(self, ticket: Ticket) -> list[tuple[int, int]]:
        """The ticket's prompts; a held-out split smaller than the evaluation asks for gives what it has."""
        size = getattr(self._prototype(ticket.split).unwrapped, "num_tasks", None)
        return [(epoch, index) for epoch, index in ticket.prompts if size is None or index < size]

    def facts(self) -> WorkerFacts:
        unwrapped = self.env.unwrapped
        return WorkerFacts(
            num_prompts=unwrapped.num_tasks if isinstance(unwrapped, TextEnv) else None,
            engine=self.config.engine,
            eos_ids=self._prompting.eos_ids,
            vocabulary=self._prompting.vocabulary,
            tokenizer_digest=self._prompting.digest,
        )

    def reference_text(self, split: str, tokens: int) -> str:
        """Human text of a split, for measuring drift."""
        return joined_references(self._prototype(split), tokens)

    # ----- generation

    def rollout(self, ticket: Ticket, weights: PublishedWeights, reward_worker: Any = None) -> Rollout:
        """Play the ticket's prompts with exactly the weights named, and score them here or with ``reward_worker``.

        Raises EngineDead where the engine is beyond use.
        """
        if self._reward_worker is None and reward_worker is not None:
            self._reward_worker = reward_worker
            for split in self._prototypes:
                self._place_reward(split)
        engine = self.engine
        spans = []
        if weights.version != self.version or weights.digest != self.digest:
            start = time.time()
            self._thread.submit(self._load, engine, weights).result(timeout=2 * _FETCH_TIMEOUT_S)
            spans.append(("publish", start, time.time()))
        start = time.time()
        conversations, refused = self._play(ticket, engine)
        middle = time.time()
        failures = scoring.score(conversations)
        for item in conversations:
            scoring.settle_missing_eos(item, self.config.missing_eos, self.config.missing_eos_penalty)
        usable = [item for item in conversations if item.refused is None]
        if ticket.evaluates:
            self._references.add(usable, getattr(self._prototype(ticket.split).unwrapped, "reward", None))
        spans += [("generate", start, middle), ("score", middle, time.time())]
        return Rollout(
            ticket=ticket,
            worker=self.worker_index or 0,
            version=self.version,
            digest=self.digest,
            played=PlayedBatch(played(item, self.version) for item in usable),
            spans=spans,
            tokens=sum(len(turn.token_ids) for item in usable for turn in item.turns),
            refused=refused
            | {item.index: item.refused for item in conversations if item.refused is not None},
            failures=failures,
            tracebacks=list(getattr(getattr(self.env.unwrapped, "reward", None), "tracebacks", {}).values()),
            process=self._process,
        )

    def _play(self, ticket: Ticket, engine: Engine) -> tuple[list[talk.Conversation], dict[int, str]]:
        """The ticket's conversations, finished, and the prompts that could not be used with the reason."""
        prompts, env = self._prompts(ticket), self._prototype(ticket.split).unwrapped
        if isinstance(env, TextEnv):
            texts = [env.task(index).prompt for _, index in prompts]
            self._prompting.prepare([text for text in texts if isinstance(text, str)])
        conversations, refused = talk.open_conversations(
            lambda: self._make_instance(ticket.split),
            self._prompting,
            prompts,
            ticket.samples,
            seed_offset=0 if ticket.split == "train" else HELD_OUT_SEEDS,
        )
        sampling = Sampling(
            ticket.temperature,
            self.config.max_new_tokens,
            ticket.samples,
            ticket.seed,
            self._prompting.eos_ids,
        )
        work = self._thread.submit(
            talk.play, conversations, engine, self._prompting, sampling, self.config.max_turns
        )
        work.result(timeout=self.config.worker_timeout_s)
        return conversations, refused

    def _load(self, engine: Engine, weights: PublishedWeights) -> None:
        snapshot = ray.get(weights.ref[0], timeout=_FETCH_TIMEOUT_S)
        digest = digest_of(snapshot.arrays)
        if digest != weights.digest or snapshot.version != weights.version:
            raise EngineDead(
                f"weights version {weights.version} arrived as version {snapshot.version} with digest {digest}, "
                f"announced was {weights.digest}; nothing was loaded"
            )
        engine.load_weights(snapshot)
        self.version, self.digest = snapshot.version, digest

    # ----- RLlib's EnvRunner contract

    def sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool = True,
        **_: Any,
    ) -> list[SingleAgentEpisode]:
        """Episodes from random prompts under the weights that are being served."""
        if self.version < 0:
            raise RllibExtError(
                "sample() before any weights were set; call set_state() or rollout(ticket, weights)"
            )
        count = num_episodes or num_timesteps or self.config.prompts_per_minibatch
        size = self.facts().num_prompts or 2**31 - 1
        draws = np.random.default_rng(
            (self.config.run_seed, self.worker_index or 0, self.num_env_steps_sampled_lifetime)
        )
        ticket = Ticket(
            round=0,
            chunk=0,
            prompts=tuple((0, int(index)) for index in draws.integers(size, size=count)),
            samples=1,
            temperature=self.config.temperature if explore else self.config.evaluation_temperature,
            seed=int(draws.integers(2**31)),
        )
        serving = PublishedWeights(self.version, self.digest, [])
        episodes = [episode_of(item) for item in self.rollout(ticket, serving).played]
        self.num_env_steps_sampled_lifetime += sum(map(len, episodes))
        return episodes

    def get_spaces(self) -> dict[str, tuple[gym.Space, gym.Space]]:
        spaces = (self.env.observation_space, self.env.action_space)
        return {INPUT_ENV_SPACES: spaces, INPUT_ENV_SINGLE_SPACES: spaces, DEFAULT_MODULE_ID: spaces}

    def get_metrics(self) -> dict[str, Any]:
        return self.metrics.reduce()

    def get_state(self, components: Any = None, *, not_components: Any = None, **_: Any) -> dict[str, Any]:
        return {"weights_seq_no": self.version}

    def set_state(self, state: dict[str, Any]) -> None:
        """RLlib's weight sync. Only snapshots of this package are taken; anything else is the driver's own business."""
        weights = state.get("published_weights")
        if weights is not None:
            self._thread.submit(self._load, self.engine, weights).result(timeout=2 * _FETCH_TIMEOUT_S)

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        return (), {"config": self.config, "worker_index": self.worker_index, "num_workers": self.num_workers}

    def assert_healthy(self) -> None:
        """Raises what the engine's start raised."""
        _ = self.engine

    def stop(self) -> None:
        for prototype in self._prototypes.values():
            prototype.close()
        if self._starting.done() and self._starting.exception() is None:
            self._starting.result().close()
        self._thread.shutdown(wait=False, cancel_futures=True)
