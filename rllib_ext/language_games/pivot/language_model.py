"""A small recurrent language model of English, frozen in the game: how English a message still is.

    p(y) = prod_t softmax(W GRU(emb(y_<t)))[y_t]

Source: the published game measures drift as the NLL of messages under a language model (512, 512) of COCO captions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rllib_ext.functional.logprobs import token_logps
from rllib_ext.functional.masking import masked_sum
from rllib_ext.language_games.pivot.seq2seq import token_mask
from rllib_ext.language_games.pivot.vocabulary import BOS, PAD


class LanguageModel(nn.Module):
    """A GRU over words."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden, padding_idx=PAD)
        self.recurrence = nn.GRU(hidden, hidden, batch_first=True)
        self.output = nn.Linear(hidden, vocabulary)

    def forward(self, ids_BT: Tensor) -> tuple[Tensor, Tensor]:
        """NLL of each text in nats, EOS included where it is there, and its number of tokens; both (B,)."""
        inputs_BT = torch.cat([torch.full_like(ids_BT[:, :1], BOS), ids_BT[:, :-1]], dim=1)
        states_BTH, _ = self.recurrence(self.embedding(inputs_BT))
        mask_BT = token_mask(ids_BT)
        logps_BT = token_logps(self.output(states_BTH), ids_BT)
        return -masked_sum(logps_BT, mask_BT, dim=-1), mask_BT.sum(dim=-1)
