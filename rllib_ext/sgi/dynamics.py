"""The dynamics of latents: what SPR predicts the next encodings with.

Sources: Schwarzer et al. 2021 (SPR), section 2; the released code of SGI for the layers. The latent and the action, as
planes of zeros and ones, pass through two convolutions; the result is renormalised like an encoding. No residual
connection and no further blocks, as in every published setting.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rllib_ext.functional.renormalisation import renormalise

__all__ = ["LatentDynamics"]


class LatentDynamics(nn.Module):
    """h(z, a): (B, channels, 7, 7) and integers (B,) -> (B, channels, 7, 7) in [0, 1)."""

    def __init__(self, channels: int, actions: int) -> None:
        super().__init__()
        self.actions = actions
        self.first = nn.Conv2d(channels + actions, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, latents_BCHW: Tensor, actions_B: Tensor) -> Tensor:
        planes_BA11 = F.one_hot(actions_B.long(), self.actions).to(latents_BCHW)[:, :, None, None]
        planes_BAHW = planes_BA11.expand(-1, -1, *latents_BCHW.shape[-2:])
        hidden = F.relu(self.first(torch.cat([latents_BCHW, planes_BAHW], dim=1)), inplace=True)
        return renormalise(F.relu(self.second(self.norm(hidden)), inplace=True))

    def roll_out(self, latents_BCHW: Tensor, actions_BK: Tensor) -> list[Tensor]:
        """[z_0, z_1, .., z_K]: the given latents, and what each action in turn makes of them."""
        rolled = [latents_BCHW]
        for actions_B in actions_BK.unbind(dim=1):
            rolled.append(self(rolled[-1], actions_B))
        return rolled
