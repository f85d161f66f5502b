"""The convolutions that every model begins with: from pixels to a map of features.

n layers of 3 x 3 convolution without bias, BatchNorm, ReLU, and a 2 x 2 max-pool behind the layers that are listed. Six
layers that pool behind layers 1 and 3 (counted from 0) make 16 x 16 of 64 x 64 pixels.

Source: Bahdanau et al. 2019 (arXiv 1811.12889) and its released code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rllib_ext.errors import BadConfig


def coordinates(maps_BCHW: Tensor) -> Tensor:
    """(B, 2, H, W): column and row of every place, each from -1 to 1."""
    batch, _, height, width = maps_BCHW.shape
    rows = torch.linspace(-1, 1, height, device=maps_BCHW.device, dtype=maps_BCHW.dtype)
    columns = torch.linspace(-1, 1, width, device=maps_BCHW.device, dtype=maps_BCHW.dtype)
    grid = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])
    return grid.expand(batch, 2, height, width)


def with_coordinates(maps_BCHW: Tensor) -> Tensor:
    """The map with two channels more."""
    return torch.cat([maps_BCHW, coordinates(maps_BCHW)], dim=1)


class ConvStem(nn.Module):
    """(B, H, W, C) uint8 -> (B, channels_out, H / 2^pools, W / 2^pools).

    channels: of all layers but the last. coordinates: two more channels at the input.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        layers: int,
        pools: Sequence[int],
        channels: int,
        channels_out: int,
        coordinates: bool = False,
    ) -> None:
        super().__init__()
        height, width, colours = image_shape
        if min(height, width) >> len(pools) < 1:
            raise BadConfig(
                f"an image of {height} x {width} pixels is halved {len(pools)} times by this stem and nothing is left; "
                "give larger images, or the size that is made for them (mini: 24 pixels, paper: 64)"
            )
        self.coordinates = coordinates
        self.side = (height >> len(pools), width >> len(pools))
        widths = [colours + 2 * coordinates, *[channels] * (layers - 1), channels_out]
        parts: list[nn.Module] = []
        for layer in range(layers):
            parts.append(nn.Conv2d(widths[layer], widths[layer + 1], 3, padding=1, bias=False))
            parts += [nn.BatchNorm2d(widths[layer + 1]), nn.ReLU(inplace=True)]
            if layer in pools:
                parts.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*parts)

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.permute(0, 3, 1, 2).to(self.layers[0].weight.dtype) / 255.0  # type: ignore[arg-type]
        return self.layers(with_coordinates(pixels) if self.coordinates else pixels)
