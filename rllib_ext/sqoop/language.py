"""Questions of three words as vectors: an embedding and a recurrent network.

The released scripts call two models "LSTM" and train them with a GRU, because they leave a flag at its default. Both
cells are here; ``gru`` is what was trained.
"""

from __future__ import annotations

from torch import Tensor, nn

CELLS = ("gru", "lstm")


class QuestionEncoder(nn.Module):
    """(B, 3) tokens -> (states (B, 3, D), last (B, D)); D is ``hidden``, twice that in both directions.

    last: the state behind the last word; of the way back, that before the first.
    """

    def __init__(self, vocabulary: int, embedding: int, hidden: int, cell: str, *, both_ways: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, embedding)
        network = nn.LSTM if cell == "lstm" else nn.GRU
        self.recurrent = network(embedding, hidden, batch_first=True, bidirectional=both_ways)
        self.width = hidden * (1 + both_ways)

    def forward(self, question: Tensor) -> tuple[Tensor, Tensor]:
        states, last = self.recurrent(self.words(question.long()))
        last = last[0] if isinstance(last, tuple) else last  # of an LSTM: the output, not the cell
        return states, last.transpose(0, 1).flatten(1)
