"""What answers SQOOP's questions without looking: nothing does where leaks are closed, and each leak shows where not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from envs.sqoop import Scenes, SqoopGenerator

TRAINED, TESTED = 8000, 8000


def both(**arguments) -> tuple[Scenes, Scenes]:
    generator = SqoopGenerator.preset("mini", **arguments)
    pairs = generator.pairs(1, 0).train
    return generator.sample(pairs, TRAINED, 1), generator.sample(pairs, TESTED, 2)


def accuracy(features, trained: Scenes, tested: Scenes) -> float:
    model = LogisticRegression(max_iter=200).fit(features(trained), trained.answer)
    return float(model.score(features(tested), tested.answer))


def question(scenes: Scenes) -> np.ndarray:
    """Each word, and the whole question."""
    cells = np.eye(32)[scenes.pair_id * 4 + scenes.relation]
    return np.hstack([np.eye(12)[scenes.question].reshape(len(scenes), -1), cells])


def counts(scenes: Scenes) -> np.ndarray:
    """How often X and Y stand in the picture."""
    x, _, y = scenes.question.T
    return np.stack([(scenes.shapes == x[:, None]).sum(1), (scenes.shapes == y[:, None]).sum(1)], axis=1)


def layout(scenes: Scenes) -> np.ndarray:
    """Which places are taken along the relation's axis and across it, whoever stands there."""
    vertical = (scenes.relation >= 2)[:, None]
    along = np.where(vertical, scenes.positions[:, :, 1], scenes.positions[:, :, 0])
    across = np.where(vertical, scenes.positions[:, :, 0], scenes.positions[:, :, 1])
    order = along.argsort(axis=1)
    ordered = [np.take_along_axis(values, order, axis=1) for values in (along, across)]
    gaps = [np.diff(np.sort(values, axis=1), axis=1) for values in (along, across)]
    return np.hstack([*ordered, *gaps]) / 24


@pytest.mark.parametrize("features", [question, counts, layout])
def test_c3_generator_08_nothing_but_looking_answers_where_the_leaks_are_closed(features) -> None:
    assert accuracy(features, *both()) == pytest.approx(0.5, abs=0.02)


def test_c3_generator_08_counting_answers_where_positives_are_not_restricted() -> None:
    leak = 1 - (6 / 8) ** 3
    assert accuracy(counts, *both(restrict_positive=False)) == pytest.approx(0.5 + leak / 2, abs=0.02)


def test_c3_generator_08_questions_answer_where_their_answers_are_drawn_and_few() -> None:
    """18 examples of a question: the majority among them is about .59, as a coin thrown 18 times has it."""
    generator = SqoopGenerator.preset("mini", cell_balance="alternate")
    scenes = generator.sample(generator.pairs(1, 0).train, 18 * 32, 1)
    model = LogisticRegression(max_iter=500, C=100).fit(question(scenes), scenes.answer)
    assert 0.55 < model.score(question(scenes), scenes.answer) < 0.65
    exact = SqoopGenerator.preset("mini").sample(generator.pairs(1, 0).train, 18 * 32, 1)
    model = LogisticRegression(max_iter=500, C=100).fit(question(exact), exact.answer)
    assert model.score(question(exact), exact.answer) == pytest.approx(0.5, abs=1e-9)
