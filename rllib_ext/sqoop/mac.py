"""MAC: a chain of equal cells that attend to words and to places.

A step i, with q the question's last state, w_t its words' states, k the map (L places), m the memory:

    q_i = A_i tanh(A q);           c = sum_t softmax_t(a . (w_t * q_i)) w_t            control
    I = (W_m m) * (W_k k);         J = ReLU(W [I; W_k k])
    r = sum_l softmax_l(b . ReLU(J * c)) k_l                                           read
    m = W_w [r; m]                                                                     write

Of Hudson and Manning 2018 (arXiv 1803.03067) as trained by Bahdanau et al. 2019 (arXiv 1811.12889): 12 steps, d = 128, no
self-attention, no gate of the memory, no dropout, a control that does not see the one before it, ReLU instead of ELU in
the read. Words from U(-1, 1), linear layers Xavier-uniform with biases of 0, the whole gradient clipped to norm 8.
W [I; W_k k] is the sum of two products, of which that with k is the same in every step and made once.

Shapes: B batch, T words, L places, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rllib_ext.sqoop.answering import AnswerEncoder
from rllib_ext.sqoop.classifier import plain_head
from rllib_ext.sqoop.language import QuestionEncoder
from rllib_ext.sqoop.stem import ConvStem


class Mac(AnswerEncoder):
    """``language`` has states of width D, ``stem`` maps of D channels."""

    grad_clip = 8.0

    def __init__(
        self, stem: ConvStem, language: QuestionEncoder, *, width: int, steps: int, hidden: int
    ) -> None:
        super().__init__()
        self.stem, self.language = stem, language
        self.read_question = nn.Linear(language.width, width)
        self.question_of_step = nn.ModuleList(nn.Linear(width, width) for _ in range(steps))
        self.word_score = nn.Linear(width, 1)
        self.memory_key, self.place_key = nn.Linear(width, width), nn.Linear(width, width)
        self.join = nn.Linear(2 * width, width)
        self.place_score = nn.Linear(width, 1)
        self.write = nn.Linear(2 * width, width)
        self.answer_question = nn.Linear(language.width, width)
        self.head = plain_head(2 * width, hidden)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        nn.init.uniform_(language.words.weight, -1.0, 1.0)
        self.first_memory = nn.Parameter(torch.zeros(width))

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        words_BTD, question_BD = self.language(question)
        places_BLD = self.stem(image).flatten(2).transpose(1, 2)
        keys_BLD = self.place_key(places_BLD)
        of_join, of_keys = self.join.weight.chunk(2, dim=1)
        kept_BLD = keys_BLD @ of_keys.T + self.join.bias
        asked_BD = torch.tanh(self.read_question(question_BD))
        memory_BD = self.first_memory.expand(len(places_BLD), -1)
        for of_step in self.question_of_step:
            control_BD = self._control(words_BTD, of_step(asked_BD))
            met_BLD = self.memory_key(memory_BD)[:, None] * keys_BLD
            joined_BLD = (met_BLD @ of_join.T + kept_BLD).relu()
            attention_BL1 = self.place_score((joined_BLD * control_BD[:, None]).relu()).softmax(dim=1)
            read_BD = (attention_BL1 * places_BLD).sum(1)
            memory_BD = self.write(torch.cat([read_BD, memory_BD], dim=1))
        return self.head(torch.cat([memory_BD, self.answer_question(question_BD)], dim=1))

    def _control(self, words_BTD: Tensor, question_BD: Tensor) -> Tensor:
        weights_BT1 = self.word_score(words_BTD * question_BD[:, None]).softmax(dim=1)
        return (weights_BT1 * words_BTD).sum(1)
