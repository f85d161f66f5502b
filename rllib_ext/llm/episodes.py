"""A finished conversation as an RLlib episode, and the reference texts' scores beside held-out ones."""

from __future__ import annotations

from typing import Any

from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from envs.text import Sample
from rllib_ext.llm.conversation import Conversation
from rllib_ext.llm.played import Played


def episode_of(item: Played) -> SingleAgentEpisode:
    """One step a turn. The score is the last step's reward (NaN: unscored); ``llm/env_runner.py`` lists the outputs."""
    turns = len(item.texts)
    rewards = [0.0] * (turns - 1) + [float("nan") if item.score is None else item.score]
    identity = {"epoch": item.epoch, "index": item.index}
    info = {**item.info, **identity, "score": item.score, "unscored": item.unscored}
    return SingleAgentEpisode(
        observations=list(item.observations),
        actions=list(item.texts),
        rewards=rewards,
        infos=[*({} for _ in range(turns)), info],
        terminated=not item.truncated,
        truncated=item.truncated,
        extra_model_outputs={
            "observation_ids": list(item.observation_ids),
            "token_ids": list(item.token_ids),
            "action_logp": list(item.logps),
            "weights_seq_no": [item.version] * turns,
            "finished": list(item.finished),
        },
        len_lookback_buffer=0,
    )


class ReferenceScores:
    """Scores of the data set's own texts, for win rates; each text is scored once."""

    def __init__(self) -> None:
        self._scores: dict[str, float | None] = {}

    def add(self, conversations: list[Conversation], reward: Any) -> None:
        """Put ``reference_score`` into the info of every conversation, unless the reward compares with the reference."""
        if reward is None or getattr(reward, "compares_with_reference", False):
            return
        tasks = {item.sample.task.id: item.sample.task for item in conversations if item.sample is not None}
        missing = {name: task for name, task in tasks.items() if task.reference and name not in self._scores}
        samples = [Sample(task, task.reference, (task.reference,)) for task in missing.values()]
        for name, outcome in zip(missing, reward.outcomes(samples) if samples else [], strict=True):
            self._scores[name] = outcome.score
        for item in conversations:
            name = item.sample.task.id if item.sample is not None else ""
            item.info = {**item.info, "reference_score": self._scores.get(name)}
