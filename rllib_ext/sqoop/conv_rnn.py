"""Conv+LSTM: the whole map and the question's last state, flattened side by side into one hidden layer.

Nothing in it says that the question is about places; at 64 x 64 pixels nearly all of its weights, 16.9 million, are in
that one layer. The released scripts train it with a GRU (``cell="gru"``), whatever its name says.

Source: Bahdanau et al. 2019 (arXiv 1811.12889) and its released code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rllib_ext.sqoop.answering import AnswerEncoder
from rllib_ext.sqoop.classifier import plain_head
from rllib_ext.sqoop.language import QuestionEncoder
from rllib_ext.sqoop.stem import ConvStem


class ConvRecurrent(AnswerEncoder):
    """No pooling and no BatchNorm behind the stem."""

    def __init__(self, stem: ConvStem, language: QuestionEncoder, *, channels: int, hidden: int) -> None:
        super().__init__()
        self.stem, self.language = stem, language
        self.head = plain_head(channels * stem.side[0] * stem.side[1] + language.width, hidden)

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        _, last = self.language(question)
        return self.head(torch.cat([self.stem(image).flatten(1), last], dim=1))
