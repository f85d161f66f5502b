"""The networks of pretraining as one RLModule, and what a batch of windows makes of them.

Only what the chosen losses need is built, and only that is averaged:

    encoder, first_layers   always; their averages target_encoder, target_first_layers are the targets
    dynamics                S, I
    predictor               S
    inverse                 I
    goal_head               G; target_goal_head

One average serves both as SPR's target and as G's target network: both move by the same tau with every update. All target
stacks of a window, those of S and I, the two that rewards are measured between, and the goal's, go through the target
encoder in one call. Nothing is noisy: the released code sets its noise to zero here. Stacks in bfloat16 are computed with
in that precision, see ``precision``.

Shapes: B windows, K horizon, R target stacks a window, P projection, A actions, N atoms.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from rllib_ext.functional.goal_conditioned import GoalDraws, synthetic_goals
from rllib_ext.sgi.dynamics import LatentDynamics
from rllib_ext.sgi.encoders import AtariEncoder
from rllib_ext.sgi.heads import FirstLayers, GoalHead

ONLINE = ("encoder", "first_layers", "dynamics", "predictor", "inverse", "goal_head")
AVERAGED = ("encoder", "first_layers", "goal_head")
INVERSE_HIDDEN = 256


class SGIModule(TorchRLModule):
    """``model_config``: encoder, losses, horizon, hidden, predictor, atoms, bug_compat."""

    def setup(self) -> None:
        config = self.model_config
        actions, hidden = int(self.action_space.n), config["hidden"]
        self.losses, self.horizon = config["losses"], config["horizon"]
        self.encoder = AtariEncoder(config["encoder"])
        self.first_layers = FirstLayers(self.encoder.latent_dim, hidden)
        if set(self.losses) & {"S", "I"}:
            self.dynamics = LatentDynamics(self.encoder.channels, actions)
        if "S" in self.losses:
            self.predictor = _predictor(2 * hidden, config["predictor"])
        if "I" in self.losses:
            self.inverse = nn.Sequential(
                nn.Linear(4 * hidden, INVERSE_HIDDEN),
                nn.ReLU(inplace=True),
                nn.Linear(INVERSE_HIDDEN, actions),
            )
        if "G" in self.losses:
            self.goal_head = GoalHead(
                self.encoder.channels, hidden, actions, config["atoms"], bug_compat=config["bug_compat"]
            )
        for name in AVERAGED:
            if hasattr(self, name):
                setattr(self, f"target_{name}", copy.deepcopy(getattr(self, name)).requires_grad_(False))

    def averaged(self) -> tuple[list[Tensor], list[Tensor]]:
        """(targets, online): the tensors that are averaged, pairwise. Counters of batches are left out."""
        targets: list[Tensor] = []
        online: list[Tensor] = []
        for name in AVERAGED:
            if hasattr(self, name):
                pairs = zip(
                    getattr(self, f"target_{name}").state_dict().values(),
                    getattr(self, name).state_dict().values(),
                    strict=True,
                )
                floating = [(target, source) for target, source in pairs if target.is_floating_point()]
                targets += [target for target, _ in floating]
                online += [source for _, source in floating]
        return targets, online

    @torch.no_grad()
    def follow(self, tau: float) -> None:
        """target <- (1 - tau) target + tau online, weights and statistics of normalisations alike."""
        targets, online = self.averaged()
        torch._foreach_lerp_(targets, online, tau)

    # ----- RLModule

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Latents of stacks: what is of use outside of training."""
        return {"latents": self.encoder(batch["obs"])}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """online_BCHW, later_BRCHW, actions_BK -> what the losses compare, in float32; see the module's comment for R."""
        half = batch["online"].dtype == torch.bfloat16
        with torch.autocast(batch["online"].device.type, torch.bfloat16, enabled=half):
            out = self._compared(batch)
        return {name: value.float() for name, value in out.items()} if half else out

    def _compared(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        latents_BX = self.encoder(batch["online"])
        targets_BRX = self._targets(batch["later"])
        out = {"latents": latents_BX}
        own = "G" in self.losses  # the targets then begin with the anchor's own stack and end with the goal's
        if set(self.losses) & {"S", "I"}:
            later_BKX = targets_BRX[:, 1:-1] if own else targets_BRX
            out |= self._predicted(latents_BX, batch["actions"], later_BKX)
        if own:
            draws = GoalDraws(batch["goal_noise"], batch["goal_share"], batch["goal_source"])
            out |= self._goal_values(latents_BX, batch["later"][:, 1], targets_BRX, draws)
        return out

    @torch.no_grad()
    def _targets(self, later_BRCHW: Tensor) -> Tensor:
        return self.target_encoder(later_BRCHW.flatten(0, 1)).unflatten(0, later_BRCHW.shape[:2])

    def _predicted(self, latents_BX: Tensor, actions_BK: Tensor, later_BKX: Tensor) -> dict[str, Tensor]:
        """Projections of the roll-out, what S predicts from them, and what I tells from them."""
        batch, steps = actions_BK.shape
        needed = steps if "S" in self.losses else steps - 1  # I begins a step at o_{t+k}, which is predicted
        rolled = torch.stack(self.dynamics.roll_out(latents_BX, actions_BK[:, :needed]), dim=1)
        projected_BKP = self.first_layers.project(rolled.flatten(0, 1)).unflatten(0, (batch, needed + 1))
        with torch.no_grad():
            target_BKP = self.target_first_layers.project(later_BKX.flatten(0, 1)).unflatten(
                0, (batch, steps)
            )
        out = {"projections": projected_BKP[:, 0], "targets": target_BKP}
        if "S" in self.losses:
            out["predictions"] = self.predictor(projected_BKP[:, 1:].flatten(0, 1)).unflatten(
                0, (batch, steps)
            )
        if "I" in self.losses:
            ends_BKP2 = torch.cat([projected_BKP[:, :steps], target_BKP], dim=-1)
            out["inverse_logits"] = self.inverse(ends_BKP2)
        return out

    def _goal_values(
        self, latents_BX: Tensor, next_BCHW: Tensor, targets_BRX: Tensor, draws: GoalDraws
    ) -> dict[str, Tensor]:
        """Logits of Q(o_t, ., g), and of both networks at o_{t+1}; the latents that rewards are made of."""
        goals_BD = synthetic_goals(targets_BRX[:, -1], draws)
        conditions = self.goal_head.conditions(goals_BD)
        branches = self.first_layers(latents_BX)
        with torch.no_grad():
            online_next = self.first_layers(self.encoder(next_BCHW))
            target_next = self.target_first_layers(targets_BRX[:, 1])
            target_conditions = self.target_goal_head.conditions(goals_BD)
            ahead = {
                "goal_online_next": self.goal_head(online_next, conditions.detach()),
                "goal_target_next": self.target_goal_head(target_next, target_conditions),
            }
        projected = torch.cat([branch.detach() for branch in branches], dim=-1)
        return {
            "projections": projected, "goal_logits": self.goal_head(branches, conditions), **ahead,
            "goals": goals_BD, "now": targets_BRX[:, 0].flatten(1), "next": targets_BRX[:, 1].flatten(1),
        }  # fmt: skip


def _predictor(width: int, kind: str) -> nn.Module:
    if kind == "linear":
        return nn.Linear(width, width)
    wide = 2 * width
    return nn.Sequential(
        nn.Linear(width, wide), nn.BatchNorm1d(wide), nn.ReLU(inplace=True), nn.Linear(wide, width)
    )
