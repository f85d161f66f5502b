"""The roads of Traffic-Junction: counts of routes, paths of the smallest maps written out, what holds of every map."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from envs.grid.traffic_roads import roads

MAPS = [("easy", 6), ("easy", 14), ("medium", 6), ("medium", 14), ("hard", 9), ("hard", 18), ("hard", 21)]


@pytest.mark.parametrize(
    ("difficulty", "dim", "per_entry", "size"),
    [
        ("easy", 6, [1] * 2, 7),
        ("medium", 14, [3] * 4, 14),
        ("hard", 18, [7] * 8, 18),
        ("hard", 9, [7] * 8, 9),
    ],
)
def test_counts(difficulty: str, dim: int, per_entry: list[int], size: int) -> None:
    found = roads(difficulty, dim)
    assert [len(entry) for entry in found.entries] == per_entry and found.size == size
    assert (
        len(found.routes()) == len(set(found.routes())) == {"easy": 2, "medium": 12, "hard": 56}[difficulty]
    )


@pytest.mark.parametrize(("difficulty", "dim"), MAPS)
def test_what_holds_of_every_map(difficulty: str, dim: int) -> None:
    found, heading = roads(difficulty, dim), {}
    last, on_road = found.size - 1, found.road()
    covered = np.zeros_like(on_road)
    for entry in found.entries:
        assert len({route[0] for route in entry}) == 1, "an entry is one cell"
        for route in entry:
            assert len(set(route)) == len(route) and all(on_road[cell] for cell in route)
            for cell in route:
                covered[cell] = True
            assert {*route[0]} & {0, last} and {*route[-1]} & {0, last}, "from border to border"
            assert not any({*cell} & {0, last} for cell in route[1:-1])
            for (row, column), (to_row, to_column) in pairwise(route):
                assert abs(to_row - row) + abs(to_column - column) == 1
                lanes = {index for band in found.bands for index in band}
                if not (row in lanes and column in lanes):  # out of junctions a lane has one direction
                    step = (to_row - row, to_column - column)
                    assert heading.setdefault((row, column), step) == step
    assert np.array_equal(covered, on_road)


def test_easy_roads_are_the_middle_ones() -> None:
    down, across = roads("easy", 6).routes()
    assert down == tuple((row, 3) for row in range(7)) and across == tuple((3, column) for column in range(7))


def test_medium_written_out() -> None:
    top, bottom, left, right = roads("medium", 6).entries
    assert top == (
        ((0, 2), (1, 2), (2, 2), (3, 2), (4, 2), (5, 2)),
        ((0, 2), (1, 2), (2, 2), (2, 1), (2, 0)),
        ((0, 2), (1, 2), (2, 2), (3, 2), (3, 3), (3, 4), (3, 5)),
    )
    assert [(entry[0][0], [route[-1] for route in entry]) for entry in (bottom, left, right)] == [
        ((5, 3), [(0, 3), (3, 5), (2, 0)]),
        ((3, 0), [(3, 5), (5, 2), (0, 3)]),
        ((2, 5), [(2, 0), (0, 3), (5, 2)]),
    ]


def test_hard_written_out() -> None:
    """dim 9: rows and columns 1, 2 and 6, 7. IC3Net's entries in its order, and where the first entry's routes end."""
    entries = roads("hard", 9).entries
    starts = [entry[0][0] for entry in entries]
    assert starts == [(0, 1), (0, 6), (2, 0), (7, 0), (8, 2), (8, 7), (1, 8), (6, 8)]
    assert [route[-1] for route in entries[0]] == [(8, 1), (6, 0), (7, 8), (1, 0), (2, 8), (8, 6), (0, 7)]
    first = [[(0, 1), (1, 1)], [(2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (2, 6)]]
    assert entries[0][5] == (*first[0], *first[1], *((row, 6) for row in range(3, 9))), "left, then right"


def test_vocabulary_of_road_cells() -> None:
    easy, medium = roads("easy", 6).identities(12), roads("medium", 6).identities(24)
    assert easy[3].tolist() == [0, 1, 2, 10, 4, 5, 6] and easy[:, 3].tolist() == [7, 8, 9, 10, 11, 12, 13]
    assert (easy == 12).sum() == 36 + 1, "one road cell has the number of outside, as in the original"
    assert medium[2:4].tolist() == [[0, 1, 16, 17, 4, 5], [6, 7, 18, 19, 10, 11]]
    assert medium[:, 2:4].ravel().tolist() == list(range(12, 24)) and (medium == 24).sum() == 16
    hard = roads("hard", 9).identities(72)
    assert hard.max() == 72 and len(np.unique(hard)) == 1 + roads("hard", 9).road().sum()
