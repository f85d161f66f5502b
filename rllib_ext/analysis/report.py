"""The report of a run: ``report/report.html``, one file that opens anywhere and fetches nothing.

Pictures are embedded, styles are inline, there is no script, and a content security policy forbids all three
to come from elsewhere, so that even markup that slipped through could not act. Every text from a prompt, a
model or an error passes ``plain`` and the HTML escape on its way in (``html_tags``), and the CSVs beside it
hold no formulas.
"""

from __future__ import annotations

from pathlib import Path

from rllib_ext.analysis import report_sections as section
from rllib_ext.analysis.csv_files import write_csv
from rllib_ext.analysis.headline import headline
from rllib_ext.analysis.html_page import page, titled, write_page
from rllib_ext.analysis.html_tags import Html, join, tag
from rllib_ext.analysis.plain_report import is_plain, plain_figures, plain_lead
from rllib_ext.analysis.plain_text import one_line
from rllib_ext.analysis.plots import Plot, draw_all
from rllib_ext.analysis.report_events import events_section, events_table
from rllib_ext.analysis.report_samples import samples_section, samples_table
from rllib_ext.analysis.run_data import RunData, load_run
from rllib_ext.analysis.stage_data import is_stage, load_stage
from rllib_ext.analysis.stage_report import figures_section, rows_section, stage_lead, write_reward_report


def build_report(run_folder: str | Path) -> Path:
    """Draw the plots, write the CSVs and the page into ``run_folder``/report; returns the page's path.

    Can be called while the run goes on and again later: the page is replaced in one step.

    Raises:
        BadData: if the folder is not a run.
        BadConfig: if matplotlib is not installed.
    """
    run = load_run(run_folder)
    folder = run.folder / "report"
    plots = draw_all(run, folder)
    if is_stage(run):
        write_reward_report(load_stage(run), folder)
    elif not is_plain(run):
        write_csv(samples_table(run), folder)
    write_csv(events_table(run), folder)
    return write_page(folder, render(run, plots))


def render(run: RunData, plots: list[Plot]) -> str:
    """The page as text."""
    name = run.run.get("algorithm") or run.config.get("algorithm") or "Run"
    title = f"{name} on {run.run.get('env') or run.config.get('data') or 'an unnamed environment'}"
    of_kind = _of_stage if is_stage(run) else _of_plain if is_plain(run) else _of_algorithm
    return page(title, _header(run, one_line(title)), *of_kind(run, plots), _footer(run))


def _of_stage(run: RunData, plots: list[Plot]) -> list[Html]:
    stage = load_stage(run)
    return [
        stage_lead(stage),
        titled("Figures", figures_section(stage)),
        titled("What happened", section.plot_section(plots)),
        titled("The rows", rows_section(stage)),
        titled("What went wrong and was handled", events_section(run)),
        titled("How to do it again", section.setup_section(run)),
    ]


def _of_plain(run: RunData, plots: list[Plot]) -> list[Html]:
    return [
        plain_lead(run),
        titled("Figures", plain_figures(run)),
        titled("What happened", section.plot_section(plots)),
        titled("What went wrong and was handled", events_section(run)),
        titled("How to do it again", section.setup_section(run)),
    ]


def _of_algorithm(run: RunData, plots: list[Plot]) -> list[Html]:
    head = headline(run)
    return [
        section.lead(head),
        section.headline_section(run, head),
        titled("What happened", section.plot_section(plots)),
        titled("Before and after", samples_section(run)),
        titled("Ages of the samples", section.ages_section(run)),
        titled("What went wrong and was handled", events_section(run)),
        titled("Every evaluation", section.evaluations_section(run)),
        titled("How to do it again", section.setup_section(run)),
    ]


def _header(run: RunData, title: str) -> Html:
    facts = [
        run.config.get("mode"),
        f"seed {run.run['seed']}" if "seed" in run.run else None,
        run.run.get("started"),
    ]
    chips = [tag("li", one_line(fact)) for fact in facts if fact]
    name = tag("p", one_line(run.folder.resolve().name), class_="soft")
    return join([tag("h1", title), name, tag("ul", *chips, class_="chips")])


def _footer(run: RunData) -> Html:
    """What could not be read, so that an absent figure is not taken for a zero."""
    notes = [tag("p", f"While reading the run: {note}.") for note in run.notes]
    return tag(
        "footer", *notes, tag("p", "Bars and \u00b1 are as labelled; n/a means that it was not measured.")
    )
