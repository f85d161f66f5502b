"""The scorers, the phrase encoder, the vectors they begin with, and the corruptions they learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rllib_ext.commonsense.embeddings import ppmi_svd, random_vectors, read_vectors, word_vectors
from rllib_ext.commonsense.negatives import InBatchCorruptor, Known
from rllib_ext.commonsense.scorers import HIDDEN, MODELS, Scorer, build_scorer
from rllib_ext.commonsense.synthetic import synthetic_kb
from rllib_ext.commonsense.triples import KnowledgeBase, Triples, keys_of
from rllib_ext.errors import BadConfig, BadData


@pytest.fixture(scope="module")
def base() -> KnowledgeBase:
    return synthetic_kb(4, train=600, evaluation=60)


def tensors(part: Triples) -> tuple[Tensor, Tensor, Tensor]:
    return torch.from_numpy(part.heads), torch.from_numpy(part.relations), torch.from_numpy(part.tails)


def scorer(model: str, base: KnowledgeBase, sparse: bool = True) -> Scorer:
    torch.manual_seed(0)
    words, relations, train = len(base.vocabulary.words), len(base.vocabulary.relations), base.train
    shape = (len(train), train.heads.shape[1], train.tails.shape[1])
    made = build_scorer(
        model, words=words, relations=relations, size=12, hidden=16, sparse=sparse, train_shape=shape
    )
    made.phrases.begin(random_vectors(base.vocabulary, 12, 0).vectors)
    if model == "maxsim":
        made.remember(*tensors(train))
    return made.eval()


def test_c3_kbc_01_corruption_changes_one_slot_and_is_not_known(base: KnowledgeBase) -> None:
    train, draw = base.train, np.random.default_rng(0)
    corruptor = InBatchCorruptor(train)
    for _ in range(20):
        rows = draw.choice(len(train), 50, replace=False)
        batch, made = train.take(rows), corruptor.corrupt(rows, draw)
        assert len(made.heads) + made.refused == 150 and made.refused <= 5
        bad = keys_of(batch.heads[made.heads], batch.relations[made.relations], batch.tails[made.tails])
        assert not Known(train).has(bad).any()
        places = np.stack([made.heads, made.relations, made.tails])
        middle = np.sort(places, axis=0)[1]  # two slots are of one row
        assert ((places == middle).sum(0) == 2).all()
    slots = (places != middle).sum(1)
    assert slots.min() > 30  # each slot in a third of them


def test_as_published_corruptions_are_taken_as_they_fall(base: KnowledgeBase) -> None:
    corruptor = InBatchCorruptor(base.train, k=6, reject_known=False)
    made = corruptor.corrupt(np.arange(40), np.random.default_rng(0))
    assert len(made.heads) == 240 and made.refused == 0
    assert (
        (made.heads == made.relations) & (made.relations == made.tails)
    ).any()  # a filler that is the original


def test_the_adversarial_filter_keeps_heads_and_tails_that_are_alike(base: KnowledgeBase) -> None:
    vectors = random_vectors(base.vocabulary, 12, 0).vectors
    rows = np.arange(50)
    sums = vectors[base.train.heads[rows]].sum(1), vectors[base.train.tails[rows]].sum(1)
    kept = InBatchCorruptor(base.train, adversarial=1.0).corrupt(rows, np.random.default_rng(0), sums)
    assert 0 < len(kept.heads) < 100 and kept.refused == 150 - len(kept.heads)
    assert ((sums[0][kept.heads] * sums[1][kept.tails]).sum(1) > 1.0).all()
    with pytest.raises(BadConfig, match="needs the summed vectors"):
        InBatchCorruptor(base.train, adversarial=1.0).corrupt(rows, np.random.default_rng(0))


@pytest.mark.parametrize("model", MODELS)
def test_c3_kbc_05_padding_does_not_change_scores(base: KnowledgeBase, model: str) -> None:
    made, (heads, relations, tails) = scorer(model, base), tensors(base.test)
    wide = [torch.nn.functional.pad(one, (0, extra)) for one, extra in ((heads, 3), (tails, 1))]
    torch.testing.assert_close(made.score(heads, relations, tails), made.score(wide[0], relations, wide[1]))


def test_c3_kbc_06_prototypical_sees_no_pairing(base: KnowledgeBase) -> None:
    (heads, relations, tails), shift = tensors(base.test), 7
    others = tails.roll(shift, 0)
    for model, sees in (("prototypical", False), ("factorized", True), ("dnn", True), ("bilinear", True)):
        made = scorer(model, base)
        first = heads[:1].expand(len(heads), -1), heads[1:2].expand(len(heads), -1)
        gaps = [made.score(head, relations, tails) - made.score(head, relations, others) for head in first]
        depends = (gaps[0] - gaps[1]).abs().max() > 1e-4
        assert depends == sees, model


def test_c3_kbc_07_cosines_lie_between_0_and_1(base: KnowledgeBase) -> None:
    made, (heads, relations, tails) = scorer("factorized", base), tensors(base.test)
    parts = (
        made.of_heads(made.phrases(heads)),
        made.of_relations(relations),
        made.of_tails(made.phrases(tails)),
    )
    terms = made.cosines(*parts)
    assert set(terms) == {"head-tail", "head-relation", "relation-tail"}
    for term in terms.values():
        assert term.min() >= 0 and term.max() <= 1 + 1e-6 and term.std() > 0.01
    total = made.norm(sum(terms.values()).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(made.combine(*parts), total)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "maxsim"])
def test_rows_of_a_batch_score_as_the_triples_that_they_make(base: KnowledgeBase, model: str) -> None:
    made, (heads, relations, tails) = scorer(model, base), tensors(base.test)
    draw = torch.Generator().manual_seed(0)
    places = tuple(torch.randint(len(heads), (100,), generator=draw) for _ in range(3))
    parts = made.of_heads(made.phrases(heads)), relations, made.of_tails(made.phrases(tails))
    wanted = made.score(*(one[at] for one, at in zip((heads, relations, tails), places, strict=True)))
    torch.testing.assert_close(made.score_rows(*parts, places), wanted)


def test_maxsim_is_the_nearest_training_triple(base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scorer("maxsim", base)
    score = made.score(*tensors(base.test))
    monkeypatch.setattr("rllib_ext.commonsense.scorers.SIMILARITIES_AT_ONCE", 1300)  # blocks of two
    torch.testing.assert_close(score, made.score(*tensors(base.test)))
    mean = made.phrases.table.weight.detach().numpy()

    def unit(phrases: np.ndarray) -> np.ndarray:
        rows = np.stack([mean[phrase[phrase != 0]].mean(0) for phrase in phrases])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    test, train = base.test, base.train
    alike = unit(test.heads) @ unit(train.heads).T + unit(test.tails) @ unit(train.tails).T
    alike += test.relations[:, None] == train.relations[None]
    assert np.allclose(score.numpy(), alike.max(1) / 3, atol=1e-5)
    assert np.allclose(made.score(*tensors(train.take(np.arange(20)))).numpy(), 1.0, atol=1e-5)
    assert score.max() < 1 - 1e-4


def test_dnn_and_bilinear_are_their_formulas(base: KnowledgeBase) -> None:
    heads, relations, tails = tensors(base.test)
    dnn = scorer("dnn", base)
    parts = dnn.phrases(heads), dnn.phrases(tails), dnn.table(relations)
    weights = torch.cat([dnn.head_side.weight, dnn.tail_side.weight, dnn.relation_side.weight], dim=1)
    hidden = torch.relu(torch.cat(parts, dim=1) @ weights.T + dnn.head_side.bias)
    torch.testing.assert_close(dnn.score(heads, relations, tails), dnn.out(hidden).squeeze(1))
    bilinear = scorer("bilinear", base)
    u, w = (torch.tanh(bilinear.side(bilinear.phrases(one))) for one in (heads, tails))
    wanted = torch.einsum("bi,bij,bj->b", u, bilinear.matrices[relations], w)
    torch.testing.assert_close(bilinear.score(heads, relations, tails), wanted)


@pytest.mark.parametrize("model", ["factorized", "dnn", "bilinear"])
def test_sparse_gradients_are_the_dense_ones(base: KnowledgeBase, model: str) -> None:
    found = []
    for sparse in (True, False):
        made = scorer(model, base, sparse).train()
        made.score(*tensors(base.test)).sigmoid().sum().backward()
        gradient = made.phrases.table.weight.grad
        assert gradient.is_sparse == sparse
        found.append(gradient.to_dense() if sparse else gradient)
    torch.testing.assert_close(found[0], found[1])
    assert found[0][0].abs().max() == 0 and found[0].abs().max() > 0  # padding learns nothing


def test_names_and_published_widths() -> None:
    made = build_scorer("dnn", words=5, relations=2, size=200)
    assert made.out.in_features == HIDDEN["dnn"] == 1000
    assert build_scorer("bilinear", words=5, relations=34, size=200).matrices.shape == (34, 150, 150)
    with pytest.raises(BadConfig, match="Did you mean 'factorized'"):
        build_scorer("factorised", words=5, relations=2, size=4)


# ----- vectors


def test_vectors_of_a_file(tmp_path: Path, base: KnowledgeBase) -> None:
    words = base.vocabulary.words
    path = tmp_path / "vectors.txt"
    path.write_text(f"3 2\n{words[2]} 1 0\nelsewhere 5 5\n{words[4]} 0 3\nUUUNKKK 7 7\n")
    found = read_vectors(path, base.vocabulary)
    assert found.vectors[2].tolist() == [1, 0] and found.vectors[4].tolist() == [0, 3]
    assert found.vectors[1].tolist() == found.vectors[3].tolist() == [7, 7] and not found.vectors[0].any()
    assert found.found == pytest.approx(2 / (len(words) - 2))
    path.write_text(f"{words[2]} 1 0\n{words[4]} 0 3\n")
    assert read_vectors(path, base.vocabulary).vectors[1].tolist() == [0.5, 1.5]  # the mean
    with pytest.raises(BadConfig, match="set word_size=2"):
        word_vectors(str(path), base.train, 200, 0)
    for text, says in ((f"{words[2]} 1\n{words[4]} 0 3\n", "line 2: 2 numbers, 1"), (f"{words[2]} 1 x\n", "line 1"),
                       (f"{words[2]} nan\n", "finite"), ("other 1 2\n", "no vector of any")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(BadData, match=says):
            read_vectors(path, base.vocabulary)


def test_ppmi_vectors_are_the_low_rank_factor_of_the_information() -> None:
    rows = [("a b", "R", "c"), ("a", "R", "c"), ("d", "S", "e"), ("d e", "S", "e")]
    train = Triples.from_text(rows)
    found = ppmi_svd(train, 40, 0)
    assert np.allclose(np.linalg.norm(found.vectors[2:], axis=1), 2.0, atol=1e-5)
    ids = train.vocabulary.word_ids
    cosine = lambda x, y: float(found.vectors[ids[x]] @ found.vectors[ids[y]]) / 4  # noqa: E731
    assert cosine("a", "b") > 0.3 and cosine("d", "a") < 1e-6 and cosine("e", "c") < 1e-6
    assert np.array_equal(ppmi_svd(train, 40, 0).vectors, found.vectors)


def test_ppmi_vectors_know_topics_that_random_ones_do_not(base: KnowledgeBase) -> None:
    def gap(vectors: np.ndarray) -> float:
        """Mean cosine of words of types of one topic, less that of two topics."""
        words = [
            (i, int(w.split("word")[0][4:]) // 6) for i, w in enumerate(base.vocabulary.words) if "word" in w
        ]
        places, topics = np.array([i for i, _ in words]), np.array([topic for _, topic in words])
        rows = vectors[places] / np.linalg.norm(vectors[places], axis=1, keepdims=True)
        alike, same = rows @ rows.T, topics[:, None] == topics[None]
        return float(alike[same & ~np.eye(len(rows), dtype=bool)].mean() - alike[~same].mean())

    assert (
        gap(ppmi_svd(base.train, 16, 0).vectors)
        > 0.1
        > abs(gap(random_vectors(base.vocabulary, 16, 0).vectors))
    )
