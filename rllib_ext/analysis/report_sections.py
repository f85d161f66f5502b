"""The sections of the report: run and tables in, HTML out. Samples have a file of their own."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rllib_ext.analysis.html_tags import Html, fold, join, table, tag
from rllib_ext.analysis.plain_text import clipped, one_line
from rllib_ext.analysis.plots import Plot
from rllib_ext.analysis.rows import Row
from rllib_ext.analysis.run_data import RunData
from rllib_ext.analysis.tables import age_table, evaluation_table, evaluations, round_totals

_SECRET = re.compile(
    r"(?i)(^|[_/.-])(secret|password|passwd|credentials?|api_?key|auth|(hub|hf|auth|access|wandb)_?token)s?$"
)


def figure_of(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` decimals, or "n/a" where nothing was measured."""
    return "n/a" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1%}"


def with_error(value: float | None, se: float | None) -> str:
    return figure_of(value) + (f" \u00b1 {se:.3f}" if value is not None and se is not None else "")


def lead(head: Row) -> Html:
    """The run in one sentence."""
    before, after, gain = head["reward_before"], head["reward_after"], head["gain_in_se"]
    if before is None or gain is None:
        return tag("p", "The run has no two evaluations to compare.", class_="lead soft")
    verb, style = ("rose", "good") if gain > 0 else ("fell", "bad") if gain < 0 else ("went", "soft")
    sentence = (
        f"Reward on the {head['split']} split {verb} from {before:.3f} to {after:.3f}, ",
        tag("strong", f"{abs(gain):.1f} standard errors", class_=style),
        f", over {figure_of(head['updates'], 0)} updates at a KL of {figure_of(head['kl'], 2)}.",
    )
    return tag("p", *sentence, class_="lead")


def headline_section(run: RunData, head: Row) -> Html:
    """The figures that sum the run up, as tiles and as a table of before and after."""
    prompts = f"on {figure_of(head['evaluation_n'], 0)} prompts"
    ages = f"p95 {figure_of(head['staleness_p95'], 0)}, oldest {figure_of(head['staleness_max'], 0)}"
    tiles = [
        ("Engine", one_line(head["engine"] or "n/a", 24), ""),
        ("Updates", figure_of(head["updates"], 0), ""),
        ("KL to the SFT model", figure_of(head["kl"]), "nats"),
        (f"Win rate against {head['win_rate_against'] or 'reference'}", percent(head["win_rate"]), prompts),
        ("Mean age of samples", figure_of(head["staleness_mean"], 2), f"updates; {ages}"),
        ("Tokens a second", figure_of(head["tokens_per_s"], 0), "mean over iterations"),
        ("Generator idle", percent(head["generator_idle"]), "of the whole run"),
        ("Learner idle", percent(head["learner_idle"]), "of the whole run"),
    ]
    boxes = [
        tag("dl", tag("dt", name), tag("dd", value), tag("dd", note) if note else "", class_="tile")
        for name, value, note in tiles
    ]
    return join([tag("div", *boxes, class_="tiles"), _before_after(run, head)])


def _before_after(run: RunData, head: Row) -> Html:
    """Reward, win rate and KL at the first and the last evaluation of the main split."""
    points = [point for point in evaluations(run, head["split"]) if point.reward is not None]
    if len(points) < 2:
        return Html("")
    first, last = points[0], points[-1]
    gain = "n/a" if head["gain_in_se"] is None else f"{head['gain_in_se']:+.1f} s.e."
    rows = [
        ("reward", with_error(first.reward, first.reward_se), with_error(last.reward, last.reward_se), gain),
        ("win rate", percent(first.win_rate), percent(last.win_rate), ""),
        ("KL to the SFT model", figure_of(first.kl), figure_of(last.kl), ""),
    ]
    start = "SFT model" if first.updates == 0 else f"after {first.updates:.0f} updates"
    names = (f"{first.split} split", start, f"after {last.updates:.0f} updates", "change")
    return tag("div", table(names, rows, (1, 2, 3)), class_="card")


def evaluations_section(run: RunData) -> Html:
    """Every evaluation of every split."""
    source = evaluation_table(run)
    shown = (
        "updates",
        "split",
        "reward_mean",
        "reward_se",
        "win_rate",
        "kl_ref",
        "ppl_completion",
        "ppl_diluted",
        "n",
    )
    columns = [source.column(name) for name in shown]
    rows = [
        (*(f"{row[0]:.0f}", row[1]), *(figure_of(value) for value in row[2:-1]), figure_of(row[-1], 0))
        for row in zip(*columns, strict=True)
    ]
    names = (
        "updates",
        "split",
        "reward",
        "s.e.",
        "win rate",
        "KL",
        "perplexity",
        "diluted perplexity",
        "prompts",
    )
    if not rows:
        return tag("p", "evaluations.jsonl has no rows.", class_="soft")
    return tag("div", table(names, rows, (0, *range(2, 9))), class_="card")


def plot_section(plots: Sequence[Plot]) -> Html:
    """Every plot as an embedded PNG with its reading and its files, or the reason why it is missing."""
    return join(map(_plot, plots))


def _plot(plot: Plot) -> Html:
    if plot.png is None or plot.svg is None:
        return tag(
            "div",
            tag("h3", plot.title),
            tag("p", f"Not drawn: {plot.missing}.", class_="soft"),
            class_="card",
        )
    data = base64.b64encode(plot.png.read_bytes()).decode("ascii")
    image = tag("img", src=f"data:image/png;base64,{data}", alt=f"{plot.title}. {plot.reading}")
    links = join(
        part
        for path in (plot.csv, plot.svg, plot.png)
        for part in (" \u00b7 ", tag("a", path.suffix[1:].upper(), href=path.name))
    )
    wide = plot.name in ("timeline", "idle_shares")
    return tag("figure", image, tag("figcaption", plot.reading, links), class_="wide" if wide else False)


def ages_section(run: RunData) -> Html:
    """The table of ages, and what was generated but not learnt from."""
    rows = [
        (age, f"{count:,}", f"{share:.2%}", f"{cumulative:.2%}")
        for age, count, share, cumulative in age_table(run).rows
    ]
    if not rows:
        return tag("p", "rounds.jsonl has no ages.", class_="soft")
    totals = round_totals(run)
    note = (
        f"{totals['prompts']:,} prompts; not learnt from: {totals['dropped_stale']:,} dropped as too old, "
        f"{totals['tied']:,} tied, {totals['unscored']:,} unscored."
    )
    names = ("age (updates)", "samples", "share", "at most this old")
    return tag("div", table(names, rows, (0, 1, 2, 3)), tag("p", note, class_="soft small"), class_="card")


def setup_section(run: RunData) -> Html:
    """The command, the versions, the hardware and the resolved configuration."""
    facts = {key: value for key, value in run.run.items() if key not in ("versions", "hardware", "command")}
    command = run.run.get("command")
    parts = [tag("p", tag("code", clipped(command, 2_000)))] if command else []
    parts.append(
        key_values({**facts, "versions": run.run.get("versions"), "hardware": run.run.get("hardware")})
    )
    config = fold(f"Resolved configuration ({len(run.config)} settings)", key_values(run.config))
    return tag("div", *parts, config, class_="card")


def key_values(values: Mapping[str, Any]) -> Html:
    """Nested settings as a table; secrets by name are hidden."""
    rows = [(tag("code", key), clipped(value, 500)) for key, value in _leaves(values, "")]
    return table(("setting", "value"), rows) if rows else tag("p", "Nothing was recorded.", class_="soft")


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Nested settings as "a/b" and JSON values; what looks like a secret by its name is not shown."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if _SECRET.search(name):
            yield name, "(hidden)"
        elif isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}/")
        elif value is not None or not prefix:
            yield (
                name,
                value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str),
            )
