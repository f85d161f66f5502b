"""A batch of questions about pictures, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.sqoop.vocabulary import Ints


@dataclass(frozen=True)
class Scenes:
    """N examples.

    image       uint8 [N, H, W, C]
    question    int64 [N, 3]: X, R, Y; glyph classes 0 .. G - 1, relations G .. G + 3
    answer      int64 [N], 0 or 1
    pair_id     int64 [N], row of the pairs that were asked for
    relation    int64 [N], 0 .. 3
    positions   int64 [N, K, 2], centres (x, y); objects are X, Y, then the others
    shapes      int64 [N, K], glyph classes
    sizes       int64 [N, K], sides of the boxes in pixels
    """

    image: NDArray[np.uint8]
    question: Ints
    answer: Ints
    pair_id: Ints
    relation: Ints
    positions: Ints
    shapes: Ints
    sizes: Ints

    def __len__(self) -> int:
        return len(self.answer)

    def __getitem__(self, rows: Any) -> Scenes:
        """The examples of a slice, an index array or a mask."""
        return Scenes(**{name: values[rows] for name, values in self.arrays().items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By name, as ``np.savez`` takes them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
