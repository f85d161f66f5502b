"""SQOOP's generator: what is said about its scenes is true, by number of the specification (C3) and by closed form."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from envs.errors import BadEnv
from envs.sqoop import SqoopGenerator
from envs.sqoop.sampling import Room, _different, place
from envs.sqoop.vocabulary import holds

TINY = {"num_glyphs": 6, "image_size": 20, "glyph_size": 3, "min_sep": 2, "renderer": "bitmap"}
GENERATORS = {
    "mini": lambda **more: SqoopGenerator.preset("mini", **more),
    "full": SqoopGenerator,
    "paper": lambda **more: SqoopGenerator.preset("paper", **more),
    "onehot": lambda **more: SqoopGenerator(**{**TINY, "renderer": "onehot", **more}),
}


def stands(relation, one, other, above_is_visual):
    """Geometry in plain words, independent of the library's arithmetic."""
    name = ("left_of", "right_of", "above", "below")[relation]
    if not above_is_visual:
        name = {"above": "below", "below": "above"}.get(name, name)
    return {
        "left_of": one[0] < other[0],
        "right_of": one[0] > other[0],
        "above": one[1] < other[1],
        "below": one[1] > other[1],
    }[name]


def related(scenes, row, above_is_visual):
    """(some X R some Y, some X R anything, anything R some Y) of one example."""
    x, _, y = scenes.question[row]
    objects = list(zip(scenes.shapes[row], scenes.positions[row], strict=True))
    found = [
        (a == x, b == y)
        for (a, p), (b, q) in permutations(objects, 2)
        if stands(scenes.relation[row], p, q, above_is_visual)
    ]
    return (True, True) in found, any(a for a, _ in found), any(b for _, b in found)


@pytest.mark.parametrize("name", GENERATORS)
def test_c3_generator_01_02_answers_are_the_geometry_and_half_a_question_tells_nothing(name: str) -> None:
    generator = GENERATORS[name]()
    pairs = generator.pairs(3, 0)
    scenes = generator.sample(np.concatenate([pairs.train, pairs.unseen_test]), 600, 1)
    for row in range(len(scenes)):
        true, left, right = related(scenes, row, generator.above_is_visual)
        assert true == scenes.answer[row]
        assert left and right  # of positives and of negatives
    truth = holds(
        scenes.positions, scenes.shapes, scenes.question, generator.above_is_visual, generator.num_glyphs
    )
    assert (truth == scenes.answer).all()
    negatives = scenes[scenes.answer == 0]
    for token in (negatives.question[:, 0], negatives.question[:, 2]):
        assert ((negatives.shapes == token[:, None]).sum(axis=1) == 1).all()
    assert (scenes.question[:, 1] == generator.num_glyphs + scenes.relation).all()


@pytest.mark.parametrize("over", [0, 2, 38])
def test_c3_generator_03_every_question_has_as_many_yes_as_no(over: int) -> None:
    generator = SqoopGenerator.preset("mini")
    pairs = generator.pairs(1, 0).train
    scenes = generator.sample(pairs, 8 * 4 * 2 * 3 + over, 1)
    assert (pairs[scenes.pair_id] == scenes.question[:, [0, 2]]).all()
    cells = Counter(
        zip(scenes.pair_id.tolist(), scenes.relation.tolist(), scenes.answer.tolist(), strict=True)
    )
    assert len(cells) == 64
    assert all(cells[pair, relation, 0] == cells[pair, relation, 1] for pair, relation, _ in cells)
    assert set(cells.values()) == ({3} if over == 0 else {3, 4})
    assert sum(cells.values()) == len(scenes)


def test_c3_generator_03_alternate_alternates_and_odd_numbers_have_no_exact_balance() -> None:
    generator = SqoopGenerator.preset("mini", cell_balance="alternate")
    pairs = generator.pairs(1, 0).train
    scenes = generator.sample(pairs, 1601, 1)
    assert (scenes.answer == (np.arange(1601) % 2 == 0)).all()
    assert np.ptp(np.bincount(scenes.pair_id)) <= 1
    cells = np.bincount(scenes.pair_id * 4 + scenes.relation)
    assert np.ptp(cells) > 5  # relations are draws
    with pytest.raises(BadEnv, match="even number"):
        SqoopGenerator.preset("mini").sample(pairs, 3, 1)


@pytest.mark.parametrize("cover", [False, True])
@pytest.mark.parametrize(("glyphs", "rhs"), [(8, 1), (36, 1), (36, 4), (8, 7), (5, 3)])
def test_c3_generator_04_pairs_are_disjoint_and_every_glyph_is_a_left_hand_side(
    glyphs: int, rhs: int, cover: bool
) -> None:
    generator = SqoopGenerator(**{**TINY, "num_glyphs": glyphs})
    pairs = generator.pairs(rhs, 3, cover=cover)
    sets = [
        {tuple(pair) for pair in part.tolist()} for part in (pairs.train, pairs.unseen_val, pairs.unseen_test)
    ]
    assert sum(map(len, sets)) == len(set.union(*sets)) == glyphs * (glyphs - 1)
    assert all(x != y for part in sets for x, y in part)
    assert (np.bincount(pairs.train[:, 0], minlength=glyphs) == rhs).all()
    assert abs(len(sets[1]) - len(sets[2])) <= 1
    right = np.bincount(pairs.train[:, 1], minlength=glyphs)
    assert pairs.covered_as_y == (right > 0).mean()
    if cover:
        assert (right == rhs).all() and pairs.covered_as_y == 1.0


def test_c3_generator_04_the_published_rule_leaves_a_third_without_a_right_hand_side() -> None:
    covered = np.mean(
        [SqoopGenerator(**{**TINY, "num_glyphs": 36}).pairs(1, s).covered_as_y for s in range(60)]
    )
    assert covered == pytest.approx(1 - (34 / 35) ** 35, abs=0.025)


@pytest.mark.parametrize(("glyphs", "leak"), [(36, 0.158), (8, 0.578), (6, 0.704)])
def test_c3_generator_05_twins_of_x_and_y_have_the_rate_of_the_formula_or_none(
    glyphs: int, leak: float
) -> None:
    assert 1 - ((glyphs - 2) / glyphs) ** 3 == pytest.approx(leak, abs=5e-4)
    for restrict, rate in ((False, leak), (True, 0.0)):
        generator = SqoopGenerator(**{**TINY, "num_glyphs": glyphs}, restrict_positive=restrict)
        scenes = generator.sample(generator.pairs(1, 0).train, 16_000, 1)
        x, _, y = scenes.question.T
        twins = ((scenes.shapes == x[:, None]) | (scenes.shapes == y[:, None])).sum(axis=1) > 2
        positive = scenes.answer == 1
        assert not twins[~positive].any()
        error = np.sqrt(rate * (1 - rate) / positive.sum())
        assert twins[positive].mean() == pytest.approx(rate, abs=4 * error)


@pytest.mark.parametrize("name", GENERATORS)
def test_c3_generator_06_seeds_give_the_same_and_scenes_change_without_the_pairs(name: str) -> None:
    first, second = GENERATORS[name](), GENERATORS[name](seed=5)
    assert (first.pairs(1, 5).train == second.pairs(1).train).all()
    assert (first.pairs(1, 5).unseen_val == second.pairs(1).unseen_val).all()
    pairs = first.pairs(1, 5)
    assert (first.pairs(1, 6).train != pairs.train).any()
    state = np.random.get_state()[1].copy()
    one, again, other = (
        first.sample(pairs.train, 64, 5),
        second.sample(pairs.train, 64),
        first.sample(pairs.train, 64, 6),
    )
    assert (np.random.get_state()[1] == state).all()  # no global randomness
    for name_, values in one.arrays().items():
        assert (values == again.arrays()[name_]).all()
    assert (one.image != other.image).any()
    assert {tuple(q) for q in other.question[:, [0, 2]].tolist()} <= {tuple(p) for p in pairs.train.tolist()}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"num_objects": 3}, "num_objects"),
        ({"num_glyphs": 2}, "num_glyphs"),
        ({"num_glyphs": 65}, "num_glyphs"),
        ({"num_objects": 12}, "num_objects.*min_sep.*image_size"),
        ({"min_sep": 9}, "min_sep"),
        ({"glyph_size": 21}, "glyph_size"),
        ({"glyph_size": 9, "min_sep": 2}, "glyph_size"),
        ({"glyph_size": 2}, "glyph_size"),
        ({"glyph_size": (4, 3)}, "glyph_size"),
        ({"renderer": "svg"}, "renderer"),
        ({"cell_balance": "about"}, "cell_balance"),
        ({"parity": "paper", "image_size": 12, "glyph_size": 6}, "image_size"),
        ({"parity": "paper", "min_sep": 5}, "min_sep"),
        ({"restrict_positive": 1}, "restrict_positive"),
        ({"renderer": "truetype", "font": "no/such.ttf"}, "font"),
    ],
)
def test_c3_generator_07_what_cannot_be_is_refused_at_once_by_name(arguments: dict, named: str) -> None:
    with pytest.raises(BadEnv, match=named):
        SqoopGenerator(**{**TINY, **arguments})


def test_c3_generator_07_pairs_that_are_none_are_refused() -> None:
    generator = SqoopGenerator(**TINY)
    for wrong in (
        np.zeros((0, 2), int),
        np.array([[1, 1]]),
        np.array([[0, 6]]),
        np.array([0, 1]),
        np.ones((2, 2)),
    ):
        with pytest.raises(BadEnv, match="pairs"):
            generator.sample(wrong, 2, 0)
    with pytest.raises(BadEnv, match="rhs_per_lhs"):
        generator.pairs(6, 0)
    with pytest.raises(BadEnv, match="unseen_val"):
        generator.pairs(5, 0).of("unseen_val")


@settings(max_examples=40, deadline=None)
@given(
    num_glyphs=st.integers(3, 12),
    image_size=st.integers(4, 40),
    num_objects=st.integers(4, 9),
    low=st.integers(3, 10),
    more=st.integers(0, 3),
    min_sep=st.integers(1, 8),
    parity=st.sampled_from([None, None, "paper"]),
    restrict=st.booleans(),
)
def test_c3_generator_07_any_arguments_are_refused_or_lead_to_right_scenes(
    num_glyphs, image_size, num_objects, low, more, min_sep, parity, restrict
) -> None:
    try:
        generator = SqoopGenerator(
            num_glyphs, image_size, num_objects, (low, low + more), min_sep, "bitmap", restrict, parity=parity
        )
    except BadEnv:
        return
    scenes = generator.sample(generator.pairs(1, 0).train, 16, 0)  # ends: a hang is a failure of the suite
    truth = holds(scenes.positions, scenes.shapes, scenes.question, generator.above_is_visual, num_glyphs)
    assert (truth == scenes.answer).all()
    off = np.abs(scenes.positions[:, :, None] - scenes.positions[:, None])
    off[:, np.arange(num_objects), np.arange(num_objects)] = min_sep
    assert off.min() >= min_sep
    if parity is None:
        start = scenes.positions - (scenes.sizes // 2)[:, :, None]
        assert start.min() >= 0 and (start + scenes.sizes[:, :, None]).max() <= image_size


# ----- the constructive sampler against closed forms


def test_different_values_are_uniform_over_ordered_choices() -> None:
    room = Room(image_size=8, num_objects=4, min_sep=2, smallest=1, largest=1)
    assert room.places == 5
    drawn = np.stack(_different(np.random.default_rng(0), room, 60_000))
    counts = Counter(map(tuple, drawn.T.tolist()))
    assert set(counts) == set(permutations(range(5), 4))
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_layouts_are_uniform_over_those_that_answer_right() -> None:
    """All orders of four values that the relation allows come equally often, and so do the places taken."""
    room = Room(image_size=6, num_objects=4, min_sep=1, smallest=1, largest=1)
    num = 40_000
    boxes = np.ones((4, num), np.int16)
    positive = np.arange(num) % 2 == 0
    smaller = np.arange(num) % 4 < 2
    along, _ = place(np.random.default_rng(1), room, boxes, positive, smaller)
    wanted = {
        (True, True): lambda x, y, a, b: x < y,
        (True, False): lambda x, y, a, b: x > y,
        (False, True): lambda x, y, a, b: a < y < x < b,
        (False, False): lambda x, y, a, b: a > y > x > b,
    }
    for (is_positive, is_smaller), right in wanted.items():
        rows = (positive == is_positive) & (smaller == is_smaller)
        counts = Counter(map(tuple, along[:, rows].T.tolist()))
        assert set(counts) == {c for c in permutations(range(6), 4) if right(*c)}
        assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_boxes_never_share_a_pixel_and_centres_stay_apart() -> None:
    generator = SqoopGenerator(glyph_size=(10, 15), renderer="bitmap", restrict_positive=True)
    scenes = generator.sample(generator.pairs(1, 0).train, 2000, 0)
    start = scenes.positions - (scenes.sizes // 2)[:, :, None]
    end = start + scenes.sizes[:, :, None]
    assert start.min() >= 0 and end.max() <= 64
    for i in range(5):
        for j in range(i):
            apart = (end[:, i] <= start[:, j]) | (end[:, j] <= start[:, i])
            assert apart.any(axis=1).all()
            assert (np.abs(scenes.positions[:, i] - scenes.positions[:, j]) >= 5).all()
    sizes = np.bincount(scenes.sizes.reshape(-1), minlength=16)[10:]
    assert stats.chisquare(sizes).pvalue > 1e-3  # each size equally likely, though large ones fit less often
