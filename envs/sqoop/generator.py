"""`SqoopGenerator`: scenes of scattered glyphs and yes/no questions about two of them, as many as are wanted, at once.

    generator = SqoopGenerator.preset("mini")
    pairs = generator.pairs(rhs_per_lhs=1, seed=0)
    scenes = generator.sample(pairs.train, 40_000, seed=1)      # image, question, answer, ...

Pairs and scenes have seeds of their own: another seed for `sample` shows the same questions about other pictures. The
same arguments and seeds give the same arrays. No global randomness; what cannot be drawn is refused when the generator is
made, by the name of what is in the way.

Arguments
    num_glyphs          glyph classes, 3 or more
    image_size          side of the picture in pixels
    num_objects         objects in a scene, 4 or more: X, Y and the two that make half a question true
    glyph_size          smallest and largest size, each size equally likely; point size of letters, pixels of a bitmap
    min_sep             least distance of two centres on each axis, in pixels
    renderer            "truetype", "bitmap" or "onehot" (`envs.sqoop.rendering`)
    restrict_positive   whether X and Y stand once in a picture that answers yes, as they always do in one that answers
                        no. False is as published and lets one count: of K classes and 3 other objects,
                        1 - ((K - 2) / K)^3 of the positives show X or Y twice (.158 of 36 classes, .578 of 8)
    cell_balance        "exact" or "alternate" (`envs.sqoop.cells`); None: "exact", in parity "alternate"
    above_is_visual     whether "above" is what is drawn higher; None: yes, in parity no
    seed                of `pairs` and `sample` where they are given none
    font                a .ttf file for truetype; None is Pillow's own
    parity              None, or "paper": drawn one object after the other as the released generator does it, letters
                        cut to their box, boxes made larger by a rotation that is not drawn (`envs.sqoop.paper`)
    rotate              in parity only: whether there is that rotation

Source: Bahdanau et al. 2019 (arXiv 1811.12889). Left out: functional programs of the questions (one template), other
templates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import BadEnv
from envs.grid.arguments import choice, flag, whole
from envs.sqoop import paper
from envs.sqoop.cells import BALANCES, assign
from envs.sqoop.pairs import Pairs, make_pairs
from envs.sqoop.presets import PRESETS
from envs.sqoop.rendering import RENDERERS, Sprites, make_sprites
from envs.sqoop.sampling import AT_ONCE, Room, Shorts, check_room, place
from envs.sqoop.scenes import Scenes
from envs.sqoop.vocabulary import Ints, first_is_smaller, glyph_names, relation_axis

PARITIES = (None, "paper")


class SqoopGenerator:
    """See the module. `shape` is that of a picture, `num_tokens` the number of words of a question."""

    def __init__(
        self,
        num_glyphs: int = 36,
        image_size: int = 64,
        num_objects: int = 5,
        glyph_size: int | tuple[int, int] = (10, 15),
        min_sep: int = 5,
        renderer: str = "truetype",
        restrict_positive: bool = False,
        cell_balance: str | None = None,
        above_is_visual: bool | None = None,
        seed: int = 0,
        *,
        font: str | None = None,
        parity: str | None = None,
        rotate: bool = True,
    ) -> None:
        self.num_glyphs = whole("num_glyphs", num_glyphs, 3)
        self.image_size = whole("image_size", image_size, 4, 1024)
        self.num_objects = whole("num_objects", num_objects, 4, 32)
        self.glyph_size = _size_range(glyph_size)
        self.min_sep = whole("min_sep", min_sep, 1)
        self.renderer = choice("renderer", renderer, RENDERERS)
        self.restrict_positive = flag("restrict_positive", restrict_positive)
        self.parity = choice("parity", parity, PARITIES)
        original = self.parity is not None
        if cell_balance is None:
            cell_balance = "alternate" if original else "exact"
        self.cell_balance = choice("cell_balance", cell_balance, BALANCES)
        self.above_is_visual = not original
        if above_is_visual is not None:
            self.above_is_visual = flag("above_is_visual", above_is_visual)
        self.seed = whole("seed", seed, 0)
        self.rotate = flag("rotate", rotate)
        self.sprites, self._room = self._prepared(font)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> SqoopGenerator:
        """The generator of a name of `PRESETS`, "mini" or "paper", with other arguments where they are given."""
        return cls(**{**PRESETS[choice("preset", name, tuple(PRESETS))], **overrides})

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.sprites.shape

    @property
    def num_tokens(self) -> int:
        return self.num_glyphs + 4

    @property
    def words(self) -> tuple[str, ...]:
        """The word of each token."""
        return (*glyph_names(self.num_glyphs), "left_of", "right_of", "above", "below")

    def pairs(self, rhs_per_lhs: int = 1, seed: int | None = None, *, cover: bool = False) -> Pairs:
        """Training pairs and the two unseen sets; `envs.sqoop.pairs`."""
        return make_pairs(self.num_glyphs, rhs_per_lhs, self.seed if seed is None else seed, cover)

    def sample(self, pairs: NDArray[Any], n: int, seed: int | np.random.Generator | None = None) -> Scenes:
        """``n`` examples about these pairs [P, 2], in random order, with all their answers balanced."""
        asked = self._pairs_of(pairs)
        rng = seed
        if not isinstance(rng, np.random.Generator):
            scenes_seed = whole("seed", self.seed if rng is None else rng, 0)
            rng = np.random.default_rng(np.random.SeedSequence([scenes_seed, 2]))
        pair, relation, positive = assign(rng, len(asked), whole("n", n, 1), self.cell_balance)
        return self.scenes_of(asked[pair], relation, positive, rng, pair)

    def scenes_of(
        self,
        pairs_N2: Ints,
        relation_N: Ints,
        positive_N: NDArray[np.bool_],
        rng: np.random.Generator,
        pair_id_N: Ints | None = None,
    ) -> Scenes:
        """One scene for each question and answer that is wanted."""
        smaller_N = first_is_smaller(relation_N, self.above_is_visual)
        vertical_N = relation_axis(relation_N)
        num = len(pairs_N2)
        shapes_NK = np.empty((num, self.num_objects), np.int16)
        sizes_NK = np.empty((num, self.num_objects), np.int16)
        centres_N2K = np.empty((num, 2, self.num_objects), np.int16)
        for start in range(0, num, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            drawn = self._place(rng, pairs_N2[part], positive_N[part], smaller_N[part], vertical_N[part])
            shapes_NK[part], sizes_NK[part], centres_N2K[part] = drawn
        question = np.stack([pairs_N2[:, 0], self.num_glyphs + relation_N, pairs_N2[:, 1]], axis=1)
        return Scenes(
            self.sprites.draw(centres_N2K, shapes_NK, sizes_NK),
            question,
            positive_N.astype(np.int64),
            np.zeros(num, np.int64) if pair_id_N is None else pair_id_N,
            relation_N.astype(np.int64),
            np.ascontiguousarray(centres_N2K.transpose(0, 2, 1)).astype(np.int64),
            shapes_NK.astype(np.int64),
            self.sprites.boxes.astype(np.int64)[sizes_NK],
        )

    def _prepared(self, font: str | None) -> tuple[Sprites, Room]:
        """What is drawn and the room for it, which must do."""
        original = self.parity is not None
        sprites = make_sprites(
            self.renderer, self.num_glyphs, self.image_size, self.glyph_size, font, clip=original
        )
        boxes = sprites.boxes
        room = Room(self.image_size, self.num_objects, self.min_sep, int(boxes.min()), int(boxes.max()))
        if original:
            paper.check_room(room, boxes, self.rotate)
        else:
            check_room(room)
        return sprites, room

    def _place(
        self,
        rng: np.random.Generator,
        pairs_N2: Ints,
        positive_N: NDArray[np.bool_],
        smaller_N: NDArray[np.bool_],
        vertical_N: NDArray[np.bool_],
    ) -> tuple[Shorts, Shorts, Shorts]:
        """Classes [N, K], sizes [N, K] and centres [N, 2, K] of as many scenes."""
        shapes_KN = self._classes(rng, pairs_N2, positive_N)
        boxes = self.sprites.boxes
        if self.parity is not None:
            sizes_KN, along_KN, across_KN = paper.place(
                rng, self._room, boxes, positive_N, smaller_N, self.rotate
            )
        else:
            sizes_KN = rng.integers(0, len(boxes), shapes_KN.shape, dtype=np.int16)
            along_KN, across_KN = place(rng, self._room, boxes[sizes_KN], positive_N, smaller_N)
        x_KN = np.where(vertical_N, across_KN, along_KN)
        y_KN = np.where(vertical_N, along_KN, across_KN)
        return shapes_KN.T, sizes_KN.T, np.stack([x_KN.T, y_KN.T], axis=1)

    def _classes(self, rng: np.random.Generator, pairs_N2: Ints, positive_N: NDArray[np.bool_]) -> Shorts:
        """[K, N]: X, Y and the others; those are no X and no Y where the answer is no, or always (restricted)."""
        x, y = pairs_N2.T.astype(np.int16)
        low, high = np.minimum(x, y), np.maximum(x, y)
        others = rng.integers(0, self.num_glyphs - 2, (self.num_objects - 2, len(x)), dtype=np.int16)
        others += others >= low
        others += others >= high
        if not self.restrict_positive:
            free = rng.integers(0, self.num_glyphs, others.shape, dtype=np.int16)
            others = np.where(positive_N, free, others)
        return np.concatenate([x[None], y[None], others])

    def _pairs_of(self, pairs: NDArray[Any]) -> Ints:
        asked = np.asarray(pairs)
        if asked.ndim != 2 or asked.shape[1] != 2 or not len(asked) or asked.dtype.kind not in "iu":
            raise BadEnv(
                f"pairs of shape {asked.shape} and type {asked.dtype} must be whole numbers [P, 2] with at least one row."
            )
        if asked.min() < 0 or asked.max() >= self.num_glyphs or (asked[:, 0] == asked[:, 1]).any():
            raise BadEnv(
                f"pairs must hold two different glyph classes of 0 .. {self.num_glyphs - 1} in each row (num_glyphs)."
            )
        return asked.astype(np.int64)


def _size_range(glyph_size: Any) -> tuple[int, int]:
    given = (glyph_size, glyph_size) if not isinstance(glyph_size, tuple | list) else tuple(glyph_size)
    if len(given) != 2:
        raise BadEnv(f"glyph_size = {glyph_size!r} must be one size or two, the smallest and the largest.")
    low = whole("glyph_size", given[0], 1, 256)
    return low, whole("glyph_size[1]", given[1], low, 256)
