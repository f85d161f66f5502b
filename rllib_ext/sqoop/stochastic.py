"""Stochastic-N2NMN: a module network that has to find out whether it is a tree or a chain.

The two share stem, words and classifier; a scalar w weighs their answers, p(tree) = sigmoid(w), exactly marginalised
(`rllib_ext.functional.layout_mixture`). The logits of the network are the mixture's log-probabilities, so a plain
cross-entropy of them is the paper's loss.

In training each branch goes through the classifier by itself: BatchNorm normalises it by its own batch, and its running
averages, which evaluation uses, are those of both.

Source: Bahdanau et al. 2019 (arXiv 1811.12889) and its released code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rllib_ext.errors import BadConfig
from rllib_ext.functional.layout_mixture import layout_mixture, layout_mixture_loss
from rllib_ext.sqoop.answering import Figures
from rllib_ext.sqoop.classifier import MapClassifier
from rllib_ext.sqoop.nmn import ModuleNetwork
from rllib_ext.sqoop.stem import ConvStem


class StochasticNetwork(ModuleNetwork):
    """p0: p(tree) at first, inside (0, 1)."""

    def __init__(self, stem: ConvStem, classifier: MapClassifier, *, p0: float, **settings: object) -> None:
        super().__init__(stem, classifier, **settings)  # type: ignore[arg-type]
        if not 0 < p0 < 1:
            raise BadConfig(f"p0 is {p0}; it must be inside (0, 1): at 0 or 1 there is no layout to find")
        self.layout_logit = nn.Parameter(torch.tensor(math.log(p0) - math.log1p(-p0)))

    def branches(self, image: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """(tree's logits, chain's logits), each (B, 2). The first module is the same in both."""
        numbers = self.written(question)
        first, beside = self.both(numbers, self.stem(image))
        tree = self.module(numbers[2], first, beside)
        chain = self.module(numbers[2], self.module(numbers[1], first))
        return self.classifier(tree), self.classifier(chain)

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        return layout_mixture(*self.branches(image, question), self.layout_logit)

    def answer_losses(self, image: Tensor, question: Tensor, answer_B: Tensor) -> tuple[Tensor, Figures]:
        """The mixture's losses; those of each branch, and the tree's responsibility, beside them."""
        losses_B, found = layout_mixture_loss(*self.branches(image, question), self.layout_logit, answer_B)
        return losses_B, {
            "tree_loss": found.tree_loss,
            "chain_loss": found.chain_loss,
            "responsibility": found.responsibility,
        }

    def structure_parameters(self) -> list[nn.Parameter]:
        return [*super().structure_parameters(), self.layout_logit]

    def structure(self) -> dict[str, float]:
        return {**super().structure(), "p_tree": float(torch.sigmoid(self.layout_logit.detach().double()))}
