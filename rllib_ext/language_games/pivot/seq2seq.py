"""The agents' net: GRU encoder, GRU decoder with attention and input feeding; and the sender's baseline.

    encoder   e_s = GRU(emb(x_s), e_s-1)                                       unidirectional, one layer
    decoder   h_t = GRU([emb(y_t-1), a_t-1], h_t-1),   h_0 = tanh(W e_S)
              c_t = sum_s softmax_s(h_t^T K e_s) e_s,   a_t = tanh(W_a [h_t, c_t]),   logits_t = W_o a_t

Source and target have their own embeddings, the output layer has its own weights (nothing is tied). Dropout is on the
embeddings and on a_t before the output layer; it is 0 in the game.

Source: Luong et al. 2015 (arXiv 1508.04025), in the sizes of the published game (256, 256). Left out: bidirectional
encoders, several layers, beam search.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rllib_ext.functional.masking import completion_mask
from rllib_ext.language_games.pivot.vocabulary import BOS, EOS, PAD, UNK

NEVER = -1e30  # a finite stand-in for minus infinity: softmax gives 0, entropies stay finite


@dataclass(frozen=True)
class Memory:
    """An encoded source: keys_BSH, states_BSH, mask_BS (True where there is a token), last_BH."""

    keys_BSH: Tensor
    states_BSH: Tensor
    mask_BS: Tensor
    last_BH: Tensor


@dataclass(frozen=True)
class Decoded:
    """A target read by teacher forcing: logits_BTV; and what the baseline may see before each token."""

    logits_BTV: Tensor
    states_BTH: Tensor
    inputs_BTE: Tensor


class Seq2Seq(nn.Module):
    """A translator; ``dropout`` acts in training mode only."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.source = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.target = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.encoder = nn.GRU(embedding, hidden, batch_first=True)
        self.bridge = nn.Linear(hidden, hidden)
        self.decoder = nn.GRUCell(embedding + hidden, hidden)
        self.keys = nn.Linear(hidden, hidden, bias=False)
        self.attention = nn.Linear(2 * hidden, hidden, bias=False)
        self.output = nn.Linear(hidden, vocabulary)
        self.dropout = nn.Dropout(dropout)

    def encode(self, source_BS: Tensor) -> Memory:
        """Read a source; what is padded is not attended to."""
        mask_BS = source_BS != PAD
        states_BSH, _ = self.encoder(self.dropout(self.source(source_BS)))
        last_B = (mask_BS.sum(dim=-1) - 1).clamp(min=0)
        last_BH = states_BSH[torch.arange(len(source_BS)), last_B]
        return Memory(self.keys(states_BSH), states_BSH, mask_BS, torch.tanh(self.bridge(last_BH)))

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Decoded:
        """The logits of every token of ``target_BT`` (EOS last, padded) given those before it."""
        memory = self.encode(source_BS)
        first_B1 = torch.full_like(target_BT[:, :1], BOS)
        inputs_BTE = self.dropout(self.target(torch.cat([first_B1, target_BT[:, :-1]], dim=1)))
        state_BH, fed_BH = memory.last_BH, torch.zeros_like(memory.last_BH)
        states, attended = [], []
        for input_BE in inputs_BTE.unbind(dim=1):
            state_BH, fed_BH = self._step(input_BE, state_BH, fed_BH, memory)
            states.append(state_BH)
            attended.append(fed_BH)
        logits_BTV = self.output(self.dropout(torch.stack(attended, dim=1)))
        return Decoded(logits_BTV, torch.stack(states, dim=1), inputs_BTE)

    @torch.no_grad()
    def generate(
        self,
        source_BS: Tensor,
        *,
        most: int,
        least: int = 0,
        generator: torch.Generator | None = None,
        policy: bool = False,
    ) -> Tensor:
        """Up to ``most`` tokens, drawn with ``generator`` or greedily without one; what follows EOS is <pad>.

        <pad> and <bos> are never written; ``policy``: only what ``message_logits`` allows, with ``least`` tokens before
        EOS. A row that does not stop has no EOS.
        """
        memory = self.encode(source_BS)
        state_BH, fed_BH = memory.last_BH, torch.zeros_like(memory.last_BH)
        token_B = torch.full_like(source_BS[:, 0], BOS)
        stopped_B = torch.zeros_like(token_B, dtype=torch.bool)
        tokens: list[Tensor] = []
        while len(tokens) < most and not bool(stopped_B.all()):
            state_BH, fed_BH = self._step(self.target(token_B), state_BH, fed_BH, memory)
            logits_BV = self.output(fed_BH)
            if policy:
                logits_BV = message_logits(logits_BV[:, None], least, first=len(tokens))[:, 0]
            else:
                logits_BV = logits_BV.index_fill(-1, torch.tensor([PAD, BOS], device=logits_BV.device), NEVER)
            if generator is None:
                token_B = logits_BV.argmax(dim=-1)
            else:
                token_B = torch.multinomial(torch.softmax(logits_BV, dim=-1), 1, generator=generator)[:, 0]
            token_B = torch.where(stopped_B, PAD, token_B)
            tokens.append(token_B)
            stopped_B = stopped_B | (token_B == EOS)
        return torch.stack(tokens, dim=1)

    def _step(
        self, input_BE: Tensor, state_BH: Tensor, fed_BH: Tensor, memory: Memory
    ) -> tuple[Tensor, Tensor]:
        state_BH = self.decoder(torch.cat([input_BE, fed_BH], dim=-1), state_BH)
        scores_BS = torch.bmm(memory.keys_BSH, state_BH.unsqueeze(-1)).squeeze(-1)
        weights_BS = torch.softmax(scores_BS.masked_fill(~memory.mask_BS, NEVER), dim=-1)
        context_BH = torch.bmm(weights_BS.unsqueeze(1), memory.states_BSH).squeeze(1)
        return state_BH, torch.tanh(self.attention(torch.cat([state_BH, context_BH], dim=-1)))


class Baseline(nn.Module):
    """The expected reward before each token, from the decoder's state and input; no gradient reaches the translator."""

    def __init__(self, embedding: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(embedding + hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, decoded: Decoded) -> Tensor:
        seen = torch.cat([decoded.states_BTH, decoded.inputs_BTE], dim=-1).detach()
        values_BT: Tensor = self.layers(seen).squeeze(-1)
        return values_BT


def message_logits(logits_BTV: Tensor, least: int, first: int = 0) -> Tensor:
    """The policy's logits: <pad>, <unk> and <bos> are never sent, EOS not before ``least`` tokens.

    The same function serves drawing and scoring, so the two are one distribution. ``first``: place of column 0.
    """
    banned_TV = torch.zeros(logits_BTV.shape[1:], dtype=torch.bool, device=logits_BTV.device)
    banned_TV[:, [PAD, UNK, BOS]] = True
    banned_TV[: max(0, least - first), EOS] = True
    return logits_BTV.masked_fill(banned_TV, NEVER)


def token_mask(ids_BT: Tensor) -> Tensor:
    """True up to and including EOS; a row that did not stop counts whole."""
    return completion_mask(ids_BT, EOS) & (ids_BT != PAD)
