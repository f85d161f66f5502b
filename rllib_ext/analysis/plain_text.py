"""Making text from outside harmless: what a model wrote must never act on a terminal, a browser or a
spreadsheet.

Completions, prompts, references, tracebacks and event details are untrusted (reliability.md G9). Three
readers, three dangers: a terminal obeys escape sequences, a browser obeys markup, a spreadsheet evaluates
cells that look like formulas. ``plain`` serves all of them and is followed by ``html.escape`` for the browser
and ``csv_cell`` for the spreadsheet. Left out on purpose: look-alike letters and zero-width joiners, which
real text needs.
"""

from __future__ import annotations

import numbers
import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves, screen clears
    r"|\x9b[0-?]*[ -/]*[@-~]"  # the same introduced by one C1 byte
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: window titles, clipboard, links
    r"|\x1b[PX^_][^\x07\x1b]*\x1b\\"  # DCS, SOS, PM, APC strings
    r"|\x1b[ -/]*[0-~]"  # every other two-character escape
)
#: C0 without tab and newline, DEL, C1, bidirectional overrides, line separators, surrogates, non-characters.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
#: What makes a spreadsheet read a cell as a formula, with the full-width forms that some accept too.
_FORMULA = tuple("=+-@\t\n\uff1d\uff0b\uff0d\uff20")


def plain(value: object) -> str:
    """``value`` as text without escape sequences and control characters; tabs and newlines stay.

    Whole sequences go first, so that "\\x1b[31m" leaves nothing behind; then every control character that is
    left, so that pieces which join up after the first pass cannot act either. Lone surrogates, which JSON can
    carry and UTF-8 cannot, become U+FFFD.
    """
    text = value if isinstance(value, str) else str(value)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub(_replacement, _ESCAPES.sub("", text))


def _replacement(match: re.Match[str]) -> str:
    character = match.group()
    if character in "\u2028\u2029":
        return "\n"
    return "\ufffd" if "\ud800" <= character <= "\udfff" or character >= "\ufffe" else ""


def one_line(value: object, limit: int = 200) -> str:
    """``plain`` on a single line of at most ``limit`` characters, for tables and terminals."""
    text = " ".join(plain(value).split())
    return text if len(text) <= limit else text[: max(0, limit - 3)] + "..."


def clipped(value: object, limit: int) -> str:
    """``plain`` with its line breaks, cut at ``limit`` characters; says how much it left out."""
    text = plain(value)
    return text if len(text) <= limit else f"{text[:limit]} ... ({len(text) - limit} more characters)"


def csv_cell(value: object) -> str:
    """One CSV cell: numbers in full precision, None empty, text that a spreadsheet would evaluate gets a
    leading '.

    The test is on the type first: the number -0.5 stays a number, the text "-0.5" is text. Leading blanks are
    looked through, because spreadsheets strip them before they look for a formula.
    """
    if value is None:
        return ""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return str(value) if isinstance(value, numbers.Integral) else repr(float(value))
    text = plain(value)
    risky = text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
    return f"'{text}" if risky else text
