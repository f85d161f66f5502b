"""What message heads learn from, one function a method: (weighted loss of each agent, what is reported of each).

All get the outputs of one forward pass (agents first, rows (environment, step)) and the batch they came from. Losses are
per agent, so that the learner can add them where agents are independent; no term of one agent reaches another's
parameters, since what an agent has received is a constant.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rllib_ext.contrastive_comm.module import agents_first
from rllib_ext.functional.contrastive import message_pairs, supcon
from rllib_ext.functional.listening import positive_listening

Loss = tuple[Tensor, dict[str, Tensor]]
COEFFICIENTS = {"cacl": 0.5, "aecomm": 1.0}


def message_loss(config: Any, module: Any, batch: dict[str, Tensor], out: dict[str, Tensor]) -> Loss:
    """The loss that ``comm`` names, (A,), weighted; zeros for methods without one."""
    kind = config.comm.removesuffix("+dial")
    if kind == "positive_listening":
        return listening_loss(config, module, batch, out)
    if kind not in COEFFICIENTS:
        return out["messages"].new_zeros(module.agents), {}
    weight = COEFFICIENTS[kind] if config.comm_coeff is None else config.comm_coeff
    loss_A, reported = (contrastive_loss if kind == "cacl" else autoencoding_loss)(config, module, batch, out)
    return weight * loss_A, reported


def contrastive_loss(config: Any, module: Any, batch: dict[str, Tensor], out: dict[str, Tensor]) -> Loss:
    """CACL: every agent contrasts its own messages, with gradient, and those it has received, without.

    A message received at a step was sent at the one before. Rows that do not fit into ``max_messages`` are left out: the
    rows of a mini-batch come in random order.
    """
    said, known, trajectory, time = known_messages(config, module, batch, out["messages"])
    positives, candidates = message_pairs(trajectory, time, window=config.window, negatives=config.negatives)
    loss_AM, anchor_AM = supcon(said, known, positives, candidates, config.temperature)
    count_A = anchor_AM.sum(dim=-1)
    loss_A = loss_AM.sum(dim=-1) / count_A.clamp(min=1)
    return loss_A, {"cacl_loss": loss_A.detach(), "cacl_anchors": count_A.float()}


def known_messages(
    config: Any, module: Any, batch: dict[str, Tensor], messages_ARD: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(messages (A, M, D), validity (A, M), trajectory (M,), time (M,)) of what each agent knows.

    At every step its own message, then what it heard, which is of the step before.
    """
    rows, steps, agents = batch["first"].shape
    kept = min(rows, max(2, config.max_messages // (steps * agents)))
    own_ABTD = messages_ARD.view(agents, rows, steps, -1)[:, :kept]
    heard_ABTJD = batch["inbox"][:kept].permute(2, 0, 1, 3).unflatten(-1, (agents - 1, module.message_dim))
    said = torch.cat([own_ABTD.unsqueeze(3), heard_ABTJD], dim=3)
    own_known = batch["active"][:kept].permute(2, 0, 1).unsqueeze(-1)
    known = torch.cat([own_known, batch["arrived"][:kept].permute(2, 0, 1, 3)], dim=3)
    delay = (torch.arange(agents, device=said.device) > 0).long()
    trajectory = batch["trajectory"][:kept, :, None].expand(-1, -1, agents)
    time = batch["time"][:kept, :, None] - delay
    return (
        said.reshape(agents, -1, module.message_dim),
        known.reshape(agents, -1),
        trajectory.reshape(-1),
        time.reshape(-1),
    )


def autoencoding_loss(config: Any, module: Any, batch: dict[str, Tensor], out: dict[str, Tensor]) -> Loss:
    """AEComm (Lin et al. 2021): mean squared error of the observation's encoding, decoded from the message.

    The encoding is a target and an input, not something that learns to be easy. The decoder is used for nothing else.
    """
    squared_AR = (module.decoder(out["messages"]) - out["encodings"].detach()).square().mean(dim=-1)
    active_AR = agents_first(batch["active"].unsqueeze(-1)).squeeze(-1)
    loss_A = masked(squared_AR, active_AR)
    return loss_A, {"aecomm_loss": loss_A.detach()}


def listening_loss(config: Any, module: Any, batch: dict[str, Tensor], out: dict[str, Tensor]) -> Loss:
    """Positive listening: the policy against itself with the inbox of this step emptied, from the same memory.

    Only steps at which something was heard; speakers learn nothing from it.
    """
    inbox = agents_first(batch["inbox"])
    inputs = module.listen(out["encodings"], torch.zeros_like(inbox))
    deaf = module.gru.step(module.gru.from_input(inputs), out["before"])
    deaf_logits, _ = module.act(deaf, agents_first(batch["masks"]))
    distance, imitation = positive_listening(out["action_dist_inputs"], deaf_logits)
    heard = agents_first((batch["active"] & batch["arrived"].any(dim=-1)).unsqueeze(-1)).squeeze(-1)
    distance_A, imitation_A = masked(distance, heard), masked(imitation, heard)
    loss_A = config.listening_coeff * distance_A + config.listening_ce_coeff * imitation_A
    return loss_A, {"listening_distance": -distance_A.detach(), "listening_imitation": imitation_A.detach()}


def masked(values_AR: Tensor, mask_AR: Tensor) -> Tensor:
    """Mean of each agent's values where the mask is, (A,); 0 where it is nowhere."""
    return (values_AR * mask_AR).sum(dim=-1) / mask_AR.sum(dim=-1).clamp(min=1)
