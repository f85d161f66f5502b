"""Reading run folders: closed forms, torn files, resumed runs, folders that are no run."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import run_folder_fixture as fx
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.analysis.headline import headline
from rllib_ext.analysis.rows import number
from rllib_ext.analysis.run_data import load_run
from rllib_ext.analysis.tables import age_counts, age_mean, age_quantile, evaluations, main_split
from rllib_ext.errors import BadData


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return fx.write_run(tmp_path / "run")


def test_nested_results_become_flat_series(run_folder: Path) -> None:
    run = load_run(run_folder)
    assert run.notes == ()
    assert run.series("reward/mean") == [(2 * i, fx.reward_at(2 * i)) for i in range(1, fx.ROUNDS + 1)]
    assert run.last("learners/default_policy/total_loss") == 0.69 - 0.01 * fx.ROUNDS
    assert not any(key.startswith("config") for row in run.results for key in row)


def test_ages_count_every_sample_once(run_folder: Path) -> None:
    counts = age_counts(load_run(run_folder))
    assert counts == fx.AGE_COUNTS
    assert sum(counts.values()) == fx.ROUNDS * fx.SAMPLES_PER_ROUND
    assert age_mean(counts) == (fx.ROUNDS - 1) * 1.5 / fx.ROUNDS


@pytest.mark.parametrize(
    ("counts", "q", "age"),
    [({0: 95, 7: 5}, 0.95, 0), ({0: 94, 7: 6}, 0.95, 7), ({3: 1}, 0.95, 3), ({}, 0.95, None)],
)
def test_age_quantile_is_nearest_rank(counts: dict[int, int], q: float, age: int | None) -> None:
    assert age_quantile(counts, q) == age


def test_headline_has_the_first_and_last_evaluation_of_the_main_split(run_folder: Path) -> None:
    run = load_run(run_folder)
    head = headline(run)
    assert main_split(run) == "validation"
    assert head["engine"] == "vllm" and head["updates"] == 2 * fx.ROUNDS
    assert (head["reward_before"], head["reward_after"]) == (fx.reward_at(0), fx.reward_at(48))
    gain = (fx.reward_at(48) - fx.reward_at(0)) / math.sqrt(2 * 0.008**2)
    assert head["gain_in_se"] == pytest.approx(gain, rel=1e-12)
    assert head["kl"] == fx.kl_at(48) and head["win_rate"] == fx.win_rate_at(48)
    assert (head["staleness_p95"], head["staleness_max"]) == (2, 2)
    assert head["tokens_per_s"] == 500 + 10 * (fx.ROUNDS + 1) / 2
    assert head["learner_idle"] == 1 - fx.BUSY_S["learner"] / fx.WINDOW_S


def test_kl_of_the_sft_point_is_zero_even_where_it_was_not_measured(tmp_path: Path) -> None:
    folder = fx.write_run(tmp_path / "run")
    rows = [row | {"kl_ref": None} for row in fx.evaluations()]
    fx.write_lines(folder / "evaluations.jsonl", rows)
    points = evaluations(load_run(folder), "validation")
    assert [point.kl for point in points] == [0.0] + [None] * (len(points) - 1)


def test_torn_last_line_is_left_out_and_said(run_folder: Path) -> None:
    path = run_folder / "result.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    run = load_run(run_folder)
    assert len(run.results) == fx.ROUNDS - 1
    assert run.notes == ("result.json: the last line is torn and was left out (23 rows read)",)


def test_last_line_without_its_newline_counts(run_folder: Path) -> None:
    path = run_folder / "rounds.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert len(load_run(run_folder).rounds) == fx.ROUNDS


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 4_000))
def test_a_file_cut_anywhere_gives_a_prefix_of_its_rows(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "run.json").write_text("{}", encoding="utf-8")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in fx.rounds()).encode()
    (folder / "rounds.jsonl").write_bytes(text[:cut])
    rows = load_run(folder).rounds
    assert rows == fx.rounds()[: len(rows)]
    assert len(rows) >= text[:cut].count(b"\n")


def test_missing_files_are_empty_and_said(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    run = load_run(tmp_path)
    assert (run.results, run.rounds, run.timeline, run.samples, run.events) == ([], [], [], [], [])
    assert "result.json is missing" in run.notes and "config.json is missing" in run.notes
    assert headline(run)["reward_after"] is None


def test_broken_rows_in_the_middle_are_counted(run_folder: Path) -> None:
    path = run_folder / "timeline.jsonl"
    broken = b'not json\n[1, 2]\n{"role": "learn", "who": "learner", "start": 9, "end": 8}\n'
    path.write_bytes(broken + path.read_bytes())
    run = load_run(run_folder)
    assert len(run.timeline) == len(fx.timeline())
    assert any("2 unreadable line(s)" in note for note in run.notes)
    assert any("1 row(s) without a valid start and end" in note for note in run.notes)


def test_a_resumed_run_shows_its_newest_branch_only(run_folder: Path) -> None:
    """24 iterations, then a resume from the checkpoint of iteration 20 that got to iteration 22."""
    again = [row | {"branch": 2} for row in fx.results()[20:22]]
    with (run_folder / "result.json").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in again)
    rounds = [row | {"ages": {"5": 1}} for row in fx.rounds()[20:22]]
    with (run_folder / "rounds.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rounds)
    run = load_run(run_folder)
    assert [row["training_iteration"] for row in run.results] == list(range(1, 23))
    assert [row.get("branch") for row in run.results[-3:]] == [None, 2, 2]
    assert len(run.rounds) == 22 and age_counts(run)[5] == 2


def test_two_splits_at_one_point_are_not_taken_for_a_repetition(run_folder: Path) -> None:
    assert len(load_run(run_folder).evaluations) == len(fx.evaluations())
    assert len(load_run(run_folder).samples) == len(fx.samples())


@pytest.mark.parametrize("what", ["missing", "file", "empty", "parent"])
def test_a_folder_that_is_no_run_is_bad_data_and_says_what_to_do(tmp_path: Path, what: str) -> None:
    target = tmp_path / "somewhere"
    if what == "file":
        target.write_text("x", encoding="utf-8")
    elif what != "missing":
        target.mkdir()
    if what == "parent":
        fx.write_run(target / "trial_7")
    with pytest.raises(BadData) as error:
        load_run(target)
    words = {
        "missing": "does not exist",
        "file": "is a file",
        "empty": "run.json nor result.json",
        "parent": "trial_7",
    }
    assert words[what] in str(error.value) and str(target) in str(error.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (True, None),
        ("1", None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        ([1], None),
        ({}, None),
        (10**400, None),
    ],
)
def test_number_takes_finite_reals_only(value: object, expected: float | None) -> None:
    assert number(value) == expected


def test_number_takes_array_scalars() -> None:
    numpy = pytest.importorskip("numpy")
    assert number(numpy.float32(0.5)) == 0.5 and number(numpy.array(3)) == 3.0
    assert number(numpy.array([3.0])) is None and number(numpy.bool_(True)) is None


def test_reading_a_run_needs_no_heavy_package() -> None:
    import subprocess

    code = (
        "import sys, rllib_ext.analysis.report, rllib_ext.analysis.live\n"
        "heavy = {'torch', 'ray', 'vllm', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
