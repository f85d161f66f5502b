"""The sections of a sweep's report: the sweep and its tables in, HTML out."""

from __future__ import annotations

from collections import Counter

from rllib_ext.analysis.event_words import detail_of, is_trouble, meaning
from rllib_ext.analysis.html_tags import Html, fold, table, tag
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.report_sections import figure_of, key_values
from rllib_ext.analysis.rows import number
from rllib_ext.analysis.sweep_data import SweepData, TrialData
from rllib_ext.analysis.sweep_tables import measures
from rllib_ext.analysis.tables import Table

#: Most rows of a table on the page; the CSV has all of them.
ROWS_SHOWN = 100
FAILED, RESTORED = "trial_failed", "trial_restored"
_MEANING = {
    FAILED: "An attempt of the trial ended in an error; it was tried again, or given up where no attempt was left.",
    RESTORED: "The trial went on from its last checkpoint: after a failure, after the driver was killed, or because the "
    "scheduler let it go on from another trial's weights.",
}


def header(sweep: SweepData, title: str) -> Html:
    """The title and the sweep in one sentence."""
    finished = sum(trial.finished for trial in sweep.trials)
    failed = sum(bool(trial.failures) and not trial.finished for trial in sweep.trials)
    chips = [one_line(name) for name in sorted({trial.algorithm for trial in sweep.trials})]
    chips += [one_line(name) for name in sorted({trial.environment for trial in sweep.trials}) if name]
    style = "bad" if failed else "good" if finished == len(sweep.trials) else "soft"
    sentence = f"{finished} of {len(sweep.trials)} trials finished" + (f", {failed} failed" if failed else "")
    notes = [
        tag("p", f"While reading the sweep: {one_line(note)}.", class_="soft small") for note in sweep.notes
    ]
    return tag(
        "div",
        tag("h1", title),
        tag("ul", *(tag("li", chip) for chip in chips), class_="chips"),
        tag("p", tag("strong", sentence, class_=style), ".", class_="lead"),
        *notes,
    )


def table_section(source: Table) -> Html:
    """A table as it is, numbers to four digits."""
    if not source.rows:
        return tag("p", "No trial has a metric for it.", class_="soft")
    shown = [tuple(_cell(cell) for cell in row) for row in source.rows[:ROWS_SHOWN]]
    numeric = [
        i for i in range(len(source.columns)) if all(number(row[i]) is not None for row in source.rows)
    ]
    cut = f"The first {ROWS_SHOWN} of {len(source.rows)} rows; the CSV has all of them."
    note = tag("p", cut, class_="soft small") if len(source.rows) > ROWS_SHOWN else Html("")
    return tag("div", table(source.columns, shown, numeric), note, class_="card")


def trials_section(sweep: SweepData) -> Html:
    """One row a trial: how far it came and what it reached."""
    metrics = measures(sweep)[:4]
    rows = [
        (
            one_line(trial.name, 60),
            _state(trial),
            figure_of(trial.last(sweep.step), 0),
            *(figure_of(trial.last(metric)) for metric in metrics),
            trial.failures,
            trial.restores,
        )
        for trial in sweep.trials[:ROWS_SHOWN]
    ]
    names = ("trial", "state", sweep.step, *metrics, "failures", "restores")
    return tag("div", table(names, rows, range(2, len(names))), class_="card")


def fault_table(sweep: SweepData) -> Table:
    """What went wrong in each trial, and what was done: failures, restores, and the trouble in its event log."""
    columns = ("trial", "event", "times", "what it means", "last detail")
    rows = []
    for trial in sweep.trials:
        if trial.failures:
            rows.append((trial.name, FAILED, trial.failures, _MEANING[FAILED], one_line(trial.error, 300)))
        if trial.restores:
            at = f"now at {figure_of(trial.last(sweep.step), 0)} {sweep.step}"
            rows.append((trial.name, RESTORED, trial.restores, _MEANING[RESTORED], at))
        trouble = [row for row in trial.events if is_trouble(row.get("event"))]
        latest = {one_line(row.get("event", "")): row for row in trouble}
        for kind, times in Counter(one_line(row.get("event", "")) for row in trouble).items():
            rows.append((trial.name, kind, times, meaning(kind), detail_of(latest[kind])))
    return Table("what_went_wrong", columns, rows)


def faults_section(faults: Table) -> Html:
    """One row a kind over all trials, and below it every trial's."""
    if not faults.rows:
        return tag("p", "Nothing went wrong.", class_="soft")
    kinds: dict[str, list[tuple]] = {}
    for row in faults.rows:
        kinds.setdefault(row[1], []).append(row)
    summed = [
        (tag("code", kind), sum(row[2] for row in rows), len(rows), rows[0][3])
        for kind, rows in kinds.items()
    ]
    single = [(one_line(row[0], 60), tag("code", row[1]), row[2], row[4]) for row in faults.rows[:ROWS_SHOWN]]
    every = fold(
        f"By trial ({len(faults.rows)})", table(("trial", "event", "times", "last detail"), single, (2,))
    )
    link = tag(
        "p", "All of them: ", tag("a", "what_went_wrong.csv", href="what_went_wrong.csv"), class_="soft small"
    )
    return tag(
        "div",
        table(("event", "times", "trials", "what it means"), summed, (1, 2)),
        every,
        link,
        class_="card",
    )


def setup_section(sweep: SweepData) -> Html:
    """The space that the sweep was begun with."""
    space = sweep.definition.get("space")
    if not isinstance(space, dict):
        return tag("p", "The sweep's definition was not written down.", class_="soft")
    return tag("div", fold(f"Space ({len(space)} settings)", key_values(space)), class_="card")


def _state(trial: TrialData) -> str:
    if trial.finished:
        return "finished"
    return "failed" if trial.failures else "not finished" if trial.rows else "no result yet"


def _cell(cell: object) -> str:
    at = number(cell)
    return "" if cell is None else f"{at:.4g}" if at is not None else one_line(cell, 60)
