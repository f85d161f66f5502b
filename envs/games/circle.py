"""The rules of the biased circular game as functions of arrays of degrees: where an angle is, and how far from another.

Source: Noukhovitch et al. 2021, "Emergent Communication under Competition" (arXiv 2101.10276): a circle of 360 degrees, a
sender who wants the receiver at T, a receiver who wants to be at T + b. Everything is elementwise; any shapes that
broadcast go.

What follows from the rules, and is tested: for any angle the two losses sum to at least b, with equality exactly on the
short arc between the targets, and to at most 360 - b; at b = 180 they sum to 180 always; an angle that says nothing of
the targets costs each 90 on average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Degrees = NDArray[np.float64]

CIRCLE = 360.0
SILENT = 90.0  # what each agent loses on average, in degrees of l1, where nothing is said
LOSSES = ("l1", "l2")
GRID = 100  # targets of an evaluation: 0, 3.6, 7.2, ... degrees


def on_circle(angles: ArrayLike, *, compat_reflect: bool = False) -> Degrees:
    """Where an unbounded angle in degrees ends on the circle: in [0, 360).

    compat_reflect: |fmod(angle, 360)|, as the authors' code has it. Negative angles are reflected there, not wrapped: -5
    is 5 and not 355.
    """
    given = np.asarray(angles, np.float64)
    if compat_reflect:
        reflected: Degrees = np.abs(np.fmod(given, CIRCLE))
        return reflected
    wrapped: Degrees = np.mod(given, CIRCLE)
    # A negative angle too small to tell from 0 is rounded up to 360 itself.
    return np.where(wrapped >= CIRCLE, 0.0, wrapped)


def distance(one: ArrayLike, other: ArrayLike) -> Degrees:
    """The shorter way round between two points of the circle, degrees in [0, 180]. Both in [0, 360)."""
    apart = np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))
    shorter: Degrees = np.minimum(apart, CIRCLE - apart)
    return shorter


def circular_loss(one: ArrayLike, other: ArrayLike, kind: str = "l1") -> Degrees:
    """How bad it is to be at ``one`` instead of ``other``, in [0, 180].

    kind: "l1", the distance d in degrees; "l2", d^2 / 180, which has the same range, forgives small distances and
    averages 60 where nothing is said. Losses by "l2" do not sum to a constant at b = 180.
    """
    apart = distance(one, other)
    return apart if kind == "l1" else apart**2 / 180.0


def receiver_target(sender_target: ArrayLike, bias: float) -> Degrees:
    """(T + b) mod 360."""
    return on_circle(np.asarray(sender_target, np.float64) + bias)


def losses(
    angles: ArrayLike,
    sender_target: ArrayLike,
    bias: float,
    *,
    kind: str = "l1",
    compat_reflect: bool = False,
) -> tuple[Degrees, Degrees]:
    """(sender's, receiver's) loss of unbounded angles in degrees."""
    reached = on_circle(angles, compat_reflect=compat_reflect)
    wanted = receiver_target(sender_target, bias)
    return circular_loss(reached, sender_target, kind), circular_loss(reached, wanted, kind)


def target_grid() -> Degrees:
    """(100,) targets of an evaluation, evenly over the circle."""
    return np.arange(GRID, dtype=np.float64) * (CIRCLE / GRID)


def partition_losses(messages: int, bias: float) -> tuple[float, float]:
    """(sender's, receiver's) expected l1 loss where K messages name K equal arcs and the receiver plays centre + b.

    Receiver: a quarter of the arc, 90 / K. Sender: the distance between its target, uniform on an arc of width w, and a
    point b beyond the centre: b itself where b is at least w / 2 (the two halves cancel, up to 180 - w / 2), and
    (b^2 + w^2 / 4) / w below, which is w / 4 at b = 0. K of 2 or more; bias in [0, 180].
    """
    width = CIRCLE / messages
    half = width / 2
    if bias >= half:
        # Beyond 180 - w / 2 some targets are nearer the other way round.
        over = max(0.0, bias + half - 180.0)
        return bias - over**2 / width, width / 4
    return (bias**2 + width**2 / 4) / width, width / 4
