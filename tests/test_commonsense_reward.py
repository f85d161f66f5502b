"""A scorer as a reward: calibrated, cut off where it knows nothing, and told of by novelty (invariant 8 is here, too)."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from envs.text import Sample, Task
from rllib_ext.commonsense.calibration import Calibration, calibration_error, fit_calibration
from rllib_ext.commonsense.evaluation import scores_of
from rllib_ext.commonsense.judging import TripleJudge, cuts_of
from rllib_ext.commonsense.novelty import NoveltyIndex
from rllib_ext.commonsense.reward import KBCReward
from rllib_ext.commonsense.scorers import build_scorer
from rllib_ext.commonsense.synthetic import synthetic_kb
from rllib_ext.commonsense.triples import KnowledgeBase
from rllib_ext.errors import BadConfig, BadData

SIZE = 8


@pytest.fixture(scope="module")
def base() -> KnowledgeBase:
    return synthetic_kb(0, train=400, evaluation=60, phrases_per_type=10)


def scorer_of(base: KnowledgeBase, model: str, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    train = base.train
    scorer = build_scorer(
        model, words=len(base.vocabulary.words), relations=len(base.vocabulary.relations), size=SIZE, hidden=16,
        train_shape=(len(train), train.heads.shape[1], train.tails.shape[1]),
    )  # fmt: skip
    draw = np.random.default_rng(seed)
    scorer.phrases.begin(draw.normal(size=(len(base.vocabulary.words), SIZE)).astype(np.float32))
    if model == "maxsim":
        scorer.remember(*(torch.from_numpy(part) for part in (train.heads, train.relations, train.tails)))
    return scorer


def judge_of(base: KnowledgeBase, model: str = "argsim", slope: float = 1.0) -> TripleJudge:
    scorer = scorer_of(base, model)
    index = NoveltyIndex.fit(base.train, scorer.phrases.initial.numpy())
    return TripleJudge(functools.partial(scores_of, scorer), index, Calibration(slope, 0.0), (2.0, 4.0))


def answer(text: str, **info: str) -> Sample:
    return Sample(Task("t", "say something true", info=info), text, (text,))


def test_c3_kbc_08_maxsim_is_maximal_on_a_training_triple(base: KnowledgeBase) -> None:
    """1 for every training triple, and never more; less where no training triple has the same means and relation."""
    scorer = scorer_of(base, "maxsim")
    on_train, on_test = scores_of(scorer, base.train), scores_of(scorer, base.test)
    np.testing.assert_allclose(on_train, 1.0, atol=1e-5)
    assert on_test.max() <= 1.0 + 1e-5
    index = NoveltyIndex.fit(base.train, scorer.phrases.initial.numpy())
    assert (on_test[index.distance(base.test) > 1e-3] < 1.0 - 1e-6).all()


def test_calibration_finds_the_sigmoid_that_drew_the_labels() -> None:
    draw = np.random.default_rng(0)
    score = draw.normal(2.0, 3.0, 20_000)
    label = (draw.random(len(score)) < 1 / (1 + np.exp(-(1.5 * score - 2.0)))).astype(int)
    found = fit_calibration(score, label)
    assert found.slope == pytest.approx(1.5, rel=0.05) and found.intercept == pytest.approx(-2.0, rel=0.05)
    assert calibration_error(found(score), label) < 0.01 < calibration_error(found(score + 1.0), label)


def test_calibration_keeps_the_order_and_survives_what_is_extreme() -> None:
    separated = fit_calibration(np.array([-1.0, -2.0, 1.0, 2.0]), np.array([0, 0, 1, 1]))
    probability = separated(np.array([-1e6, -1.0, 0.0, 1.0, 1e6]))
    assert np.isfinite(separated.slope) and (np.diff(probability) > 0).all()
    assert probability[0] == 0.0 and probability[-1] == 1.0
    with pytest.raises(BadData, match="no sign of a true triple"):
        fit_calibration(np.array([1.0, 2.0, -1.0, -2.0]), np.array([0, 0, 1, 1]))
    with pytest.raises(BadData, match="of both labels"):
        fit_calibration(np.array([1.0, 2.0]), np.array([1, 1]))
    with pytest.raises(BadConfig, match="positive slope"):
        Calibration(-1.0, 0.0)


def test_a_judge_says_what_its_parts_say(base: KnowledgeBase) -> None:
    judge = judge_of(base)
    texts = [base.test.text(row) for row in range(5)]
    found = judge.judge(texts)
    scores, near = (
        judge.score(base.test)[:5],
        judge.index.nearest(base.test.take(slice(0, 5))),
    )
    np.testing.assert_allclose([one.score for one in found], scores, rtol=1e-6)
    np.testing.assert_allclose([one.probability for one in found], 1 / (1 + np.exp(-scores)), rtol=1e-6)
    np.testing.assert_allclose([one.novelty for one in found], near.distance_N, rtol=1e-6)
    assert [one.nearest for one in found] == [base.train.text(int(row)) for row in near.row_N]
    for one in found:
        assert one.bucket == ("near" if one.novelty <= 2 else "middle" if one.novelty <= 4 else "far")
    unknown = judge.judge([("zebra stripes", texts[0][1], texts[0][2])])[0]
    assert unknown.unknown_words == 2
    assert judge.judge([]) == []


def test_the_reward_is_the_formula_and_a_tail_or_a_whole_triple_are_answers(base: KnowledgeBase) -> None:
    reward = KBCReward(judge_of(base), novelty_weight=0.5, max_novelty=1000.0)
    head, relation, tail = base.test.text(0)
    samples = [
        answer(tail, head=head, relation=relation),
        answer(f"{head} | {relation.upper()} | {tail}"),
        answer(f"{head}\t{relation}\t{tail.upper()}"),
    ]
    scores = reward.score(samples)
    judgement = reward.judge.judge([(head, relation, tail)])[0]
    expected = judgement.probability * (1 + 0.5 * judgement.novelty / 1000.0)
    assert scores == [pytest.approx(expected)] * 3
    assert [one.nearest for one in reward.judgements] == [judgement.nearest] * 3


def test_what_is_no_triple_or_too_far_has_no_score_and_a_reason(base: KnowledgeBase) -> None:
    judge = judge_of(base)
    distance = judge.index.distance(base.test)
    far = base.test.text(int(distance.argmax()))
    reward = KBCReward(judge, max_novelty=float(distance.max()) * 0.99)
    texts = [
        "",
        "hello",
        "a | b | c | d",
        f"{far[0]} | NoSuch | b",
        " | relation0 | b",
        "x" * 500,
        " | ".join(far),
    ]
    assert reward.score([answer(text) for text in texts]) == [None] * len(texts)
    assert reward.failures == {
        "not a triple: head | relation | tail": 3,
        "a relation that the scorer does not know": 1,
        "an empty phrase": 1,
        "longer than 200 characters": 1,
        "farther from training than max_novelty": 1,
    }
    assert KBCReward(judge).max_novelty == 4.0  # the judge's upper cut: the default is to cut


def test_the_summary_tells_of_buckets_copies_and_the_second_judge(base: KnowledgeBase) -> None:
    first, second = judge_of(base), judge_of(base, slope=1.0)
    second.calibration = Calibration(1.0, 50.0)  # finds everything true
    reward = KBCReward(first, max_novelty=1000.0, second_judge=second)
    assert reward.summary()["near_copies"] is None and reward.summary()["judge_agreement"] is None
    copies, others = ([part.text(row) for row in range(8)] for part in (base.train, base.test))
    scores = reward.score([answer(" | ".join(text)) for text in [*copies, *others]])
    told = reward.summary()
    judgements = first.judge([*copies, *others])
    assert told["scored"] == 16 and told["unscored"] == 0
    assert told["near_copies"] == pytest.approx(sum(one.novelty <= 1e-6 for one in judgements) / 16)
    assert told["near_copies"] >= 0.5
    assert told["judge_agreement"] == pytest.approx(sum(one.probability > 0.5 for one in judgements) / 16)
    by_hand = [score for score, one in zip(scores, judgements, strict=True) if one.bucket == "near"]
    assert told["reward_by_bucket"]["near"] == pytest.approx(np.mean(by_hand))
    assert sum(told["share_by_bucket"].values()) == pytest.approx(1.0)


def test_default_cuts_are_thirds_of_what_is_far_within_training(base: KnowledgeBase) -> None:
    vectors = scorer_of(base, "argsim").phrases.initial.numpy()
    low, high = cuts_of(base.train, vectors)
    assert 0 < low < high
    draw = np.random.default_rng(5)
    half = draw.permutation(len(base.train))
    index = NoveltyIndex.fit(base.train.take(half[:200]), vectors)
    share = np.searchsorted((low, high), index.distance(base.train.take(half[200:])))
    assert all(0.15 < (share == bucket).mean() < 0.55 for bucket in range(3))
    with pytest.raises(BadData, match="give cuts"):
        cuts_of(base.train.take(slice(0, 3)), vectors)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_novelty": 0.0}, "max_novelty"),
        ({"novelty_weight": -1.0}, "novelty_weight"),
        ({"near_copy": 9.0}, "near_copy"),
    ],
)
def test_settings_out_of_range_are_named(base: KnowledgeBase, settings: dict, said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        KBCReward(judge_of(base), **settings)
