"""What went wrong during a run and what the run did about it, from its event log."""

from __future__ import annotations

from collections import Counter

from rllib_ext.analysis.event_words import detail_of, is_trouble, meaning
from rllib_ext.analysis.html_tags import Html, fold, table, tag
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.rows import Row, number
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.tables import Table

#: Most single events on the page; the CSV has all of them.
EVENTS_SHOWN = 200


def events_table(run: RunData) -> Table:
    """Every event, for the CSV."""
    rows = [(number(e.get("time")), one_line(e.get("event", "")), detail_of(e, 2_000)) for e in run.events]
    return Table("events", ("time", "event", "detail"), rows)


def events_section(run: RunData) -> Html:
    """What went wrong and what the run did about it: one row a kind, and below it every single event."""
    trouble = [row for row in run.events if is_trouble(row.get("event"))]
    if not trouble:
        return tag(
            "p", f"Nothing went wrong. {len(run.events)} routine events are in the log.", class_="soft"
        )
    zero = _zero(run)
    counts = Counter(one_line(row.get("event", "")) for row in trouble)
    latest = {one_line(row.get("event", "")): row for row in trouble}
    kinds = [
        (tag("code", kind), count, meaning(kind), _clock(latest[kind], zero), detail_of(latest[kind]))
        for kind, count in counts.items()
    ]
    single = [
        (_clock(row, zero), tag("code", one_line(row.get("event", ""))), detail_of(row))
        for row in trouble[:EVENTS_SHOWN]
    ]
    cut = f", the first {EVENTS_SHOWN}" if len(trouble) > EVENTS_SHOWN else ""
    names = ("event", "times", "what it means", "last at", "last detail")
    every = fold(f"All {len(trouble)} of them{cut}", table(("at", "event", "detail"), single))
    link = tag(
        "p", "Routine events as well: ", tag("a", "events.csv", href="events.csv"), class_="soft small"
    )
    return tag("div", table(names, kinds, (1,)), every, link, class_="card")


def _zero(run: RunData) -> float:
    times = [item.start for item in run.timeline] + [
        t for e in run.events if (t := number(e.get("time"))) is not None
    ]
    return min(times, default=0.0)


def _clock(row: Row, zero: float) -> str:
    """Time since the run's first work as h:mm:ss."""
    at = number(row.get("time"))
    if at is None:
        return "n/a"
    seconds = max(0, round(at - zero))
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
