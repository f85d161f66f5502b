"""Senders, receivers and negotiators as RLModules: what RLlib's rollout workers act with, and what the learner trains.

Each agent is a module of its own, with its own optimizer. Actions come straight from the module: a message is drawn, an
answer is an answer.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium.spaces import Discrete
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch import TorchRLModule

from rllib_ext.emergent_comm.agents import make_receiver, make_sender
from rllib_ext.emergent_comm.negotiators import Negotiator, Sizes

READS = {"pool": "pool", "utility": "utility", "proposal": "opp_proposal", "utterance": "opp_utterance"}


class SenderModule(TorchRLModule):
    """``net`` of the sender. model_config: sender_hidden, log_variance."""

    def setup(self) -> None:
        space, config = self.action_space, self.model_config
        channel = "discrete" if isinstance(space, Discrete) else "continuous"
        size = int(space.n) if channel == "discrete" else int(space.shape[0])
        self.net = make_sender(
            channel, self.observation_space.shape[0], config["sender_hidden"], size, config["log_variance"]
        )

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        message, _, _ = self.net.speak(self.net(batch[Columns.OBS].float()), torch.default_generator)
        return {Columns.ACTIONS: message}


class ReceiverModule(TorchRLModule):
    """``net`` of the receiver. model_config: receiver_hidden. Of a message that was not said yet it is never asked."""

    def setup(self) -> None:
        space = self.observation_space
        self.discrete = isinstance(space, Discrete)
        size = int(space.n) - 1 if self.discrete else int(space.shape[0]) - 1
        channel = "discrete" if self.discrete else "continuous"
        self.net = make_receiver(channel, self.model_config["receiver_hidden"], size)

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        heard = batch[Columns.OBS]
        said = heard.long() if self.discrete else heard.float()[..., :-1]
        return {Columns.ACTIONS: self.net(said)[..., None]}


class NegotiatorModule(TorchRLModule):
    """``net`` of a negotiator. model_config: encoder, sizes. Explores by its own distributions, infers greedily."""

    def setup(self) -> None:
        self.net = Negotiator(Sizes(**self.model_config["sizes"]), self.model_config["encoder"])

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        return self._decide(batch, greedy=False)

    def _forward_inference(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        return self._decide(batch, greedy=True)

    def _decide(self, batch: dict[str, Any], greedy: bool) -> dict[str, Any]:
        seen = {name: batch[Columns.OBS][key].long() for name, key in READS.items()}
        seen["first"] = batch[Columns.OBS]["first_turn"].bool()
        found = self.net(seen, None, greedy)
        action = {"proposal": found.proposal_BI, "utterance": found.utterance_BU}
        if self.net.sizes.accepts:
            action["terminate"] = found.terminate_B.long()
        return {Columns.ACTIONS: action}
