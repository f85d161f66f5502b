"""The page around a report: one file that opens anywhere, with a policy that lets nothing be fetched or run."""

from __future__ import annotations

import os
from pathlib import Path

from rllib_ext.analysis.html_tags import Html, tag
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.report_style import CSS

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(title: str, *body: Html) -> str:
    """The page as text; ``title`` is for the browser, its heading is the body's own."""
    metas = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
    ]
    head = tag("head", *metas, tag("title", one_line(title)), tag("style", Html(CSS)))
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *body)), lang="en") + "\n"


def titled(title: str, content: Html) -> Html:
    """A section with its heading."""
    return tag("section", tag("h2", title), content)


def write_page(folder: Path, text: str) -> Path:
    """``report.html`` in ``folder``, replaced in one step."""
    final, half = folder / "report.html", folder / ".report.html.tmp"
    half.write_text(text, encoding="utf-8")
    os.replace(half, final)
    return final
