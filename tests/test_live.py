"""The live table: lines without a terminal, a table on one, and never the end of a run."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import run_folder_fixture as fx

from rllib_ext.analysis.live import LiveTable
from rllib_ext.analysis.live_row import clock_words, read_row, seconds_left, sparkline


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a UTF-8 terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def plain_table(**options: Any) -> tuple[LiveTable, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return LiveTable(stream=stream, clock=clock, **options), stream, clock


def test_a_pipe_gets_one_line_an_iteration_with_every_figure() -> None:
    table, stream, clock = plain_table(total_updates=48)
    with table:
        for index, result in enumerate(fx.results()[:2]):
            clock.now += 30
            table.update(result | ({"evaluation": {"win_rate": 0.25}} if index == 0 else {}))
    assert stream.getvalue().splitlines() == [
        "iter 1  updates 2/48  reward 0.1909 \u00b1 0.0200  kl 0.011  win 25%  tok/s 510  age 1.0/2  "
        "idle gen 12% learn 19%  elapsed 0:30  eta -",
        "iter 2  updates 4/48  reward 0.2000 \u00b1 0.0200  kl 0.032  win 25%  tok/s 520  age 1.0/2  "
        "idle gen 12% learn 19%  elapsed 1:00  eta 11:00",
    ]


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"reward": None},
        {"reward": {"mean": float("nan")}, "staleness": "soon"},
        {"evaluation": {"win_rate": "x"}},
        {"num_updates_lifetime": None, "config": {"total_updates": "many"}},
        {"config": None},
        {"reward": []},
    ],
)
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_missing_and_senseless_values_are_dashes(result: dict[str, Any], stream: type[io.StringIO]) -> None:
    out = stream()
    with LiveTable(stream=out, total_updates=10) as table:
        table.update(result)
        table.update(result)
    assert "reward -" in out.getvalue() or stream is Terminal
    assert "nan" not in out.getvalue()


def test_flat_results_and_array_scalars_are_read_too() -> None:
    numpy = pytest.importorskip("numpy")
    row = read_row({"reward/mean": numpy.float32(0.5), "policy": {"kl_ref": numpy.array(2.0)}}, at=0.0)
    assert (row.reward, row.kl) == (0.5, 2.0)


def test_time_left_is_the_pace_of_the_newest_iterations_times_what_remains() -> None:
    """10 updates a second for long, then 2: the window of 20 rows forgets the fast start."""
    rows = [read_row({"num_updates_lifetime": 10 * i}, at=float(i)) for i in range(30)]
    rows += [read_row({"num_updates_lifetime": 290 + 2 * i}, at=29.0 + i) for i in range(1, 21)]
    assert seconds_left(rows, 430) == (430 - 330) / 2
    assert seconds_left(rows[:1], 430) is None and seconds_left(rows, None) is None
    assert seconds_left(rows, 300) == 0.0


def test_total_updates_is_taken_from_the_results_config() -> None:
    table, stream, _ = plain_table()
    table.update({"num_updates_lifetime": 3, "config": {"total_updates": 12}})
    assert "updates 3/12" in stream.getvalue()


def test_events_are_shown_without_their_escape_sequences() -> None:
    table, stream, _ = plain_table()
    with table:
        table.event("worker_died", f"worker 2: {fx.ANSI}\nsecond line")
        table.event("checkpoint_saved")
    assert stream.getvalue().splitlines() == [
        "event worker_died: worker 2: red second line",
        "event checkpoint_saved",
    ]


def test_appended_events_are_followed_and_half_lines_wait(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_text(json.dumps({"event": "old", "detail": "before this session"}) + "\n", encoding="utf-8")
    table, stream, _ = plain_table(events_file=log)
    with table:
        line = json.dumps({"time": 1.0, "event": "worker_died", "detail": "worker 1", "round": 3})
        with log.open("a", encoding="utf-8") as file:
            file.write("not json\n" + line[:20])
        table.update({})
        assert "worker_died" not in stream.getvalue()
        with log.open("a", encoding="utf-8") as file:
            file.write(line[20:] + "\n")
    assert stream.getvalue().splitlines()[-1] == "event worker_died: worker 1; round=3"
    assert stream.getvalue().count("event ") == 1


def screen(stream: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_a_terminal_gets_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream, clock = Terminal(), Clock()
    with LiveTable(
        stream=stream, clock=clock, total_updates=48, title="AsyncOnlineDPO on Docstrings"
    ) as table:
        for result in fx.results():
            clock.now += 30
            table.update(result | {"evaluation": {"win_rate": 0.25}})
        table.event("worker_died", f"[bold]worker 2[/bold] {fx.SCRIPT} {fx.ANSI}")
    last = screen(stream).rsplit("AsyncOnlineDPO on Docstrings", 1)[1]
    assert "48/48 updates" in last and "elapsed 12:00" in last and "eta 0:00" in last
    for words in ("0.2647 \u00b1 0.0200", "1.330", "25%", "740", "1.0/2", "12% / 19%", "12:00"):
        assert words in last, words
    assert "worker_died" in last and "[bold]worker 2[/bold]" in last and "red" in last
    assert "\u2026" not in last, "nothing is cut at 80 columns"
    assert "\x1b]0;" not in stream.getvalue()


def test_an_error_inside_leaves_the_terminal_usable_and_comes_out() -> None:
    pytest.importorskip("rich")
    stream = Terminal()
    with pytest.raises(RuntimeError, match="training failed"), LiveTable(stream=stream, plain=False) as table:
        table.update({})
        raise RuntimeError("training failed")
    assert stream.getvalue().endswith("\x1b[?25h"), "the cursor is shown again"


class Gone(io.StringIO):
    """A pipe whose reader left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("plain", [True, False])
def test_a_viewer_that_leaves_does_not_end_the_run(plain: bool) -> None:
    if not plain:
        pytest.importorskip("rich")
    with LiveTable(stream=Gone(), plain=plain) as table:
        for result in fx.results()[:3]:
            table.update(result)
        table.event("worker_died")


def test_a_closed_stream_does_not_end_the_run() -> None:
    table, stream, _ = plain_table()
    with table:
        stream.close()
        table.update({})


def test_a_stream_that_cannot_write_every_letter_still_gets_the_line() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with LiveTable(stream=stream) as table:
        table.update(fx.results()[0])
    assert b"reward 0.1909 ? 0.0200" in raw.getvalue()


def test_without_rich_a_terminal_gets_lines_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("rllib_ext.analysis.live.find_spec", lambda name: None)
    stream = Terminal()
    with LiveTable(stream=stream) as table:
        table.update({})
    told, line = stream.getvalue().splitlines()
    assert "pip install rich" in told and line.startswith("iter -")


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveTable(stream=None) as table:
        table.update({})
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("iter -")
    assert sys.stderr is not None


def test_sparkline_spans_lowest_to_highest_and_fits() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "\u2581\u2585\u2588"
    assert sparkline([2.0, 2.0]) == "\u2581\u2581" and sparkline([]) == ""
    assert len(sparkline([float(i) for i in range(401)], width=40)) == 40


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (None, "-")]
)
def test_clock_words(seconds: float | None, words: str) -> None:
    assert clock_words(seconds) == words
