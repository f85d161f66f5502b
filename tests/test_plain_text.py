"""Hostile model output (reliability.md G9): what is left of it acts on no terminal, browser, spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.analysis.plain_text import clipped, csv_cell, one_line, plain

_HOSTILE = st.text(
    st.one_of(
        st.sampled_from(list("\x1b[]0;m\x07\\\x9b\r\n\t=+-@<>&'\"P^_Hello\u202e\u2066\u2028")),
        st.characters(),
    ),
    max_size=60,
)


@settings(max_examples=2000, deadline=None)
@given(_HOSTILE)
def test_no_control_character_survives(text: str) -> None:
    """Property of reliability.md G9: nothing that a terminal, a browser or a spreadsheet obeys is left."""
    clean = plain(text)
    assert not [c for c in clean if (c < " " and c not in "\t\n") or "\x7f" <= c <= "\x9f"]
    assert not set(clean) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
    clean.encode("utf-8")
    assert "\n" not in one_line(text) and len(one_line(text, 20)) <= 20
    cell = csv_cell(text)
    assert not cell.lstrip().startswith(tuple("=+-@")) and not cell.startswith(("\t", "\n"))
    written = io.StringIO(newline="")
    csv.writer(written).writerow([cell, "next"])
    assert next(csv.reader(io.StringIO(written.getvalue(), newline=""))) == [cell, "next"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x9b2Jx", "x"),
        ("\x1bcx", "x"),
        ("a\x1b\x1b[31m[31mb", "a[31mb"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("tab\tstays", "tab\tstays"),
        ("\ud800", "\ufffd"),
        ("na\u00efve \u4f60\u597d", "na\u00efve \u4f60\u597d"),
    ],
)
def test_escape_sequences_go_as_a_whole_and_text_stays(text: str, clean: str) -> None:
    assert plain(text) == clean


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (-0.5, "-0.5"),
        (3, "3"),
        (None, ""),
        (0.1 + 0.2, "0.30000000000000004"),
        ("-0.5", "'-0.5"),
        ("=1+1", "'=1+1"),
        ("  @SUM(A1)", "'  @SUM(A1)"),
        ("plain", "plain"),
        ("\x1b[1m=1", "'=1"),
    ],
)
def test_csv_cells_keep_numbers_and_defuse_formulas(value: object, cell: str) -> None:
    assert csv_cell(value) == cell


def test_clipping_says_how_much_it_left_out() -> None:
    assert clipped("abcdef", 4) == "abcd ... (2 more characters)"
