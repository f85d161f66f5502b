"""The table of the fault battery: id, fault, tries, survived, lost.

A test that shows a row carries ``@pytest.mark.fault("B4", tries=1000)``: how often it does the fault. What it counted
itself goes before: ``record_property("tries", n)``, ``"survived"``, ``"lost"`` (work that was reported and is not in
the final result). ``--battery full`` raises the tries of tests that ask `tries`; ``--battery-to FOLDER`` writes the
table as JSON and Markdown. Every row of `rows.py` is in the table, shown or not.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from chaos.inject import set_tier
from chaos.rows import NOT_COVERED, ROWS

PROPERTY = "fault"


@dataclass
class Line:
    """One row of the table. lost is None where no test of the row counts work."""

    id: str
    fault: str
    expected: str
    tests: int = 0
    tries: int = 0
    survived: int = 0
    lost: int | None = None
    verdict: str = "not run"
    rest: str = ""

    def add(self, tries: int, outcome: str, counted: dict[str, Any]) -> None:
        """Book one test. A test that fails survived none of its tries, unless it counted them itself."""
        if outcome == "skipped":
            self.verdict = "skipped" if self.verdict == "not run" else self.verdict
            return
        tries = int(counted.get("tries", tries))
        passed = outcome == "passed"
        self.tests += 1
        self.tries += tries
        self.survived += int(counted.get("survived", tries if passed else 0))
        if "lost" in counted:
            self.lost = (self.lost or 0) + int(counted["lost"])
        if not passed:
            self.verdict = "failed"
        elif self.verdict != "failed":
            self.verdict = "passed"


def table(booked: list[tuple[str, int, str, dict[str, Any]]]) -> list[Line]:
    """(id, tries, outcome, counted by the test) of every test -> a line for every row of the battery."""
    lines = {id: Line(id, row.fault, row.expected, rest=row.rest) for id, row in ROWS.items()}
    for id, why in NOT_COVERED.items():
        lines[id].verdict, lines[id].rest = "not covered", why
    for id, tries, outcome, counted in booked:
        lines[id].add(tries, outcome, counted)
    return list(lines.values())


def markdown(lines: list[Line]) -> str:
    head = "| id | fault | expected | tests | tries | survived | lost | verdict | not shown, or instead |"
    rows = [
        f"| {line.id} | {line.fault} | {line.expected} | {line.tests} | {line.tries} | {line.survived} "
        f"| {'–' if line.lost is None else line.lost} | {line.verdict} | {line.rest} |"
        for line in lines
    ]
    return "\n".join([head, "|" + " --- |" * 9, *rows]) + "\n"


def plain(lines: list[Line]) -> list[str]:
    """For a terminal: without what is expected."""
    shown = [f"{'id':<4} {'fault':<64} {'tries':>6} {'survived':>8} {'lost':>4}  verdict"]
    for line in lines:
        lost = "–" if line.lost is None else str(line.lost)
        shown.append(
            f"{line.id:<4} {line.fault[:64]:<64} {line.tries:>6} {line.survived:>8} {lost:>4}  {line.verdict}"
        )
        if line.rest:
            shown.append(f"     ({line.rest})")
    return shown


class Book:
    """Collects the outcomes in the process that reports (with xdist, the one that hands out tests)."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._outcomes: dict[str, str] = {}
        self._properties: dict[str, list[tuple[str, Any]]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The worst of a test's three phases counts; properties are complete with the last of them."""
        worst = {"passed": 0, "skipped": 1, "failed": 2}
        before = self._outcomes.get(report.nodeid, "passed")
        self._outcomes[report.nodeid] = max(before, report.outcome, key=worst.__getitem__)
        self._properties[report.nodeid] = list(report.user_properties)

    def lines(self) -> list[Line]:
        booked = []
        for nodeid, properties in self._properties.items():
            counted = {name: value for name, value in properties if name != PROPERTY}
            booked += [
                (id, tries, self._outcomes[nodeid], counted)
                for name, value in properties
                if name == PROPERTY
                for id, tries in [value]
            ]
        return table(booked)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        lines = self.lines()
        terminalreporter.section("fault battery")
        for text in plain(lines):
            terminalreporter.write_line(text)
        if self._folder:
            folder = Path(self._folder)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "battery.md").write_text(markdown(lines), encoding="utf-8")
            (folder / "battery.json").write_text(
                json.dumps([asdict(line) for line in lines], indent=1) + "\n"
            )
            terminalreporter.write_line(f"written to {folder}/battery.md and battery.json")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fault battery")
    group.addoption(
        "--battery", choices=("quick", "full"), help="print the table; full: as many tries as it asks for"
    )
    group.addoption("--battery-to", metavar="FOLDER", help="where battery.md and battery.json are written")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--battery"):
        set_tier(config.getoption("--battery"))
        if not hasattr(config, "workerinput"):  # not in a process that only runs tests
            config.pluginmanager.register(Book(config.getoption("--battery-to")), "fault-battery")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell every report which rows its test shows. Tries of a property test are its examples where it says none."""
    for item in items:
        for marker in item.iter_markers("fault"):
            (id,) = marker.args
            if id not in ROWS:
                raise pytest.UsageError(f"{item.nodeid}: the battery has no row {id!r} (tests/chaos/rows.py)")
            if id in NOT_COVERED:
                raise pytest.UsageError(f"{item.nodeid}: row {id} is in NOT_COVERED of tests/chaos/rows.py")
            examples = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)
            tries = marker.kwargs.get("tries", getattr(examples, "max_examples", 1))
            item.user_properties.append((PROPERTY, [id, tries]))
