"""The table of the battery is whole and true: no row goes missing, a failure is no success."""

from __future__ import annotations

import re
from pathlib import Path

from chaos.battery import markdown, plain, table
from chaos.rows import NOT_COVERED, ROWS

TESTS = Path(__file__).resolve().parents[1]


def test_every_row_has_a_test_or_a_reason() -> None:
    sources = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    marked = set(re.findall(r"mark\.fault\(\s*\"(\w+)\"", sources))
    assert marked | NOT_COVERED.keys() == ROWS.keys() and not marked & NOT_COVERED.keys()


def test_the_table_counts_tries_survivors_and_losses() -> None:
    booked = [
        ("B4", 1000, "passed", {}),
        ("A8", 20, "failed", {"survived": 19, "lost": 3}),
        ("A8", 2, "passed", {"lost": 0}),
        ("B1", 50, "failed", {}),
        ("B1", 5, "passed", {}),
        ("B3", 1, "passed", {"tries": 16}),
        ("F3", 1, "skipped", {}),
        ("G5", 1, "skipped", {}),
        ("G5", 7, "passed", {}),
    ]
    lines = {line.id: line for line in table(booked)}
    figures = {id: (line.tries, line.survived, line.lost, line.verdict) for id, line in lines.items()}
    assert figures["B4"] == (1000, 1000, None, "passed")
    assert figures["A8"] == (22, 21, 3, "failed")
    assert figures["B1"] == (55, 5, None, "failed")
    assert figures["B3"] == (16, 16, None, "passed")
    assert figures["F3"] == (0, 0, None, "skipped") and figures["G5"] == (7, 7, None, "passed")
    assert figures["C1"] == (0, 0, None, "not run")
    for id, why in NOT_COVERED.items():
        assert (lines[id].verdict, lines[id].rest) == ("not covered", why)


def test_every_row_is_in_both_forms_of_the_table() -> None:
    lines = table([])
    assert [line.id for line in lines] == list(ROWS)
    cells = [row.split(" | ") for row in markdown(lines).splitlines()]
    assert {len(row) for row in cells[2:]} == {9} and [row[0] for row in cells[2:]] == [
        f"| {id}" for id in ROWS
    ]
    assert {id for id in ROWS if any(text.startswith(f"{id} ") for text in plain(lines))} == set(ROWS)
