"""Negotiators: what an agent of the negotiation game sees, encoded, and the distributions of its three decisions.

Two encoders: "lstm", that of Cao et al. 2018 (arXiv 1804.03980; specification B.7), and "mlp" on one-hot inputs, which
learns the reduced setting (E.3) in a fraction of the time. Decisions: whether to accept (where the game asks it), a
proposal, one distribution for each kind of item, and an utterance, where somebody hears it. Of a closed channel nothing
is drawn and nothing is learnt: zeros are said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from envs.games.negotiation_core import NegotiationCore, Seen

WIDTH = 100


@dataclass(frozen=True)
class Sizes:
    """What of a game its negotiators are built from. symbols: of an utterance, 0 where nobody hears it."""

    items: int
    quantities: int
    utilities: int
    symbols: int
    heard: int
    length: int
    accepts: bool

    @classmethod
    def of(cls, core: NegotiationCore) -> Sizes:
        symbols = (2 if core.speech == "masked" else core.vocabulary) if core.speaks else 0
        accepts = core.termination == "accept"
        return cls(core.items, core.max_quantity + 1, core.max_utility + 1, symbols, core.vocabulary,
                   core.utterance_length, accepts)  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """What B agents do. terminate_B bool, proposal_BI and utterance_BU int64 (zeros where there is no such decision);
    logp_B: of all of it together; entropies: name -> (B,) nats, summed over the parts of a decision.
    """

    terminate_B: Tensor
    proposal_BI: Tensor
    utterance_BU: Tensor
    logp_B: Tensor
    entropies: dict[str, Tensor]


class MLPEncoder(nn.Module):
    """One-hot inputs, two layers of ReLU units."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        inputs = sizes.items * (2 * sizes.quantities + sizes.utilities) + 1
        inputs += sizes.length * sizes.heard if sizes.symbols else 0
        self.layers = nn.Sequential(nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())

    def forward(
        self, pool: Tensor, utility: Tensor, proposal: Tensor, utterance: Tensor, first: Tensor
    ) -> Tensor:
        sizes = self.sizes
        parts = [(pool, sizes.quantities), (utility, sizes.utilities), (proposal, sizes.quantities)]
        if sizes.symbols:
            parts.append((utterance, sizes.heard))
        hot = [F.one_hot(values, count).flatten(1) for values, count in parts]
        return self.layers(torch.cat([*hot, first[:, None]], dim=1).float())


class LSTMEncoder(nn.Module):
    """Pool and utility as one sequence of numbers, the utterance as one of symbols, the proposal as one of numbers (the
    embedding of numbers is shared); the last states of three LSTMs, a layer of ReLU units.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.numbers = nn.Embedding(max(sizes.quantities, sizes.utilities), WIDTH)
        self.symbols = nn.Embedding(sizes.heard, WIDTH)
        self.items, self.words, self.offers = (nn.LSTM(WIDTH, WIDTH, batch_first=True) for _ in range(3))
        self.joint = nn.Linear(3 * WIDTH, WIDTH)

    def forward(
        self, pool: Tensor, utility: Tensor, proposal: Tensor, utterance: Tensor, first: Tensor
    ) -> Tensor:
        items = self.items(self.numbers(torch.cat([pool, utility], dim=1)))[1][0][0]
        words = self.words(self.symbols(utterance))[1][0][0]
        offers = self.offers(self.numbers(proposal))[1][0][0]
        return self.joint(torch.cat([items, words, offers], dim=1)).relu()


class Negotiator(nn.Module):
    """One agent: encoder and heads."""

    def __init__(self, sizes: Sizes, encoder: str) -> None:
        super().__init__()
        self.sizes, self.spells = sizes, encoder == "lstm"
        self.encoder = LSTMEncoder(sizes) if self.spells else MLPEncoder(sizes)
        self.accept = nn.Linear(WIDTH, 1) if sizes.accepts else None
        self.proposal = nn.Linear(WIDTH, sizes.items * sizes.quantities)
        if sizes.symbols and self.spells:
            self.cell, self.said = nn.LSTMCell(WIDTH, WIDTH), nn.Embedding(sizes.symbols, WIDTH)
        if sizes.symbols:
            symbols = sizes.symbols if self.spells else sizes.length * sizes.symbols
            self.utterance = nn.Linear(WIDTH, symbols)

    def forward(
        self, seen: dict[str, Tensor], generator: torch.Generator | None, greedy: bool = False
    ) -> Decision:
        """Draw a decision, or take the likeliest of each part. seen: ``pool``, ``utility``, ``proposal``, ``utterance``
        (int64) and ``first`` (bool), of B agents; generator: None for PyTorch's own.
        """
        features = self.encoder(**seen)
        draw = _Drawer(generator, greedy)
        rows, sizes = len(features), self.sizes
        terminate_B = torch.zeros(rows, dtype=torch.bool)
        utterance_BU = torch.zeros(rows, sizes.length, dtype=torch.long)
        if self.accept is not None:
            score = self.accept(features)
            terminate_B = draw("terminate", torch.cat([torch.zeros_like(score), score], dim=1)).bool()
        proposal_BI = draw("proposal", self.proposal(features).unflatten(1, (sizes.items, sizes.quantities)))
        if sizes.symbols and self.spells:
            utterance_BU = self._spell(features, draw)
        elif sizes.symbols:
            utterance_BU = draw(
                "utterance", self.utterance(features).unflatten(1, (sizes.length, sizes.symbols))
            )
        return Decision(terminate_B, proposal_BI, utterance_BU, draw.logp, draw.entropies)

    def _spell(self, features: Tensor, draw: _Drawer) -> Tensor:
        """Symbol after symbol; the decoder begins at the features, with symbol 0."""
        hidden, memory = features, torch.zeros_like(features)
        symbol, spelt = torch.zeros(len(features), dtype=torch.long), []
        for _ in range(self.sizes.length):
            hidden, memory = self.cell(self.said(symbol), (hidden, memory))
            symbol = draw("utterance", self.utterance(hidden))
            spelt.append(symbol)
        return torch.stack(spelt, dim=1)


class _Drawer:
    """Draws from logits (B, ..., N), and adds up log-probabilities and entropies by name."""

    def __init__(self, generator: torch.Generator | None, greedy: bool) -> None:
        self.generator, self.greedy = generator, greedy
        self.logp: Any = 0.0
        self.entropies: dict[str, Any] = {}

    def __call__(self, name: str, logits: Tensor) -> Tensor:
        logps = logits.log_softmax(-1)
        p = logps.exp()
        if self.greedy:
            drawn = logps.argmax(-1)
        else:
            flat = torch.multinomial(p.detach().flatten(0, -2), 1, generator=self.generator)
            drawn = flat.view(logps.shape[:-1])
        picked = logps.gather(-1, drawn[..., None])[..., 0]
        self.logp = self.logp + picked.flatten(1).sum(-1) if picked.dim() > 1 else self.logp + picked
        entropy = -(p * logps).sum(-1)
        entropy = entropy.flatten(1).sum(-1) if entropy.dim() > 1 else entropy
        self.entropies[name] = self.entropies.get(name, 0.0) + entropy
        return drawn


def as_tensors(seen: Seen, rows: np.ndarray) -> dict[str, Tensor]:
    """What some of the movers see, as a negotiator reads it."""
    columns = {
        "pool": seen.pool_BI, "utility": seen.utility_BI, "proposal": seen.proposal_BI,
        "utterance": seen.utterance_BU, "first": seen.first_B,
    }  # fmt: skip
    return {name: torch.from_numpy(np.ascontiguousarray(of[rows])) for name, of in columns.items()}
