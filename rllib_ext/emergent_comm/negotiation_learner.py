"""The learner of the negotiation game in the paper's mode: it deals games, plays them out, and learns by REINFORCE.

After an iteration both agents are judged on the same 640 fixed games, greedily; their seed is the same in every run.
"""

from __future__ import annotations

from typing import Any

import torch

from envs.games.negotiation import AGENTS
from envs.games.negotiation_core import NegotiationCore
from rllib_ext.emergent_comm.bargaining import (
    BASELINE_DECAY,
    TEST_GAMES,
    TEST_SEED,
    Played,
    measures,
    objective,
    play,
)
from rllib_ext.emergent_comm.playing import PlayingLearner


class NegotiationLearner(PlayingLearner):
    """PlayingLearner on two negotiators."""

    advice = "negotiator_lr"

    def build(self) -> None:
        super().build()
        settings = dict(self.config.env_config or {})
        settings.pop("render_mode", None)
        self.core = NegotiationCore(self.config.games, **settings)
        self.test = NegotiationCore(TEST_GAMES, **settings)
        self.core.deal(self.config.seed or 0)
        self.baselines = [0.0, 0.0]
        self.agents = [self.net(name) for name in AGENTS]

    def rate_of(self, agent: str) -> float:
        return self.config.negotiator_lr

    def play(self) -> dict[str, float]:
        """The updates of an iteration, and what the agents make of the fixed games after them (`bargaining.measures`).

        Beside that: train_A and train_B, mean rewards over all games played; games, their env_steps (turns), and the
        return of both agents together in the fixed games.
        """
        updates, sums, turns = self.config.updates, [0.0, 0.0], 0
        for _ in range(updates):
            self.core.deal()
            played = play(self.core, self.agents, self.generator)
            means = self._update(played)
            sums = [total + mean for total, mean in zip(sums, means, strict=True)]
            turns += int(played.turns_B.sum())
        self.test.deal(TEST_SEED)
        with torch.no_grad():
            judged = play(self.test, self.agents, None, greedy=True)
        trained = {f"train_{name}": total / updates for name, total in zip(AGENTS, sums, strict=True)}
        counted = {"games": updates * self.config.games, "env_steps": turns,
                   "return": float(judged.rewards_B2.sum(1).mean())}  # fmt: skip
        return {**trained, **measures(judged), **counted}

    def own_state(self) -> dict[str, Any]:
        return {"baselines": self.baselines, "deals": self.core.rng.bit_generator.state}

    def load_own_state(self, state: dict[str, Any]) -> None:
        self.baselines = list(state["baselines"])
        self.core.rng.bit_generator.state = state["deals"]

    def _update(self, played: Played) -> list[float]:
        """One step of both optimizers; the mean rewards of A and B."""
        config = self.config
        coefficients = {
            "terminate": config.terminate_entropy_coeff, "proposal": config.proposal_entropy_coeff,
            "utterance": config.utterance_entropy_coeff,
        }  # fmt: skip
        self.descend(objective(played, self.baselines, coefficients))
        means = [float(mean) for mean in played.rewards_B2.mean(0)]
        self.baselines = [
            BASELINE_DECAY * before + (1 - BASELINE_DECAY) * mean
            for before, mean in zip(self.baselines, means, strict=True)
        ]
        return means
