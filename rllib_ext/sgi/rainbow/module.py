"""The networks of SGIRainbow: an Atari encoder, a noisy dueling C51 head, and SPR's dynamics and predictor beside them.

What a learner holds more than a rollout worker: dynamics, predictor, averages of encoder and first layers that SPR's
targets are made with (tau 0.01), and a target network. The published agent copies the network into its target after
every update, so that the target IS the network without its gradient; then none is kept, and the next states are encoded
once for both. A slower target (tau < 1, SR-SPR and BBF) is kept.

A forward pass of training does all that has parameters or randomness, and leaves nothing but arithmetic to the loss.

Shapes: B rows, K steps of SPR, A actions, N atoms, P projection, S = 4 frames of a stack.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from rllib_ext.functional.augmentation import augment
from rllib_ext.functional.categorical import expectation, support
from rllib_ext.sgi.dynamics import LatentDynamics
from rllib_ext.sgi.encoders import AtariEncoder
from rllib_ext.sgi.heads import DuelingC51, FirstLayers
from rllib_ext.sgi.noisy import NoisyLinear, sample_noise

LEARNT_ONLY = ("dynamics", "predictor", "average_encoder", "average_first", "target_encoder", "target_head")
STACK = 4


class RainbowModule(TorchRLModule, InferenceOnlyAPI):
    """``model_config``: the knobs of SGIRainbowConfig, resolved. Actions are counted from the action space."""

    def setup(self) -> None:
        config, self.actions = self.model_config, int(self.action_space.n)
        self.encoder = AtariEncoder(config["encoder"])
        linear: Any = partial(NoisyLinear, sigma_0=config["sigma_0"]) if config["noisy"] else nn.Linear
        first = FirstLayers(self.encoder.latent_dim, config["hidden"], linear)
        self.head = DuelingC51(first, self.actions, config["atoms"], linear)
        self.random = torch.Generator().manual_seed(0)  # of noise and augmentation; a learner seeds it
        if not self.inference_only:
            self.dynamics = LatentDynamics(self.encoder.channels, self.actions)
            self.predictor = nn.Linear(2 * config["hidden"], 2 * config["hidden"])
            self.make_averages()

    def make_averages(self) -> None:
        """Averages and targets that are the networks themselves, as they are now."""
        self.average_encoder = _frozen(self.encoder)
        plain = FirstLayers(
            self.encoder.latent_dim, self.model_config["hidden"]
        )  # means: projections have no noise
        self.average_first = plain.requires_grad_(False)
        if self.has_target:
            self.target_encoder, self.target_head = _frozen(self.encoder), _frozen(self.head)
        self.restart_averages()

    def restart_averages(self) -> None:
        """Let averages and targets be the networks again."""
        approach(self.average_encoder, self.encoder, 1.0)
        approach(self.average_first, self.head.first, 1.0)
        if self.has_target:
            self.restart_target()

    def restart_target(self) -> None:
        """Let the target be the network again."""
        approach(self.target_encoder, self.encoder, 1.0)
        approach(self.target_head, self.head, 1.0)

    @property
    def has_target(self) -> bool:
        """Whether the target is another network than the one that learns."""
        return self.model_config["target_tau"] < 1

    def get_non_inference_attributes(self) -> list[str]:
        return list(LEARNT_ONLY)

    # ----- acting

    def q_values(self, stacks_BSHW: Tensor) -> Tensor:
        """Expected returns (B, A) of byte stacks."""
        config = self.model_config
        logits_BAN = self.head(self.encoder(stacks_BSHW))
        return expectation(
            logits_BAN, support(-config["v_max"], config["v_max"], config["atoms"]).to(logits_BAN)
        )

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        """RLlib's inference: Q-values as the logits of a distribution whose mode is the greedy action."""
        return {"action_dist_inputs": self.q_values(batch["obs"])}

    # ----- learning

    def _forward_train(self, batch: dict[str, Tensor], **_: Any) -> dict[str, Tensor]:
        """Columns of `replay.Windows` -> logits of the state and of the next one, predictions and their targets."""
        steps = batch["frames"].shape[1] - STACK if self.model_config["spr_weight"] else 0
        sample_noise(self.head, self.random)
        latent = self._encoded(batch["frames"][:, :STACK])
        out = {"logits": self.head(latent), **self._next(self._augmented(batch["next_stack"]))}
        if steps:
            out["predictions"] = self._predicted(latent, batch["actions"])
            out["futures"] = self._futures(batch["frames"], steps)
        return out

    def _encoded(self, stacks_BSHW: Tensor) -> Tensor:
        frozen = self.model_config["freeze_encoder"]
        if frozen:  # it keeps its running statistics too
            self.encoder.eval(), self.average_encoder.eval()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            return self.encoder(self._augmented(stacks_BSHW))

    @torch.no_grad()
    def _next(self, frames_BSHW: Tensor) -> dict[str, Tensor]:
        """Logits at the state behind the return: to choose an action with, and to say what it is worth.

        The second has noise of its own. Layers keep what they drew for the first pass until this is called, so that the
        network chooses as it predicts.
        """
        latent = self.encoder(frames_BSHW)
        select = self.head(latent)
        if self.has_target:
            sample_noise(self.target_head, self.random)
            return {"select": select, "evaluate": self.target_head(self.target_encoder(frames_BSHW))}
        sample_noise(self.head, self.random)
        return {"select": select, "evaluate": self.head(latent)}

    def _predicted(self, latent: Tensor, actions_BK: Tensor) -> Tensor:
        """(B, K, P): what the dynamics make of the state, projected and predicted. Projections have no noise."""
        rolled = self.dynamics.roll_out(latent, actions_BK)[1:]
        projected = self.head.first.project(torch.cat(rolled))  # (K B, P), step by step
        return self.predictor(projected).unflatten(0, (len(rolled), -1)).transpose(0, 1)

    @torch.no_grad()
    def _futures(self, frames_BFHW: Tensor, steps: int) -> Tensor:
        """(B, K, P): projections of the states that came, each augmented by itself, by the averages."""
        stacks = torch.stack([frames_BFHW[:, k : k + STACK] for k in range(1, steps + 1)], dim=1)
        latents = self.average_encoder(self._augmented(stacks.flatten(0, 1)))
        return self.average_first.project(latents).unflatten(0, (-1, steps))

    def _augmented(self, stacks_BSHW: Tensor) -> Tensor:
        config = self.model_config
        if not config["augmentation"]:
            return stacks_BSHW
        return augment(stacks_BSHW, self.random, pad=config["shift_pad"], scale=config["intensity_scale"])

    # ----- averages

    @torch.no_grad()
    def follow(self) -> None:
        """One step of the averages and, where there is one, of the target."""
        tau = self.model_config["spr_tau"]
        approach(self.average_encoder, self.encoder, tau)
        approach(self.average_first, self.head.first, tau)
        if self.has_target:
            tau = self.model_config["target_tau"]
            approach(self.target_encoder, self.encoder, tau)
            approach(self.target_head, self.head, tau)


@torch.no_grad()
def approach(average: nn.Module, online: nn.Module, tau: float) -> None:
    """average <- (1 - tau) average + tau online, of every tensor that the average has; counters are copied.

    tau = 1 copies, to the bit; 0 changes nothing but counters.
    """
    theirs = online.state_dict(keep_vars=True)
    pairs = [
        (ours.detach(), theirs[name].detach()) for name, ours in average.state_dict(keep_vars=True).items()
    ]
    real = [pair for pair in pairs if pair[0].is_floating_point()]
    if tau == 1:
        torch._foreach_copy_([ours for ours, _ in real], [online for _, online in real])
    else:
        torch._foreach_lerp_([ours for ours, _ in real], [online for _, online in real], tau)
    for ours, counter in pairs:
        if not ours.is_floating_point():
            ours.copy_(counter)


def _frozen(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).requires_grad_(False)
