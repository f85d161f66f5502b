"""The negative control: it reads the question and is blind. Where it is above chance the data leak."""

from __future__ import annotations

from torch import Tensor

from rllib_ext.sqoop.answering import AnswerEncoder
from rllib_ext.sqoop.classifier import plain_head
from rllib_ext.sqoop.language import QuestionEncoder


class QuestionOnly(AnswerEncoder):
    """A recurrent network and two linear layers."""

    def __init__(self, language: QuestionEncoder, *, hidden: int) -> None:
        super().__init__()
        self.language = language
        self.head = plain_head(language.width, hidden)

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        return self.head(self.language(question)[1])
