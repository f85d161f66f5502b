"""The learner of the circular game in the paper's mode: it plays and learns in one place.

RLlib's learners get batches that somebody else has sampled. Here the receiver's gradient goes through its own answer and
every update has fresh games, so a batch would be nothing but targets: the learner draws them. One call plays as many
updates as an iteration has; optimizers are RLlib's, one for each agent's module.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.learner.torch.torch_learner import TorchLearner

from envs.games.sender_receiver import RECEIVER, SENDER, UNIT
from rllib_ext.emergent_comm.exact import Rules, judge, seen
from rllib_ext.emergent_comm.lola import look_ahead
from rllib_ext.emergent_comm.reinforce import Baseline, Round, play
from rllib_ext.errors import NonFinite


class CircleLearner(TorchLearner):
    """TorchLearner on a sender and a receiver."""

    def build(self) -> None:
        torch.manual_seed(
            self.config.seed or 0
        )  # first weights are the seed's, whatever was made before them
        super().build()
        self.baseline, self.gradient_steps = Baseline(), 0
        self.generator = torch.Generator().manual_seed(self.config.seed or 0)
        game = self.config.make_game()
        self.rules, self.reward_scale = Rules.of(game), game.reward_scale
        self.sender, self.receiver = (self.module[name].unwrapped().net for name in (SENDER, RECEIVER))

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        params = list(self.get_parameters(self._module[module_id]))
        rate = self.config.sender_lr if module_id == SENDER else self.config.receiver_lr
        optimizer = torch.optim.Adam(params, lr=rate, fused=True)
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=params, lr_or_lr_schedule=rate
        )

    def compute_loss_for_module(self, **_: Any) -> Any:
        raise NotImplementedError("in the paper's mode nothing is learnt from batches; call play()")

    def play(self) -> dict[str, float]:
        """The updates of an iteration, and what the protocol is worth after them (`exact.judge`).

        Beside that: train_sender_loss and train_receiver_loss, means over all games played, the mean entropy; games,
        their env_steps (two a game), and the return of both agents together. Raises NonFinite, before any optimizer
        moves, where an objective is no number.
        """
        config = self.config
        shape = config.updates, config.games
        targets_UB = torch.rand(shape, generator=self.generator) * 360.0
        seen_UBO = seen(targets_UB, self.rules)
        sums = torch.zeros(3)
        for targets_B, seen_BO in zip(targets_UB, seen_UBO, strict=True):
            found = self._update(targets_B, seen_BO)
            sums += torch.stack([found.sender_B.mean(), found.receiver_B.mean(), found.entropy])
        means = (sums / shape[0]).tolist()
        trained = dict(zip(("train_sender_loss", "train_receiver_loss", "entropy"), means, strict=True))
        judged = judge(self.sender, self.receiver, self.rules)
        games = shape[0] * shape[1]
        counted = {"games": games, "env_steps": 2 * games, "return": -self.reward_scale * judged["loss_sum"]}
        return {**trained, **judged, **counted}

    def own_state(self) -> dict[str, Any]:
        """What the next update depends on beside weights, optimizers and the generator."""
        return {"baseline": [self.baseline.total, self.baseline.count]}

    def load_own_state(self, state: dict[str, Any]) -> None:
        self.baseline = Baseline(*state["baseline"])

    def _update(self, targets_B: torch.Tensor, seen_BO: torch.Tensor) -> Round:
        """One batch of games, one step of both optimizers."""
        settings = {"baseline": self.baseline.value, "entropy_coeff": self.config.sender_entropy_coeff}
        if self.config.lola == "none":
            found = play(
                self.sender,
                self.receiver,
                targets_B,
                seen_BO,
                self.rules,
                generator=self.generator,
                **settings,
            )
        else:
            found = look_ahead(
                self.sender, self.receiver, targets_B, seen_BO, self.rules, generator=self.generator,
                config=self.config, **settings,
            )  # fmt: skip
        total = found.sender_objective + found.receiver_objective
        if not torch.isfinite(total):
            raise NonFinite(
                f"the objectives of sender and receiver are {found.sender_objective.item()} and "
                f"{found.receiver_objective.item()} after {self.gradient_steps} updates; lower sender_lr, receiver_lr "
                "or the rates of LOLA"
            )
        optimizers = list(self._named_optimizers.values())
        for optimizer in optimizers:
            optimizer.zero_grad()
        total.backward()
        for optimizer in optimizers:
            optimizer.step()
        self.baseline.add(float(found.sender_B.mean()) / UNIT)
        self.gradient_steps += 1
        return found
