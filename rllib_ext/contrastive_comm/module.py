"""One RLModule that holds every agent's policy, memory and message head, evaluated side by side.

A message is a function of what its sender observes now, m = sigmoid(head(encoding(observation))), not of its memory nor
of what it heard. Policy and value come from a memory over the encodings of the observation and of the inbox. The inbox is
a plain observation: no gradient goes through it to a sender, unless the method says so (``dial``).

Sources: CACL (2024) and its workshop predecessor (2022), appendix, for the architecture. Left out: binary messages.

Shapes: A agents, B environments, T steps, O observation, D message, W = (A - 1) D what is heard, N actions, H memory.
Batches come with environments first, (B, T, A, ...); inside, agents go first.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from rllib_ext.contrastive_comm.networks import ACTIVATIONS, AgentGRU, AgentLinear, head, two_layers
from rllib_ext.contrastive_comm.passing import heard_from

POLICY_GAIN = 0.1  # the first policy is nearly uniform


class CommModule(TorchRLModule):
    """The networks of A agents. ``model_config``: the knobs, and ``agents``, ``observation``, ``actions`` (counts)."""

    def setup(self) -> None:
        config = self.model_config
        self.agents, self.actions = config["agents"], config["actions"]
        sets = 1 if config["share_parameters"] else self.agents
        hidden, act = config["hidden"], config["activation"]
        self.memory = hidden
        self.indicator = config["agent_indicator"]
        self.differentiable = "dial" in config["comm"]
        self.message_dim = 0 if config["comm"] == "none" else config["message_dim"]
        observed = config["observation"] + (self.agents if self.indicator else 0)
        heard = (self.agents - 1) * self.message_dim
        self.observation_encoder = two_layers(sets, observed, hidden, hidden, act)
        self.inbox_encoder = (
            two_layers(sets, heard, hidden, config["message_encoding"], act) if heard else None
        )
        self.gru = AgentGRU(sets, hidden + (config["message_encoding"] if heard else 0), hidden)
        spectral = config["spectral_norm"]
        self.policy_head = head(sets, hidden, hidden, self.actions, act, spectral, POLICY_GAIN)
        self.value_head = head(sets, hidden, hidden, 1, act, spectral, 1.0)
        self.message_head = self.decoder = None
        if self.message_dim:
            self.message_head = nn.Sequential(
                AgentLinear(sets, hidden, hidden),
                ACTIVATIONS[act](),
                AgentLinear(sets, hidden, self.message_dim),
            )
            if config["comm"] in ("random", "positive_listening"):  # nothing that they learn from
                self.message_head.requires_grad_(False)
        if "aecomm" in config["comm"]:
            self.decoder = nn.Sequential(
                AgentLinear(sets, self.message_dim, hidden),
                ACTIVATIONS[act](),
                AgentLinear(sets, hidden, hidden),
            )

    def get_initial_state(self) -> dict[str, Any]:
        """Nothing is remembered yet: (A, H) zeros."""
        return {"memory": torch.zeros(self.agents, self.memory).numpy()}

    # ----- pieces, agents first

    def encode(self, observations_ARO: Tensor) -> Tensor:
        """Observations -> (A, R, H)."""
        if self.indicator:
            who = torch.eye(self.agents).unsqueeze(1).expand(-1, observations_ARO.shape[1], -1)
            observations_ARO = torch.cat([observations_ARO, who.to(observations_ARO)], dim=-1)
        return self.observation_encoder(observations_ARO)

    def speak(self, encodings_ARH: Tensor, detached: bool = True) -> Tensor:
        """Encodings -> messages in (0, 1), (A, R, D); ``detached``: the encoder learns nothing from them."""
        if self.message_head is None:
            return encodings_ARH.new_zeros(*encodings_ARH.shape[:2], 0)
        return self.message_head(encodings_ARH.detach() if detached else encodings_ARH).sigmoid()

    def listen(self, encodings_ARH: Tensor, inbox_ARW: Tensor) -> Tensor:
        """What goes into memory: the observation's encoding, and the inbox's beside it where there is a channel."""
        if self.inbox_encoder is None:
            return encodings_ARH
        return torch.cat([encodings_ARH, self.inbox_encoder(inbox_ARW)], dim=-1)

    def act(self, memory_ARH: Tensor, masks_ARN: Tensor) -> tuple[Tensor, Tensor]:
        """(logits (A, R, N), values (A, R)) of memories; illegal actions have the lowest logit there is."""
        logits = self.policy_head(memory_ARH)
        logits = logits.masked_fill(~masks_ARN, torch.finfo(logits.dtype).min)
        return logits, self.value_head(memory_ARH).squeeze(-1)

    # ----- RLModule

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Stretches of (B, T, A, ...) columns; see `columns`. Outputs agents first, rows (environment, step)."""
        rows, steps, agents = batch["first"].shape
        flat = {name: agents_first(batch[name]) for name in (Columns.OBS, "inbox", "masks")}
        encodings = self.encode(flat[Columns.OBS])
        detached = not (self.differentiable or self.model_config["grad_into_encoder"])
        messages = self.speak(encodings, detached)
        inbox = self._live_inbox(batch, messages) if self.differentiable and self.training else flat["inbox"]
        inputs = self.listen(encodings, inbox).view(agents, rows, steps, -1)
        first_ABT = batch["first"].permute(2, 0, 1)
        before, after = self.gru(inputs, batch["memory"].transpose(0, 1), first_ABT)
        logits, values = self.act(after.flatten(1, 2), flat["masks"])
        return {
            Columns.ACTION_DIST_INPUTS: logits, Columns.VF_PREDS: values, "messages": messages, "encodings": encodings,
            "before": before.flatten(1, 2), "memory": after[:, :, -1],
        }  # fmt: skip

    def _live_inbox(self, batch: dict[str, Any], messages_ARD: Tensor) -> Tensor:
        """The inbox with this pass's messages in place of the recorded ones, so that listeners' gradients reach speakers.

        A message is heard one step later; what was heard at the first step of a stretch is older than it and stays.
        """
        rows, steps, agents = batch["first"].shape
        said_BTAD = messages_ARD.view(agents, rows, steps, -1).permute(1, 2, 0, 3)
        change_BTAW = heard_from(said_BTAD - batch["said"])[
            :, :-1
        ]  # noise of the way stays in what was heard
        arrived = batch["arrived"][:, 1:].repeat_interleave(self.message_dim, dim=-1)
        later = batch["inbox"][:, 1:] + torch.where(arrived, change_BTAW, 0.0)
        return agents_first(torch.cat([batch["inbox"][:, :1], later], dim=1))


def agents_first(column_BTAX: Tensor) -> Tensor:
    """(B, T, A, X) -> (A, B T, X)."""
    return column_BTAX.flatten(0, 1).transpose(0, 1)
