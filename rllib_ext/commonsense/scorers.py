"""Scorers of (head, relation, tail): how plausible, as a logit.

With v the mean of a phrase's word vectors (`phrase_encoder`), r the relation's vector, cos(a, b) = a.b / |a||b|::

    factorized      BN( cos(Ah, Bt) + cos(Ah, Br) + cos(Ar, Bt) )           Ah = ReLU(A v_h + a), and so on; A and B are
                                                                            shared by the three terms
    prototypical    the same without cos(Ah, Bt): is this head typical of the relation, is this tail
    argsim_trained  the same with cos(Ah, Bt) alone ("ArgSim++")
    dnn             w . ReLU(W [v_h; v_t; r] + b) + c                       Li et al.'s "DNN AVG"
    bilinear        u_h^T M_r u_t,  u = tanh(B v + b)                       Li et al.'s "Bilinear AVG"
    argsim          v_h . v_t                                               of the initial vectors; not trained
    maxsim          max over training triples of the mean of cos(v_h, v_h'), [r = r'], cos(v_t, v_t'); not trained

Terms of cos lie in [0, 1] because they are of vectors without negative entries. The score of prototypical is a sum of a
function of (h, r) and one of (r, t): exchanging tails between triples of one relation changes no sum over them.

Every scorer splits into what it makes of heads, of relations and of tails, and `combine`. A batch of B triples and its
3 B corruptions need the expensive part of each head and tail once (`InBatchCorruptor` gives rows of the batch), and the
cosines of all of them are entries of three small products of matrices: `score_rows`.

Source: Jastrzębski et al. 2018 (arXiv 1804.09259), Li et al. 2016. Ours: the relation's part of maxsim, which in the
source is a vector; biases of A and B; the start of M_r. The source has a scale and a shift of the sum before the batch
normalisation, which takes both out again and has its own: they are left out, since an adaptive optimizer would only
follow the rounding errors of their gradients. What is not trained returns its similarity as it is.

Shapes: B triples, D word vector, H hidden, R relations, V words.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_ext.commonsense.phrase_encoder import PhraseEncoder
from rllib_ext.errors import unknown_name

TERMS = {
    "factorized": ("head-tail", "head-relation", "relation-tail"),
    "prototypical": ("head-relation", "relation-tail"),
    "argsim_trained": ("head-tail",),
}
UNTRAINED = ("argsim", "maxsim")
MODELS = ("factorized", "prototypical", "dnn", "bilinear", "argsim_trained", *UNTRAINED)
HIDDEN = {"dnn": 1000, "bilinear": 150, **dict.fromkeys(TERMS, 1000)}
Places = tuple[Tensor, Tensor, Tensor]
SIMILARITIES_AT_ONCE = 2**24  # of phrases with training phrases


class Scorer(nn.Module):
    """``score(h, r, t)``: word ids [B, L], relation ids [B], word ids [B, L] -> logits [B]."""

    trained = True

    def __init__(self, words: int, relations: int, size: int, *, sparse: bool = True) -> None:
        super().__init__()
        self.phrases = PhraseEncoder(words, size, sparse=sparse)
        self.relations = relations

    def score(self, heads_BL: Tensor, relations_B: Tensor, tails_BL: Tensor) -> Tensor:
        """Logits [B]; padding changes nothing."""
        heads, tails = self.phrases(heads_BL), self.phrases(tails_BL)
        return self.combine(self.of_heads(heads), self.of_relations(relations_B), self.of_tails(tails))

    def forward(self, heads_BL: Tensor, relations_B: Tensor, tails_BL: Tensor) -> Tensor:
        return self.score(heads_BL, relations_B, tails_BL)

    def of_heads(self, vectors_BD: Tensor) -> Tensor:
        """What the score needs of heads, row by row."""
        return vectors_BD

    def of_tails(self, vectors_BD: Tensor) -> Tensor:
        return vectors_BD

    def of_relations(self, relations_B: Tensor) -> Tensor:
        return relations_B

    def combine(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        """Logits of rows of the three."""
        raise NotImplementedError

    def score_rows(self, heads: Tensor, relations_B: Tensor, tails: Tensor, places: Places) -> Tensor:
        """Logits [M] of triples that are put together from rows of a batch: places of their heads, relations and tails in
        it, [M] each. heads, tails: what `of_heads` and `of_tails` made of the batch.
        """
        relations = self.of_relations(relations_B.index_select(0, places[1]))
        return self.combine(heads.index_select(0, places[0]), relations, tails.index_select(0, places[2]))


class CosineScorer(Scorer):
    """factorized, prototypical, argsim_trained."""

    def __init__(
        self, kind: str, words: int, relations: int, size: int, hidden: int, *, sparse: bool = True
    ) -> None:
        super().__init__(words, relations, size, sparse=sparse)
        self.terms = TERMS[kind]
        if self.terms != TERMS["argsim_trained"]:
            self.table = nn.Embedding(relations, size)
            nn.init.uniform_(self.table.weight, -0.05, 0.05)
        self.head_side, self.tail_side = nn.Linear(size, hidden), nn.Linear(size, hidden)
        self.norm = nn.BatchNorm1d(1, eps=1e-3, momentum=0.01)

    def of_heads(self, vectors_BD: Tensor) -> Tensor:
        return F.normalize(F.relu(self.head_side(vectors_BD)), dim=-1)

    def of_tails(self, vectors_BD: Tensor) -> Tensor:
        return F.normalize(F.relu(self.tail_side(vectors_BD)), dim=-1)

    def of_relations(self, relations_B: Tensor) -> Tensor:
        """[B, 2 H]: the relation's vector on the head's side, and on the tail's. All relations are made once."""
        if self.terms == TERMS["argsim_trained"]:
            return self.head_side.weight.new_zeros(len(relations_B), 0)
        return torch.cat(self._relation_sides(), dim=-1).index_select(0, relations_B)

    def _relation_sides(self) -> tuple[Tensor, Tensor]:
        """[R, H] of every relation on the head's side, and on the tail's."""
        return self.of_heads(self.table.weight), self.of_tails(self.table.weight)

    def cosines(self, heads: Tensor, relations: Tensor, tails: Tensor) -> dict[str, Tensor]:
        """Each term [B], in [0, 1]."""
        as_head, as_tail = relations.chunk(2, dim=-1) if relations.shape[-1] else (relations, relations)
        pairs = {
            "head-tail": (heads, tails),
            "head-relation": (heads, as_tail),
            "relation-tail": (as_head, tails),
        }
        return {name: (pairs[name][0] * pairs[name][1]).sum(-1) for name in self.terms}

    def combine(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        total = torch.stack(list(self.cosines(heads, relations, tails).values())).sum(0)
        return self.norm(total.unsqueeze(-1)).squeeze(-1)

    def score_rows(self, heads: Tensor, relations_B: Tensor, tails: Tensor, places: Places) -> Tensor:
        """The same cosines, out of products of all heads with all tails and with all relations: no wide row is copied."""
        of_head, of_tail = places[0], places[2]
        terms = []
        if "head-tail" in self.terms:
            terms.append(_entries(heads @ tails.T, of_head, of_tail))
        if "head-relation" in self.terms:
            relations = relations_B[places[1]]
            as_head, as_tail = self._relation_sides()
            terms.append(_entries(heads @ as_tail.T, of_head, relations))
            terms.append(_entries(tails @ as_head.T, of_tail, relations))
        return self.norm(torch.stack(terms).sum(0).unsqueeze(-1)).squeeze(-1)


class DnnScorer(Scorer):
    """One hidden layer on the three vectors. W [v_h; v_t; r] is computed as the sum of its three parts."""

    def __init__(self, words: int, relations: int, size: int, hidden: int, *, sparse: bool = True) -> None:
        super().__init__(words, relations, size, sparse=sparse)
        self.table = nn.Embedding(relations, size)
        nn.init.uniform_(self.table.weight, -0.02, 0.02)
        self.head_side = nn.Linear(size, hidden)
        self.tail_side = nn.Linear(size, hidden, bias=False)
        self.relation_side = nn.Linear(size, hidden, bias=False)
        self.out = nn.Linear(hidden, 1)
        for layer in (self.head_side, self.tail_side, self.relation_side, self.out):
            nn.init.normal_(layer.weight, std=0.05)
        for layer in (self.head_side, self.out):
            nn.init.zeros_(layer.bias)

    def of_heads(self, vectors_BD: Tensor) -> Tensor:
        return self.head_side(vectors_BD)

    def of_tails(self, vectors_BD: Tensor) -> Tensor:
        return self.tail_side(vectors_BD)

    def of_relations(self, relations_B: Tensor) -> Tensor:
        return self.relation_side(self.table.weight).index_select(0, relations_B)

    def combine(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        return self.out(F.relu(heads + relations + tails)).squeeze(-1)


class BilinearScorer(Scorer):
    """A matrix for every relation; rows of one relation are multiplied together."""

    def __init__(self, words: int, relations: int, size: int, hidden: int, *, sparse: bool = True) -> None:
        super().__init__(words, relations, size, sparse=sparse)
        self.side = nn.Linear(size, hidden)
        self.matrices = nn.Parameter(torch.randn(relations, hidden, hidden) / hidden)

    def of_heads(self, vectors_BD: Tensor) -> Tensor:
        return torch.tanh(self.side(vectors_BD))

    def of_tails(self, vectors_BD: Tensor) -> Tensor:
        return torch.tanh(self.side(vectors_BD))

    def combine(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        order = torch.argsort(relations, stable=True)
        sizes = torch.bincount(relations, minlength=self.relations).tolist()
        grouped = torch.split(heads[order], sizes)
        turned = torch.cat([rows @ self.matrices[i] for i, rows in enumerate(grouped) if len(rows)])
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return (turned[back] * tails).sum(-1)


class ArgSimScorer(Scorer):
    """The dot product of head and tail."""

    trained = False

    def combine(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        return (heads * tails).sum(-1)


class MaxSimScorer(Scorer):
    """The nearest training triple. ``remember`` gives it the training set, which is part of its state."""

    trained = False

    def __init__(
        self, words: int, relations: int, size: int, shape: tuple[int, int, int], *, sparse: bool = True
    ) -> None:
        super().__init__(words, relations, size, sparse=sparse)
        count, head_width, tail_width = shape
        self.register_buffer("train_heads", torch.zeros(count, head_width, dtype=torch.int64))
        self.register_buffer("train_tails", torch.zeros(count, tail_width, dtype=torch.int64))
        self.register_buffer("train_relations", torch.zeros(count, dtype=torch.int64))

    def remember(self, heads_NL: Tensor, relations_N: Tensor, tails_NL: Tensor) -> None:
        self.train_heads.copy_(heads_NL)
        self.train_relations.copy_(relations_N)
        self.train_tails.copy_(tails_NL)

    def of_heads(self, vectors_BD: Tensor) -> Tensor:
        return F.normalize(vectors_BD, dim=-1)

    def of_tails(self, vectors_BD: Tensor) -> Tensor:
        return F.normalize(vectors_BD, dim=-1)

    @torch.no_grad()
    def combine(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        """Exact, in blocks of bounded memory."""
        known_heads = F.normalize(self.phrases(self.train_heads), dim=-1)
        known_tails = F.normalize(self.phrases(self.train_tails), dim=-1)
        step = max(1, SIMILARITIES_AT_ONCE // max(1, len(known_heads)))
        found = []
        for start in range(0, len(heads), step):
            rows = slice(start, start + step)
            alike = heads[rows] @ known_heads.T
            alike += tails[rows] @ known_tails.T
            alike += relations[rows].unsqueeze(1) == self.train_relations
            found.append(alike.amax(1) / 3.0)
        return torch.cat(found) if found else heads.new_zeros(0)


def _entries(matrix: Tensor, row_M: Tensor, column_M: Tensor) -> Tensor:
    """[M] entries; the gradient of one index is quicker than that of two."""
    return matrix.flatten().index_select(0, row_M * matrix.shape[1] + column_M)


def build_scorer(
    model: str,
    *,
    words: int,
    relations: int,
    size: int,
    hidden: int | None = None,
    sparse: bool = True,
    train_shape: tuple[int, int, int] = (0, 1, 1),
) -> Scorer:
    """A scorer by name. hidden: None for the model's published width. train_shape: rows of maxsim's training set, and the
    widths of their phrases.
    """
    if model not in MODELS:
        raise unknown_name("model", model, MODELS)
    if model == "argsim":
        return ArgSimScorer(words, relations, size, sparse=sparse)
    if model == "maxsim":
        return MaxSimScorer(words, relations, size, train_shape, sparse=sparse)
    width = HIDDEN[model] if hidden is None else hidden
    if model == "dnn":
        return DnnScorer(words, relations, size, width, sparse=sparse)
    if model == "bilinear":
        return BilinearScorer(words, relations, size, width, sparse=sparse)
    return CosineScorer(model, words, relations, size, width, sparse=sparse)
