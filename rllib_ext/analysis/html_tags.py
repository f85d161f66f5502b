"""HTML in which escaping cannot be forgotten: what is not ``Html`` already is escaped on its way in.

``tag("p", text)`` escapes ``text``; ``tag("div", tag("p", text))`` nests without escaping twice. Text goes
through ``plain`` first, so neither markup nor control characters of a model reach the page (reliability.md
G9).
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from rllib_ext.analysis.plain_text import plain

_VOID = frozenset({"img", "meta", "br", "hr"})


class Html(str):
    """Text that is markup already; made by ``tag``, ``join`` and constants of this package only."""

    __slots__ = ()


def text(value: object) -> Html:
    """``value`` escaped, unless it is markup already."""
    return value if isinstance(value, Html) else Html(html.escape(plain(value), quote=True))


def join(parts: Iterable[object]) -> Html:
    return Html("".join(text(part) for part in parts))


def tag(name: str, /, *children: object, **attributes: str | bool) -> Html:
    """``<name attributes>children</name>``; a trailing underscore keeps an attribute off a Python keyword."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not False
    )
    closing = "" if name in _VOID else f"</{name}>"
    return Html(f"<{name}{written}>{join(children)}{closing}")


def table(headers: Sequence[object], rows: Iterable[Sequence[object]], numeric: Sequence[int] = ()) -> Html:
    """A table in a box that scrolls sideways; the columns in ``numeric`` are set flush right."""

    def cells(name: str, row: Sequence[object]) -> Html:
        styled = (tag(name, cell, class_="num" if i in numeric else False) for i, cell in enumerate(row))
        return tag("tr", *styled)

    head = tag("thead", cells("th", headers))
    body = tag("tbody", *(cells("td", row) for row in rows))
    return tag("div", tag("table", head, body), class_="scroll")


def fold(summary: object, *children: object, open_: bool = False) -> Html:
    """A part that a reader opens; closed unless ``open_``."""
    return tag("details", tag("summary", summary), *children, open=open_)
