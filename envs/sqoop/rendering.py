"""From where the objects stand to uint8 pictures: letters of a font, small bitmaps, or one-hot maps.

A sprite (one glyph class at one size) is a short list of pixels with their values; a picture is written by copying lists.
All sprites have lists of one length, filled up with repeats of their last pixel, so that a whole batch is one indexed
assignment; what is written twice is written alike, and boxes never overlap.

    truetype    RGB, black, glyphs in green (0, 128, 0), antialiased, one sprite a class and point size. The font is
                Pillow's own where none is named. A box is the smallest square that holds every class at that size
    bitmap      one channel, 0 or 255; random 3 x 3 patterns, any two of which differ in two pixels or more, the same
                for everybody, scaled to the box
    onehot      one channel a class, 255 in the object's box: perception is given, only reasoning is left

``clip`` is the released generator's way with letters: the box is as high as the letter "A" reaches below the line's top,
and what a wider letter has beyond it is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import BadEnv
from envs.sqoop.sampling import Shorts
from envs.sqoop.vocabulary import GLYPHS

RENDERERS = ("truetype", "bitmap", "onehot")
GREEN, WHITE = 128, 255
PATTERN = 3  # side of the random bitmaps
MOST_CLASSES = {"truetype": len(GLYPHS), "bitmap": 64, "onehot": 255}
AT_ONCE = 512  # pictures written together: few enough that they stay in the cache

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Sprites:
    """What can be drawn. Sprite of class g at size s: row ``s * num_glyphs + g``.

    boxes       [sizes] side of the box
    offsets     [sprites, L] of a pixel from the box's upper left one, in the flattened picture
    values      [sprites, L]
    shape       (H, W, C) of a picture
    """

    boxes: Shorts
    offsets: NDArray[np.int32]
    values: Bytes
    shape: tuple[int, int, int]
    num_glyphs: int

    def draw(self, centres_N2K: Shorts, shapes_NK: NDArray[Any], sizes_NK: NDArray[Any]) -> Bytes:
        """Pictures [N, H, W, C] of objects at centres (x, y)."""
        height, width, channels = self.shape
        area = height * width * channels
        pictures = np.zeros((len(shapes_NK), area), np.uint8)
        corners = centres_N2K.astype(np.int32) - (self.boxes[sizes_NK] // 2)[:, None]
        first = (corners[:, 1] * width + corners[:, 0]) * channels
        sprite = sizes_NK.astype(np.int32) * self.num_glyphs + shapes_NK
        for start in range(0, len(pictures), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            flat = pictures[part].reshape(-1)
            place = first[part] + (np.arange(len(first[part]), dtype=np.int32) * area)[:, None]
            flat[self.offsets[sprite[part]] + place[:, :, None]] = self.values[sprite[part]]
        return pictures.reshape(-1, height, width, channels)


def make_sprites(
    renderer: str,
    num_glyphs: int,
    image_size: int,
    glyph_size: tuple[int, int],
    font: str | None = None,
    clip: bool = False,
) -> Sprites:
    """The sprites of a renderer. Raises BadEnv where there are not so many classes or the font cannot be read."""
    most = MOST_CLASSES[renderer]
    if num_glyphs > most:
        raise BadEnv(f"num_glyphs = {num_glyphs}: the renderer {renderer!r} has {most} classes. Lower it.")
    sizes = range(glyph_size[0], glyph_size[1] + 1)
    if renderer == "truetype":
        inks = [_letters(num_glyphs, size, font, clip) for size in sizes]
        channels, colours = 3, np.full(num_glyphs, 1)
    elif renderer == "bitmap":
        inks = [_bitmaps(num_glyphs, size) for size in sizes]
        channels, colours = 1, np.zeros(num_glyphs, np.int64)
    else:
        inks = [np.full((num_glyphs, size, size), WHITE, np.uint8) for size in sizes]
        channels, colours = num_glyphs, np.arange(num_glyphs)
    lists = [
        _pixels(ink, image_size, channels, int(colour))
        for of_size in inks
        for ink, colour in zip(of_size, colours, strict=True)
    ]
    longest = max(len(values) for _, values in lists)
    offsets = np.stack([np.pad(places, (0, longest - len(places)), "edge") for places, _ in lists])
    values = np.stack([np.pad(values, (0, longest - len(values)), "edge") for _, values in lists])
    boxes = np.array([of_size.shape[1] for of_size in inks], np.int16)
    return Sprites(boxes, offsets, values, (image_size, image_size, channels), num_glyphs)


def _pixels(ink: Bytes, image_size: int, channels: int, colour: int) -> tuple[NDArray[np.int32], Bytes]:
    """(offsets, values) of the pixels of one sprite that are not black."""
    row, column = np.nonzero(ink)
    return ((row * image_size + column) * channels + colour).astype(np.int32), ink[row, column]


def _bitmaps(num_glyphs: int, size: int) -> Bytes:
    """[G, size, size]; the patterns depend on nothing but the class."""
    if size < PATTERN:
        raise BadEnv(
            f"glyph_size = {size}: bitmaps are patterns of {PATTERN} x {PATTERN}; use {PATTERN} or more."
        )
    bits = (np.arange(2 ** (PATTERN * PATTERN))[:, None] >> np.arange(PATTERN * PATTERN)) & 1
    inked = bits.sum(axis=1)
    fair = bits[
        (inked >= 3) & (inked <= 7) & (inked % 2 == 0)
    ]  # of even weight: two differ in two pixels at least
    chosen = np.random.default_rng(36).permutation(fair)[:num_glyphs].reshape(-1, PATTERN, PATTERN)
    scaled = np.arange(size) * PATTERN // size
    return (WHITE * chosen[:, scaled][:, :, scaled]).astype(np.uint8)


def _letters(num_glyphs: int, size: int, font: str | None, clip: bool) -> Bytes:
    """[G, box, box]: letters at this point size, centred in their box, or (clip) laid from its corner and cut off."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise BadEnv(
            "renderer = 'truetype' needs Pillow, which is not installed: pip install pillow. Or use 'bitmap'."
        ) from error
    try:
        face = ImageFont.load_default(size) if font is None else ImageFont.truetype(font, size)
    except OSError as error:
        raise BadEnv(
            f"font = {font!r} cannot be read: {error}. Name a .ttf file, or None for Pillow's own."
        ) from error
    boxes = [face.getbbox(letter) for letter in GLYPHS]
    if clip:
        side = int(face.getbbox("A")[3])
        corners = [(0.0, 0.0)] * num_glyphs
    else:
        side = int(max(max(right - left, low - high) for left, high, right, low in boxes))
        corners = [
            ((side - right + left) // 2 - left, (side - low + high) // 2 - high)
            for left, high, right, low in boxes
        ]
    inks = []
    for letter, corner in zip(GLYPHS[:num_glyphs], corners, strict=False):
        canvas = Image.new("L", (side, side))
        ImageDraw.Draw(canvas).text(corner, letter, fill=255, font=face)
        inks.append(np.asarray(canvas, np.uint16) * GREEN // 255)
    return np.stack(inks).astype(np.uint8)
