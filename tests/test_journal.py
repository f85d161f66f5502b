"""What the journal writes down of rounds and evaluations, and when it ends a run that leads nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rllib_ext.errors import RllibExtError
from rllib_ext.llm.journal import Journal
from rllib_ext.llm.requests import Rollout, Ticket


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def rollout(completions: int, unscored: int = 0, refused: int = 0, round_index: int = 3) -> Rollout:
    return Rollout(
        ticket=Ticket(round_index, 0, ((0, 0),), 1, 1.0, 0),
        worker=1,
        version=2,
        digest="",
        played=[object()] * completions,
        spans=[("publish", 1.0, 2.0), ("generate", 2.0, 3.0)],
        tokens=0,
        refused={index: "longer than max_prompt_tokens=8" for index in range(refused)},
        failures={"the reward raised ValueError": unscored} if unscored else {},
    )


def written(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.fault("D1")
def test_a_round_with_too_many_unscored_ends_the_run(journal: Journal) -> None:
    journal.failures([rollout(6, unscored=1), rollout(4, unscored=1)], limit=0.2)
    with pytest.raises(RllibExtError, match=r"3 of 10 completions have no score.*ValueError \(3\)"):
        journal.failures([rollout(6, unscored=1), rollout(4, unscored=2)], limit=0.2)


@pytest.mark.fault("F1")
def test_rounds_without_any_completion_end_the_run(journal: Journal) -> None:
    """Nothing generated is nothing learnt: such a run would never reach its last update."""
    empty = [rollout(0, refused=4), rollout(0, refused=4)]
    for _ in range(2):  # one usable prompt is enough to go on
        journal.failures(empty, limit=0.2)
        journal.failures(empty, limit=0.2)
        journal.failures([rollout(1, refused=3)], limit=0.2)
    journal.failures(empty, limit=0.2)
    journal.failures(empty, limit=0.2)
    with pytest.raises(RllibExtError, match=r"3 rounds in a row .* longer than max_prompt_tokens=8 \(8\)"):
        journal.failures(empty, limit=0.2)


def test_refused_prompts_are_written_down(journal: Journal, tmp_path: Path) -> None:
    journal.failures([rollout(2, refused=2)], limit=0.2)
    journal.close()
    events = [row for row in written(tmp_path, "events") if row["event"] == "prompt_refused"]
    assert [row["detail"][:9] for row in events] == ["prompt 0:", "prompt 1:"]


def test_evaluations_are_no_rounds_of_training(journal: Journal, tmp_path: Path) -> None:
    """They may read the same split; a timeline that mixed them would show rounds that never were."""
    journal.spans([rollout(1), rollout(1, round_index=-1)])
    journal.close()
    rows = written(tmp_path, "timeline")
    assert [(row["role"], row["round"]) for row in rows] == [
        ("publish", 3),
        ("generate", 3),
        ("evaluate", None),
        ("evaluate", None),
    ]
    keys = {rollout(1, round_index=number).ticket.key for number in (-1, 0, 1)}
    assert len(keys) == 3
