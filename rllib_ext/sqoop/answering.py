"""What every model of SQOOP is: an image and a question in, two logits out.

A plain ``nn.Module``, shared by the supervised algorithm and by the RLModule of the environment: neither RLlib nor a data
set is known here. Shapes: image (B, H, W, C) uint8, question (B, 3) tokens [X, relation, Y], logits (B, 2) for no, yes.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

Figures = dict[str, Tensor]


class AnswerEncoder(nn.Module):
    """``forward(image, question) -> logits_B2``, which subclasses write.

    grad_clip  largest norm of the whole gradient that the source trains with; None: it does not clip
    """

    grad_clip: float | None = None

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        raise NotImplementedError

    def answer_losses(self, image: Tensor, question: Tensor, answer_B: Tensor) -> tuple[Tensor, Figures]:
        """(losses_B, what else is worth reporting of this batch): the cross-entropy of the answers."""
        return F.cross_entropy(self(image, question), answer_B, reduction="none"), {}

    def structure_parameters(self) -> list[nn.Parameter]:
        """What decides how the network is put together, and learns at a rate of its own."""
        return []

    def structure(self) -> dict[str, float]:
        """The state of that: ``p_tree``, ``alpha_entropy``; empty for networks whose structure is fixed."""
        return {}
