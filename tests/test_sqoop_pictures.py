"""SQOOP's pictures show their scenes, pixel by pixel; the released sampler draws what a plain loop of it draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from envs.errors import BadEnv
from envs.sqoop import Scenes, SqoopGenerator
from envs.sqoop.rendering import make_sprites


def dense(generator: SqoopGenerator, glyph: int, box: int) -> np.ndarray:
    """One sprite as a picture of its own."""
    sprites = generator.sprites
    row = int(np.flatnonzero(sprites.boxes == box)[0]) * generator.num_glyphs + glyph
    picture = np.zeros(generator.shape, np.uint8)
    picture.reshape(-1)[sprites.offsets[row]] = sprites.values[row]
    assert not picture[box:].any() and not picture[:, box:].any()
    return picture[:box, :box]


@pytest.mark.parametrize(
    "generator",
    [
        SqoopGenerator(),
        SqoopGenerator.preset("mini"),
        SqoopGenerator(8, 32, glyph_size=(3, 5), min_sep=3, renderer="bitmap"),
        SqoopGenerator(8, 24, glyph_size=3, min_sep=2, renderer="onehot"),
    ],
    ids=["truetype", "mini", "sizes", "onehot"],
)
def test_pictures_are_their_objects_and_nothing_else(generator: SqoopGenerator) -> None:
    scenes = generator.sample(generator.pairs(2, 0).train, 600, 3)
    assert scenes.image.shape == (600, *generator.shape) and scenes.image.dtype == np.uint8
    for row in (*range(0, 600, 60), 511, 512, 599):
        expected = np.zeros(generator.shape, np.uint8)
        objects = zip(scenes.shapes[row], scenes.positions[row], scenes.sizes[row], strict=True)
        for glyph, (x, y), size in objects:
            left, top = x - size // 2, y - size // 2
            expected[top : top + size, left : left + size] += dense(generator, glyph, size)
        assert (scenes.image[row] == expected).all()


def test_letters_are_green_whole_and_different() -> None:
    sprites = make_sprites("truetype", 36, 64, (10, 15))
    assert sprites.values.max() == 128
    assert set(np.unique(sprites.offsets % 3)) == {1}
    for size in range(6):
        of_size = [
            (o.tobytes(), v.tobytes())
            for o, v in zip(sprites.offsets[36 * size :][:36], sprites.values[36 * size :][:36], strict=True)
        ]
        assert len(set(of_size)) == 36
    assert (np.diff(sprites.boxes) >= 0).all() and 8 <= sprites.boxes.min() <= sprites.boxes.max() <= 20
    released = make_sprites("truetype", 36, 64, (10, 15), clip=True)
    wide, cut = (s.values[5 * 36 + 22].astype(int).sum() for s in (sprites, released))
    assert cut <= wide  # W


def test_bitmaps_are_the_same_for_everybody_and_differ_in_two_pixels() -> None:
    few, many = (make_sprites("bitmap", n, 24, (3, 3)) for n in (8, 64))
    patterns = [{*row} for row in many.offsets.tolist()]
    assert [set(row) for row in few.offsets.tolist()] == patterns[:8]
    assert min(len(a ^ b) for i, a in enumerate(patterns) for b in patterns[:i]) >= 2
    with pytest.raises(BadEnv, match="num_glyphs"):
        make_sprites("truetype", 37, 64, (10, 10))


# ----- parity="paper"


def one_after_the_other(rng, positive: bool, image: int, box: int, min_sep: int) -> list[tuple[int, int]]:
    """The released recipe for "X left_of Y", five objects of one size, as a plain loop of one scene."""

    def put(placed, limit=None):
        for _ in range(10):
            side = int(np.ceil(box * (abs(np.sin(angle)) + abs(np.cos(angle)))))
            low, high = side // 2 + 1, image - side // 2 - 1
            if limit is not None and min(limit, high) <= low:
                return None
            x = int(rng.integers(low, high if limit is None else min(limit, high)))
            y = int(rng.integers(low, high))
            clear = all(
                abs(x - x2) >= min_sep
                and abs(y - y2) >= min_sep
                and max(abs(x - x2), abs(y - y2)) >= (side + s2) // 2 + 1
                for x2, y2, s2 in placed
            )
            if clear:
                return x, y, side
        return None

    while True:
        placed: list[tuple[int, int, int]] = []
        for i in range(2):
            angle = np.deg2rad(rng.integers(0, 360))
            found = put(placed, placed[0][0] if i == 1 and not positive else None)
            placed += [found] if found else []
        if len(placed) < 2 or (positive and not placed[0][0] < placed[1][0]):
            continue
        failures = 0
        while len(placed) < 5 and failures < 10:
            angle = np.deg2rad(rng.integers(0, 360))
            found = put(placed)
            failures += not found
            placed += [found] if found else []
        if len(placed) < 5:
            continue
        if positive or (placed[0][0] < placed[3][0] and placed[2][0] < placed[1][0]):
            return [(x, y) for x, y, _ in placed]


@pytest.mark.parametrize("positive", [True, False])
def test_parity_draws_what_the_released_recipe_draws(positive: bool) -> None:
    generator = SqoopGenerator(6, 48, 5, 5, 3, "bitmap", parity="paper")
    rng = np.random.default_rng(7)
    peer = np.array([one_after_the_other(rng, positive, 48, 5, 3) for _ in range(500)])
    num = 4000
    scenes: Scenes = generator.scenes_of(
        np.tile([[0, 1]], (num, 1)), np.zeros(num, np.int64), np.full(num, positive), rng
    )
    ours = scenes.positions
    for what in (
        lambda p: p[:, 0, 0],
        lambda p: p[:, 1, 0] - p[:, 0, 0],
        lambda p: p[:, 3, 0],
        lambda p: p[:, 2, 1],
        lambda p: np.ptp(p[:, :, 0], axis=1),
        lambda p: np.ptp(p[:, :, 1], axis=1),
    ):
        assert stats.ks_2samp(what(peer), what(ours)).pvalue > 1e-3


def test_parity_has_the_peculiarities_of_the_released_generator() -> None:
    generator = SqoopGenerator.preset("paper")
    assert generator.num_tokens == 40 and generator.shape == (64, 64, 3)
    scenes = generator.sample(generator.pairs(1, 0).train, 200, 0)
    assert (scenes.answer == (np.arange(200) + 1) % 2).all()
    above = scenes[(scenes.relation == 2) & (scenes.answer == 0)]
    assert (
        above.positions[:, 0, 1] < above.positions[:, 1, 1]
    ).all()  # X drawn higher: "above" is answered no
    for axis in range(2):
        off = np.abs(scenes.positions[:, :, None, axis] - scenes.positions[:, None, :, axis])
        assert off[:, ~np.eye(5, dtype=bool)].min() >= 5
    english = SqoopGenerator.preset("paper", above_is_visual=True, cell_balance="exact")
    assert english.above_is_visual and english.cell_balance == "exact"
