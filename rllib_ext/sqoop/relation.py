"""RelNet: a network g looks at every ordered pair of places and the question; what it says is summed.

    answer = f( sum_ij g([o_i; o_j; q]) ),   o: the map's features and two coordinates, g: four linear layers

With ``activation="relu"`` g is what Santoro et al. 2017 (arXiv 1706.01427) describe. The released code of Bahdanau et al.
2019 (arXiv 1811.12889) has no activation in g: ``activation="linear"`` is that. A sum of linear maps of pairs is a linear
map of (mean of o, q), so no pair is ever looked at; its failure says nothing on relation networks. Here it is computed as
what it is, in one pass of the mean.

The first layer on [o_i; o_j; q] is three products that are added, A o_i + B o_j + C q: equal, at a thousandth of the
cost.

Shapes: B batch, L places, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rllib_ext.sqoop.answering import AnswerEncoder
from rllib_ext.sqoop.classifier import plain_head
from rllib_ext.sqoop.language import QuestionEncoder
from rllib_ext.sqoop.stem import ConvStem, with_coordinates

ACTIVATIONS = ("relu", "linear")


class RelationNetwork(AnswerEncoder):
    """activation: of g. width: of its layers, hidden: of f's."""

    def __init__(
        self,
        stem: ConvStem,
        language: QuestionEncoder,
        *,
        channels: int,
        width: int,
        hidden: int,
        activation: str,
    ) -> None:
        super().__init__()
        self.stem, self.language, self.activation = stem, language, activation
        self.objects = channels + 2
        first = nn.Linear(2 * self.objects + language.width, width)
        self.pair = nn.ModuleList([first, *(nn.Linear(width, width) for _ in range(3))])
        self.head = plain_head(width, hidden)

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        objects_BLD = with_coordinates(self.stem(image)).flatten(2).transpose(1, 2)
        _, question_BD = self.language(question)
        return self.head(self.relations(objects_BLD, question_BD))

    def relations(self, objects_BLD: Tensor, question_BD: Tensor) -> Tensor:
        """(B, width): the sum over all ordered pairs."""
        left, right, asked = torch.split(
            self.pair[0].weight, [self.objects, self.objects, question_BD.shape[1]], dim=1
        )
        asked_BW = question_BD @ asked.T + self.pair[0].bias
        if self.activation == "linear":
            mean_BW = objects_BLD.mean(1) @ (left + right).T + asked_BW
            for layer in self.pair[1:]:
                mean_BW = layer(mean_BW)
            return mean_BW * objects_BLD.shape[1] ** 2
        first_BLW, second_BLW = objects_BLD @ left.T + asked_BW[:, None], objects_BLD @ right.T
        pairs = (first_BLW[:, :, None] + second_BLW[:, None]).relu().flatten(1, 2)
        for layer in self.pair[1:]:
            pairs = layer(pairs).relu()
        return pairs.sum(1)
