"""Before and after, side by side: the SFT model and the trained model on the same held-out prompts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rllib_ext.analysis.html_tags import Html, fold, join, tag
from rllib_ext.analysis.plain_text import clipped
from rllib_ext.analysis.rows import Row, number
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.tables import Table

#: Longest text shown, in characters, and most prompts shown; the CSV has all of them.
TEXT_LIMIT = 4_000
SHOWN = 24


def pairs(run: RunData) -> list[tuple[Row, Row]]:
    """(first, last) sample of every prompt, in the order in which the run wrote them; nothing is picked."""
    by_prompt: dict[tuple[str, str], list[Row]] = {}
    for row in run.samples:
        by_prompt.setdefault((str(row.get("split")), str(row.get("id"))), []).append(row)
    ordered = [sorted(rows, key=lambda row: number(row.get("updates")) or 0.0) for rows in by_prompt.values()]
    return [(rows[0], rows[-1]) for rows in ordered]


def samples_table(run: RunData) -> Table:
    """Every logged sample, for the CSV."""
    columns = ("updates", "split", "id", "prompt", "reference", "completion", "reward")
    rows = [
        tuple(prompt_text(row.get(key)) if key == "prompt" else row.get(key) for key in columns)
        for row in run.samples
    ]
    return Table("samples", columns, rows)


def prompt_text(prompt: Any) -> str:
    """A prompt as text; chat messages as "role: content" paragraphs."""
    if isinstance(prompt, str) or not isinstance(prompt, Iterable):
        return "" if prompt is None else str(prompt)
    return "\n\n".join(
        f"{turn.get('role')}: {turn.get('content')}" if isinstance(turn, dict) else str(turn)
        for turn in prompt
    )


def samples_section(run: RunData) -> Html:
    found = pairs(run)
    if not found:
        return tag("p", "samples.jsonl has no rows, so there is nothing to compare.", class_="soft")
    more = f" The first {SHOWN} of {len(found)} are shown." if len(found) > SHOWN else ""
    note = "The same held-out prompts at every evaluation, fixed before training and not picked afterwards."
    link = tag("a", "samples.csv", href="samples.csv")
    return join(
        [tag("p", note + more + " All texts: ", link, class_="soft small"), *map(_card, found[:SHOWN])]
    )


def _card(pair: tuple[Row, Row]) -> Html:
    before, after = pair
    reference = before.get("reference")
    parts = [
        tag("h3", f"{before.get('id')} ", tag("span", f"({before.get('split')})", class_="soft small")),
        fold("Prompt", _text(prompt_text(before.get("prompt")))),
    ]
    if reference is not None:
        parts.append(tag("div", tag("div", "Reference", class_="label"), _text(reference)))
    sides = [_side(before, "")]
    if after is not before:
        sides.append(_side(after, "trained"))
    return tag("article", *parts, tag("div", *sides, class_="pair"), class_="card")


def _side(row: Row, style: str) -> Html:
    updates, reward = number(row.get("updates")), number(row.get("reward"))
    name = "SFT model" if updates == 0 else f"after {updates or 0:.0f} updates"
    score = "unscored" if reward is None else f"reward {reward:.3f}"
    label = tag("div", tag("span", name), tag("span", score), class_="label")
    return tag("div", label, _text(row.get("completion")), class_=style or False)


def _text(value: object) -> Html:
    shown = clipped("" if value is None else value, TEXT_LIMIT)
    return tag("div", shown if shown.strip() else "(empty)", class_="text")
