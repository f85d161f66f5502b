"""The learner of the negotiation game in the paper's mode: it deals games, plays them out, and learns by REINFORCE.

Optimizers are RLlib's, one for each agent's module. After an iteration both agents are judged on the same 640 fixed
games, greedily; their seed is the same in every run.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.learner.torch.torch_learner import TorchLearner

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
from rllib_ext.errors import NonFinite


class NegotiationLearner(TorchLearner):
    """TorchLearner on two negotiators."""

    def build(self) -> None:
        seed = self.config.seed or 0
        torch.manual_seed(seed)  # first weights are the seed's, whatever was made before them
        super().build()
        settings = dict(self.config.env_config or {})
        settings.pop("render_mode", None)
        self.core = NegotiationCore(self.config.games, **settings)
        self.test = NegotiationCore(TEST_GAMES, **settings)
        self.core.deal(seed)
        self.baselines, self.gradient_steps = [0.0, 0.0], 0
        self.generator = torch.Generator().manual_seed(seed)
        self.agents = [self.module[name].unwrapped().net for name in AGENTS]

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        params, rate = list(self.get_parameters(self._module[module_id])), self.config.negotiator_lr
        optimizer = torch.optim.Adam(params, lr=rate, fused=True)
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=params, lr_or_lr_schedule=rate
        )

    def compute_loss_for_module(self, **_: Any) -> Any:
        raise NotImplementedError("in the paper's mode nothing is learnt from batches; call play()")

    def play(self) -> dict[str, float]:
        """The updates of an iteration, and what the agents make of the fixed games after them (`bargaining.measures`).

        Beside that: train_A and train_B, mean rewards over all games played; games, their env_steps (turns), and the
        return of both agents together in the fixed games. Raises NonFinite where the objective is no number.
        """
        sums, turns = [0.0, 0.0], 0
        for _ in range(self.config.updates):
            self.core.deal()
            played = play(self.core, self.agents, self.generator)
            means = self._update(played)
            sums = [total + mean for total, mean in zip(sums, means, strict=True)]
            turns += int(played.turns_B.sum())
        self.test.deal(TEST_SEED)
        with torch.no_grad():
            judged = play(self.test, self.agents, None, greedy=True)
        trained = {
            f"train_{name}": total / self.config.updates for name, total in zip(AGENTS, sums, strict=True)
        }
        counted = {"games": self.config.updates * self.config.games, "env_steps": turns,
                   "return": float(judged.rewards_B2.sum(1).mean())}  # fmt: skip
        return {**trained, **measures(judged), **counted}

    def own_state(self) -> dict[str, Any]:
        """What the next update depends on beside weights, optimizers and the generator."""
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
        total = objective(played, self.baselines, coefficients)
        if not torch.isfinite(total):
            raise NonFinite(
                f"the objective of the negotiators is {float(total)} after {self.gradient_steps} updates; lower "
                "negotiator_lr"
            )
        optimizers = list(self._named_optimizers.values())
        for optimizer in optimizers:
            optimizer.zero_grad()
        total.backward()
        for optimizer in optimizers:
            optimizer.step()
        means = [float(mean) for mean in played.rewards_B2.mean(0)]
        self.baselines = [
            BASELINE_DECAY * before + (1 - BASELINE_DECAY) * mean
            for before, mean in zip(self.baselines, means, strict=True)
        ]
        self.gradient_steps += 1
        return means
