"""The report: self-contained, complete, and harmless whatever a model wrote."""

from __future__ import annotations

import base64
import csv
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import run_folder_fixture as fx
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("matplotlib")
from rllib_ext.analysis.html_tags import Html, tag
from rllib_ext.analysis.plain_text import clipped
from rllib_ext.analysis.report import build_report, render
from rllib_ext.analysis.run_data import RunData, load_run
from rllib_ext.errors import BadData

VOID = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """Tags, attributes and texts of a page; fails on tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.boxes: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)
        self.attributes += [(name, key, value or "") for key, value in attrs]
        if name not in VOID:
            self._open.append((name, dict(attrs).get("class") or ""))

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop()[0] == name

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._open and self._open[-1][1] == "text":
            self.boxes.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fx.write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    path = build_report(folder)
    assert path == folder / "report" / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_nothing_is_fetched_and_nothing_can_run(html: str, page: Page) -> None:
    assert not {"script", "iframe", "object", "embed", "link", "base", "form", "svg"} & set(page.tags)
    for _, key, value in page.attributes:
        assert not key.startswith("on") and key != "style"
        if key in ("src", "href"):
            assert value.startswith("data:image/png;base64,") or re.fullmatch(
                r"[a-z_]+\.(csv|svg|png)", value
            )
    policy = [
        value for name, key, value in page.attributes if name == "meta" and value.startswith("default-src")
    ]
    assert policy and policy[0].startswith("default-src 'none'")
    assert "@import" not in html and "url(" not in html


def test_the_plots_are_inside_and_their_files_beside_it(folder: Path, page: Page) -> None:
    images = [value for name, key, value in page.attributes if (name, key) == ("img", "src")]
    names = [
        "reward_vs_kl",
        "reward_over_updates",
        "timeline",
        "idle_shares",
        "sample_ages",
        "loss_and_parity",
    ]
    for name, image in zip(names, images, strict=True):
        assert base64.b64decode(image.split(",")[1]) == (folder / "report" / f"{name}.png").read_bytes()
    links = {value for name, key, value in page.attributes if (name, key) == ("a", "href")}
    assert links and all((folder / "report" / link).is_file() for link in links)
    assert not list((folder / "report").glob(".*"))


def test_headline_figures_are_those_of_the_run(page: Page) -> None:
    text = page.text
    assert "AsyncOnlineDPO on Docstrings" in text
    assert "Reward on the validation split rose from 0.180 to 0.265" in text
    assert "7.5 standard errors" in text
    for figure in ("0.180 \u00b1 0.008", "0.265 \u00b1 0.008", "1.330", "31.5%", "1.44", "625", "vllm"):
        assert figure in page.texts, figure
    learner = 1 - fx.BUSY_S["learner"] / fx.WINDOW_S
    generator = 1 - (fx.BUSY_S["worker 1"] + fx.BUSY_S["worker 2"]) / (2 * fx.WINDOW_S)
    assert f"{learner:.1%}" in page.texts and f"{generator:.1%}" in page.texts


def test_ages_events_config_and_command_are_listed(page: Page) -> None:
    text = page.text
    for count in fx.AGE_COUNTS.values():
        assert f"{count:,}" in page.texts
    assert "8 dropped as too old, 72 tied, 1 unscored" in text
    for event in ("worker_died", "prompts_requeued", "worker_replaced", "reward_failure"):
        assert event in page.texts
    assert "checkpoint_saved" not in text
    assert "0:00:23" in page.texts and "worker 2: killed by signal 9" in page.texts
    assert fx.run_json()["command"] in text and "2.60.0" in text and "env_config/max_prompt_tokens" in text


@pytest.mark.fault("G7")
def test_secrets_in_the_configuration_are_hidden(html: str, page: Page) -> None:
    assert "hf_secret_value" not in html
    assert "hub_token" in page.texts and "(hidden)" in page.texts
    assert "128" in page.texts, "max_prompt_tokens is no secret"


def test_before_and_after_stand_side_by_side(page: Page) -> None:
    at = [page.boxes.index(text) for text in ("Reference of parse_date.", "Warm text of parse_date.")]
    assert page.boxes[at[0] : at[0] + 3] == [
        "Reference of parse_date.",
        "Warm text of parse_date.",
        "Trained text of parse_date.",
    ]
    assert page.texts.count("reward 0.200") == 1 and page.texts.count("reward 0.400") == 2
    assert page.texts.count("unscored") == 2


def test_hostile_completions_are_text(html: str, page: Page) -> None:
    assert "<script" not in html.lower() and "\x1b" not in html and "\u202e" not in html
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in html
    hostile = [text for text in page.boxes if "alert" in text]
    assert len(hostile) == 4
    assert all(text.endswith(f"{fx.FORMULA} {fx.SCRIPT} red evil \ufffd") for text in hostile)


def test_csv_cells_of_hostile_texts_start_with_a_quote(folder: Path, html: str) -> None:
    with (folder / "report" / "samples.csv").open(newline="", encoding="utf-8") as file:
        samples = list(csv.DictReader(file))
    assert len(samples) == len(fx.samples())
    hostile = [row for row in samples if row["id"] == "hostile"]
    assert all(
        row["completion"].startswith("'=cmd") and row["reference"].startswith("'=cmd") for row in hostile
    )
    assert [row["reward"] for row in samples[:3]] == ["0.2", "-0.8", ""]
    for path in (folder / "report").glob("*.csv"):
        text = path.read_text(encoding="utf-8")
        assert "\x1b" not in text
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                for cell in row:
                    assert not re.match(r"\s*[=+@]|\s*-(?![0-9.])", cell), (path.name, cell)


_ANY = st.text(
    st.one_of(st.sampled_from(list("<>&\"'\x1b[]0;m=\x07/scriptonerror \n")), st.characters()), max_size=80
)


@pytest.fixture(scope="module")
def bare(folder: Path) -> RunData:
    """The run with nothing in it that a model or an error wrote."""
    return dataclasses.replace(load_run(folder), results=[], timeline=[], rounds=[], evaluations=[])


@pytest.fixture(scope="module")
def harmless_tags(bare: RunData) -> list[str]:
    return Page(render(with_text(bare, "b", "a"), [])).tags


def with_text(run: RunData, text: str, name: str) -> RunData:
    sample = {"updates": 0, "split": "test", "id": name, "prompt": "p", "completion": text, "reward": 1.0}
    event = {"time": 0.0, "event": "reward_failure", "detail": text, "who": name}
    return dataclasses.replace(run, samples=[sample], events=[event])


@settings(max_examples=200, deadline=None)
@given(text=_ANY, name=_ANY)
def test_any_text_comes_back_as_itself_and_adds_no_tag(
    bare: RunData, harmless_tags: list[str], text: str, name: str
) -> None:
    """What the page's reader sees is the harmless form of the text; the tags do not depend on it."""
    page = Page(render(with_text(bare, text, name), []))
    assert page.tags == harmless_tags
    expected = clipped(text, 4_000)
    assert page.boxes[0] == "p"
    assert "".join(page.boxes[1:]) == (expected if expected.strip() else "(empty)")


def test_tags_escape_what_is_not_markup() -> None:
    assert tag("p", "<b>", tag("i", "&"), title='"x"') == '<p title="&quot;x&quot;">&lt;b&gt;<i>&amp;</i></p>'
    assert tag("p", Html("<b>kept</b>")) == "<p><b>kept</b></p>"


def test_a_run_that_has_only_begun_gets_a_report_that_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"algorithm": "X"}), encoding="utf-8")
    page = Page(build_report(tmp_path).read_text(encoding="utf-8"))
    assert "The run has no two evaluations to compare." in page.texts
    assert "While reading the run: evaluations.jsonl is missing." in page.texts
    assert page.text.count("Not drawn: ") == 6
    assert "Nothing went wrong. 0 routine events are in the log." in page.texts


def test_a_later_report_replaces_the_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    build_report(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"env": "Second"}), encoding="utf-8")
    assert "Second" in build_report(tmp_path).read_text(encoding="utf-8")


def test_a_folder_without_a_run_gets_no_report(tmp_path: Path) -> None:
    with pytest.raises(BadData):
        build_report(tmp_path)
    assert not (tmp_path / "report").exists()
