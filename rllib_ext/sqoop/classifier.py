"""From a map of features to two logits, for the module networks and FiLM; and the plain head of the other models."""

from __future__ import annotations

from torch import Tensor, nn

from rllib_ext.sqoop.stem import with_coordinates

ANSWERS = 2


class MapClassifier(nn.Module):
    """1 x 1 convolution, BatchNorm, ReLU, the maximum over the whole map, then two linear layers.

    The maximum asks whether something is anywhere, and forgets where. coordinates: two channels more at the input.
    """

    def __init__(self, channels: int, projection: int, hidden: int, *, coordinates: bool = False) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.project = nn.Sequential(
            nn.Conv2d(channels + 2 * coordinates, projection, 1),
            nn.BatchNorm2d(projection),
            nn.ReLU(inplace=True),
        )
        self.answer = nn.Sequential(
            nn.Linear(projection, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, ANSWERS),
        )

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        maps_BCHW = with_coordinates(maps_BCHW) if self.coordinates else maps_BCHW
        return self.answer(self.project(maps_BCHW).amax(dim=(2, 3)))


def plain_head(features: int, hidden: int) -> nn.Sequential:
    """Two linear layers with a ReLU between."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, ANSWERS))
