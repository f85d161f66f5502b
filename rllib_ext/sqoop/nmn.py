"""Neural module networks over a fixed layout (NMN-Tree, -Chain, -Chain-Shortcut), and with learnt attention to words.

    gamma_k = sum_i alpha[k, i] e(q_i)        what module k is written by
    s_k     = f(gamma_k; the maps that the layout gives it)
    answer  = classifier(s_3)

``alpha="hard"`` is the right assignment, module 1 <- X, 2 <- Y, 3 <- R, as a choice and not as a softmax of logits of 0
and 100, whose smallest weights (4e-44) are no normal numbers. ``alpha="learned"`` (Attention-N2NMN) has 3 x 3 logits that
are parameters of the network and not predicted from the question, drawn from U(0, 1).

There are no coordinates among the channels (the released scripts pass that flag, their code ignores it).

Source: Bahdanau et al. 2019 (arXiv 1811.12889) and its released code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rllib_ext.sqoop.answering import AnswerEncoder
from rllib_ext.sqoop.classifier import MapClassifier
from rllib_ext.sqoop.find import FindModule
from rllib_ext.sqoop.layouts import LAYOUTS, WORD_OF_MODULE, Inputs
from rllib_ext.sqoop.residual import ResidualModule
from rllib_ext.sqoop.stem import ConvStem

MODULES = {"residual": ResidualModule, "find": FindModule}
ALPHAS = ("hard", "learned")


class ModuleNetwork(AnswerEncoder):
    """What networks of modules share: a stem, words that write modules, a classifier."""

    def __init__(
        self,
        stem: ConvStem,
        classifier: MapClassifier,
        *,
        channels: int,
        vocabulary: int,
        module: str,
        alpha: str,
    ) -> None:
        super().__init__()
        self.stem, self.classifier = stem, classifier
        self.module = MODULES[module](channels)
        self.words = self.module.words(vocabulary)
        self.alpha_logits = nn.Parameter(torch.rand(3, 3)) if alpha == "learned" else None

    def written(self, question: Tensor) -> list[Tensor]:
        """Three (B, P): what each module is written by."""
        embedded_BQP = self.words(question.long())
        if self.alpha_logits is None:
            return [embedded_BQP[:, place] for place in WORD_OF_MODULE]
        mixed_BKP = torch.einsum("kq,bqp->bkp", self.alpha_logits.softmax(dim=1), embedded_BQP)
        return list(mixed_BKP.unbind(1))

    def both(self, numbers: list[Tensor], features: Tensor) -> tuple[Tensor, Tensor]:
        """The first two modules on the same map, in one call."""
        maps = self.module(torch.cat(numbers[:2]), torch.cat([features, features]))
        first, second = maps.chunk(2)
        return first, second

    def structure_parameters(self) -> list[nn.Parameter]:
        return [] if self.alpha_logits is None else [self.alpha_logits]

    def structure(self) -> dict[str, float]:
        """alpha_entropy: mean over modules, nats, of which words write it; log 3 = 1.099 is undecided.
        alpha_correct: mean weight of the word that should.
        """
        if self.alpha_logits is None:
            return {}
        alpha = self.alpha_logits.detach().softmax(dim=1).double()
        right = alpha[range(3), list(WORD_OF_MODULE)].mean()
        return {
            "alpha_entropy": float(-torch.special.xlogy(alpha, alpha).sum(1).mean()),
            "alpha_correct": float(right),
        }


class LayoutNetwork(ModuleNetwork):
    """A layout of `LAYOUTS`. ``maps`` has the outputs of the three modules."""

    def __init__(self, stem: ConvStem, classifier: MapClassifier, *, layout: str, **settings: object) -> None:
        super().__init__(stem, classifier, **settings)  # type: ignore[arg-type]
        self.layout = layout

    def maps(self, image: Tensor, question: Tensor) -> list[Tensor]:
        """s_1, s_2, s_3, each (B, d, H, W)."""
        numbers, wiring = self.written(question), LAYOUTS[self.layout]
        known = [self.stem(image)]
        if wiring[0] == wiring[1]:
            known += self.both(numbers, known[0])
        for step in range(len(known) - 1, 3):
            known.append(self.module(numbers[step], *_read(known, wiring[step])))
        return known[1:]

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        return self.classifier(self.maps(image, question)[-1])


def _read(known: list[Tensor], inputs: Inputs) -> tuple[Tensor, Tensor | None]:
    first, second = inputs
    return known[first], None if second is None else known[second]
