"""The three sizes of Atari encoder of SGI (Schwarzer et al. 2021, "Pretraining Representations for Data-Efficient RL").

    S     the Nature DQN's three convolutions                          64 x 7 x 7      77,984 parameters
    S-BN  the same with batch normalisation                            64 x 7 x 7      78,304
    M     3 groups of 3 inverted residual blocks, expansion 2          64 x 7 x 7     136,472
    L     3 groups of 5, expansion 4, 1.5 times the channels           96 x 7 x 7     893,104

In: stacks of four 84 x 84 frames as bytes (B, 4, 84, 84), or floats of about [0, 1] (augmented ones). Out: a latent that
is renormalised to [0, 1] sample by sample.

Left out: the IMPALA encoder of later work (BBF).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rllib_ext.functional.renormalisation import renormalise

__all__ = ["LATENT", "SIZES", "AtariEncoder", "latent_size"]

#: name → (width, expansion, blocks a group); width and expansion are of the residual encoders.
RESIDUAL = {"M": ((32, 64, 64), 2, 3), "L": ((48, 96, 96), 4, 5)}
SIZES = ("S", "S-BN", "M", "L")
LATENT = 7  # height and width of every latent
STRIDES = (3, 2, 2)  # 84 -> 28 -> 14 -> 7


def latent_size(size: str) -> int:
    """Numbers in a latent of an encoder of this size."""
    return (RESIDUAL[size][0][-1] if size in RESIDUAL else 64) * LATENT**2


class AtariEncoder(nn.Module):
    """One of `SIZES`; ``channels`` of its latent, ``latent_dim`` numbers in it."""

    def __init__(self, size: str = "S", frames: int = 4) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"AtariEncoder: size is {size!r}; it must be one of {', '.join(SIZES)}")
        self.size = size
        self.layers = (
            _residual(frames, *RESIDUAL[size]) if size in RESIDUAL else _nature(frames, size == "S-BN")
        )
        self.latent_dim = latent_size(size)
        self.channels = self.latent_dim // LATENT**2

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """(B, 4, 84, 84) bytes or floats -> (B, channels, 7, 7) in [0, 1)."""
        if frames_BCHW.dtype == torch.uint8:
            # in place: a second array of floats costs as much as a layer
            frames_BCHW = frames_BCHW.to(self._dtype()).div_(255.0)
        return renormalise(self.layers(frames_BCHW))

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def _nature(frames: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after, kernel, stride in ((frames, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1)):
        layers.append(nn.Conv2d(before, after, kernel, stride))
        layers += [nn.BatchNorm2d(after)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _residual(frames: int, widths: tuple[int, ...], expansion: int, blocks: int) -> nn.Sequential:
    depth = len(widths) * blocks
    groups, before = [], frames
    for width, stride in zip(widths, STRIDES, strict=True):
        for index in range(blocks):
            groups.append(InvertedResidual(before, width, stride if index == 0 else 1, expansion, depth))
            before = width
    return nn.Sequential(*groups)


class InvertedResidual(nn.Module):
    """identity + project(depthwise(expand(x))), the identity through a strided convolution where the size changes.

    Weights are drawn so that activations neither grow nor fade over ``depth`` blocks (after Fixup): of variance
    2 / (C_out k k), their deviation smaller by depth^(1/4) within the branch; the scale of the last normalisation begins
    at 0, so a block begins as its identity. No activation follows the sum.
    """

    def __init__(self, before: int, after: int, stride: int, expansion: int, depth: int) -> None:
        super().__init__()
        hidden = before * expansion
        self.branch = nn.Sequential(
            nn.Conv2d(before, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True),
            nn.Conv2d(hidden, after, 1), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.identity: nn.Module = nn.Identity()
        if stride != 1:
            self.identity = nn.Conv2d(before, after, stride, stride)
            _draw(self.identity, 1.0)
        for layer in self.branch:
            if isinstance(layer, nn.Conv2d):
                _draw(layer, depth**-0.25)
        nn.init.zeros_(self.branch[-1].weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.identity(x_BCHW) + self.branch(x_BCHW)


def _draw(layer: nn.Conv2d, scale: float) -> None:
    fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
    nn.init.normal_(layer.weight, std=scale * (2.0 / fan_out) ** 0.5)
    nn.init.zeros_(layer.bias)
