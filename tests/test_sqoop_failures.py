"""Pictures of SQOOP's mistakes: which ones are shown, in which order, and that nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from envs.sqoop import SqoopGenerator
from rllib_ext.analysis.sqoop_failures import failure_examples, mistakes
from rllib_ext.errors import BadData


def drawn(**arguments):
    generator = SqoopGenerator.preset("mini", **arguments)
    return generator, generator.sample(generator.pairs(1, 0).train, 64, 0)


def test_the_surest_mistakes_come_first_and_right_answers_never() -> None:
    _, scenes = drawn()
    sure = np.random.default_rng(0).uniform(0.1, 3, 64)
    right = np.random.default_rng(1).random(64) < 0.8
    told = np.where(right, scenes.answer, 1 - scenes.answer)
    logits = np.where(np.arange(2) == told[:, None], sure[:, None], 0.0)
    rows = mistakes(scenes, logits, 5)
    wrong = np.flatnonzero(~right)
    assert rows.tolist() == sorted(wrong, key=lambda row: -sure[row])[:5]
    assert len(mistakes(scenes, logits, 64)) == len(wrong)


@pytest.mark.parametrize("renderer", ["bitmap", "onehot"])
def test_a_picture_a_mistake_with_its_question(renderer: str) -> None:
    generator, scenes = drawn(renderer=renderer)
    logits = np.tile([1.0, 0.0], (64, 1))  # always no
    figure = failure_examples(scenes, logits, generator.words, count=7, name="never")
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    rows = mistakes(scenes, logits, 7)
    assert len(titles) == 7 and all(title.endswith("yes, answered no") for title in titles)
    x, relation, y = (generator.words[token].replace("_", " ") for token in scenes.question[rows[0]])
    assert titles[0].startswith(f"{x} {relation} {y}?")
    frames = [ax.patches for ax in figure.axes if ax.get_title()]
    assert all(len(of) == 2 for of in frames)
    corner = scenes.positions[rows[0], 0] - scenes.sizes[rows[0], 0] // 2 - 1
    assert frames[0][0].get_xy() == tuple(corner)
    assert "50.0% of 64" in "".join(text.get_text() for text in figure.texts)


def test_no_mistakes_and_strangers_logits() -> None:
    generator, scenes = drawn()
    logits = np.eye(2)[scenes.answer]
    assert not [ax for ax in failure_examples(scenes, logits, generator.words).axes if ax.get_title()]
    for wrong in (logits[:9], logits * np.nan):
        with pytest.raises(BadData, match="64"):
            mistakes(scenes, wrong, 3)
