"""The learner of the circular game in the paper's mode: it draws targets, and judges the protocol exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from envs.games.sender_receiver import RECEIVER, SENDER, UNIT
from rllib_ext.emergent_comm.exact import Rules, judge, protocol_of, seen
from rllib_ext.emergent_comm.lola import look_ahead
from rllib_ext.emergent_comm.playing import PlayingLearner
from rllib_ext.emergent_comm.reinforce import Baseline, Round, play
from rllib_ext.functional.games import jensen_shannon


class CircleLearner(PlayingLearner):
    """PlayingLearner on a sender and a receiver."""

    advice = "sender_lr, receiver_lr or the rates of LOLA"

    def build(self) -> None:
        super().build()
        game = self.config.make_game()
        self.rules, self.reward_scale = Rules.of(game), game.reward_scale
        self.baseline = Baseline()
        self.sender, self.receiver = self.net(SENDER), self.net(RECEIVER)
        self.initial = self.previous = protocol_of(self.sender, self.rules)

    def rate_of(self, agent: str) -> float:
        return self.config.sender_lr if agent == SENDER else self.config.receiver_lr

    def play(self) -> dict[str, float]:
        """The updates of an iteration, and what the protocol is worth after them (`exact.judge`).

        Beside that: train_sender_loss and train_receiver_loss, means over all games played, the mean entropy; with a
        discrete channel the drift since the last iteration and drift_initial, since the first weights; games, their
        env_steps (two a game), and the return of both agents together.
        """
        self._switch()
        shape = self.config.updates, self.config.games
        targets_UB = torch.rand(shape, generator=self.generator) * 360.0
        seen_UBO = seen(targets_UB, self.rules)
        sums = torch.zeros(3)
        for targets_B, seen_BO in zip(targets_UB, seen_UBO, strict=True):
            found = self._round(targets_B, seen_BO)
            self.descend(found.sender_objective + found.receiver_objective)
            self.baseline.add(float(found.sender_B.mean()) / UNIT)
            sums += torch.stack([found.sender_B.mean(), found.receiver_B.mean(), found.entropy])
        means = (sums / shape[0]).tolist()
        trained = dict(zip(("train_sender_loss", "train_receiver_loss", "entropy"), means, strict=True))
        judged = judge(self.sender, self.receiver, self.rules)
        games = shape[0] * shape[1]
        counted = {"games": games, "env_steps": 2 * games, "return": -self.reward_scale * judged["loss_sum"]}
        return {**trained, **judged, **self._drift(), **counted}

    def _switch(self) -> None:
        """The bias that this iteration is played under."""
        after, updates = self.config.switch_after, self.config.updates
        if after is not None and self.gradient_steps >= after * updates:
            self.rules = replace(self.rules, bias=self.config.switch_bias)

    def _drift(self) -> dict[str, float]:
        """Jensen-Shannon divergence of what the sender says of a target now and before, bits, mean over targets."""
        now = protocol_of(self.sender, self.rules)
        if now is None or self.previous is None or self.initial is None:
            return {}
        found = {"drift": self.previous, "drift_initial": self.initial}
        self.previous = now
        return {name: float(jensen_shannon(now, before).mean()) for name, before in found.items()}

    def own_state(self) -> dict[str, Any]:
        return {"baseline": [self.baseline.total, self.baseline.count]}

    def own_tensors(self) -> dict[str, torch.Tensor]:
        if self.initial is None or self.previous is None:
            return {}
        return {"initial": self.initial, "previous": self.previous}

    def load_own_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        self.initial, self.previous = tensors.get("initial"), tensors.get("previous")

    def load_own_state(self, state: dict[str, Any]) -> None:
        self.baseline = Baseline(*state["baseline"])

    def _round(self, targets_B: torch.Tensor, seen_BO: torch.Tensor) -> Round:
        """One batch of games."""
        settings = {
            "baseline": self.baseline.value,
            "entropy_coeff": self.config.sender_entropy_coeff,
            "generator": self.generator,
        }
        games = self.sender, self.receiver, targets_B, seen_BO, self.rules
        if self.config.lola == "none":
            return play(*games, **settings)
        return look_ahead(*games, config=self.config, **settings)
