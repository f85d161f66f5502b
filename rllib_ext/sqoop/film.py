"""FiLM: a question scales and shifts the channels of four residual blocks.

    x = ReLU(1 x 1 convolution of [input; coordinates]);   out = x + ReLU(gamma . BN(3 x 3 convolution of x) + beta)

BN without weights of its own; gamma = 1 + what is predicted. Coordinates at the stem's input, in every block and before
the classifier.

Source: Perez et al. 2018 (arXiv 1709.07871), as trained by Bahdanau et al. 2019 (arXiv 1811.12889): a GRU of 1024 where
the original has 4096.
"""

from __future__ import annotations

from torch import Tensor, nn

from rllib_ext.sqoop.answering import AnswerEncoder
from rllib_ext.sqoop.classifier import MapClassifier
from rllib_ext.sqoop.language import QuestionEncoder
from rllib_ext.sqoop.stem import ConvStem, with_coordinates


class FilmBlock(nn.Module):
    """(B, d, H, W), gamma and beta (B, d) -> (B, d, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels + 2, channels, 1)
        self.convolve = nn.Conv2d(channels, channels, 3, padding=1)
        self.normalise = nn.BatchNorm2d(channels, affine=False)

    def forward(self, maps: Tensor, gamma_BC: Tensor, beta_BC: Tensor) -> Tensor:
        entered = self.enter(with_coordinates(maps)).relu()
        found = self.normalise(self.convolve(entered))
        return entered + (gamma_BC[:, :, None, None] * found + beta_BC[:, :, None, None]).relu()


class Film(AnswerEncoder):
    """The question's last state makes every block's gamma and beta."""

    def __init__(
        self,
        stem: ConvStem,
        classifier: MapClassifier,
        language: QuestionEncoder,
        *,
        channels: int,
        blocks: int,
    ) -> None:
        super().__init__()
        self.stem, self.classifier, self.language = stem, classifier, language
        self.blocks = nn.ModuleList(FilmBlock(channels) for _ in range(blocks))
        self.modulate = nn.Linear(language.width, blocks * 2 * channels)

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        maps = self.stem(image)
        _, last = self.language(question)
        written = self.modulate(last).view(len(maps), len(self.blocks), 2, -1)
        for step, block in enumerate(self.blocks):
            maps = block(maps, 1 + written[:, step, 0], written[:, step, 1])
        return self.classifier(maps)
