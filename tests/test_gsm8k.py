"""GSM8K: label extraction, prompt template, verified reward."""

from __future__ import annotations

import json

import pytest

from envs.errors import BadEnv
from envs.text.gsm8k import GSM8K, label_number

ROWS = [
    {"question": "Ann has 3 apples and buys 4. How many?", "answer": "She has 3+4=<<3+4=7>>7.\n#### 7"},
    {"question": "A house costs {x} more.", "answer": "So\n#### 1,250,000"},
    {"question": "Debt?", "answer": "owes\n#### -5"},
]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("so\n#### 42", "42"),
        ("#### 1,250", "1250"),
        ("#### -7", "-7"),
        ("#### $18", "18"),
        ("#### -$18", "-18"),
        ("#### 2.50", "2.50"),
        ("#### .5", ".5"),
        ("#### 3.", "3"),
        ("#### 1\nrevised\n####  2  ", "2"),
        ("no marker 5", None),
        ("####", None),
        ("#### twelve", None),
        ("#### 5 apples", None),
        ("#### __import__('os')", None),
    ],
)
def test_the_label_is_the_number_after_the_last_marker(answer, label):
    assert label_number(answer) == label


def test_prompt_reference_and_solution():
    env = GSM8K("all", data=ROWS)
    task = env.task(0)
    assert task.prompt == "Problem:\nAnn has 3 apples and buys 4. How many?\n\nSolution:"
    assert task.reference == "7" and task.info["solution"] == " She has 3+4=<<3+4=7>>7.\n#### 7"
    assert "{x}" in env.task(1).prompt and env.task(1).reference == "1250000"  # braces in questions are text
    assert GSM8K("all", data=ROWS, template="Q {question} A").task(2).prompt == "Q Debt? A"


@pytest.mark.parametrize(
    ("index", "completion", "reward"),
    [
        (0, " 3 + 4 = 7\n#### 7", 1.0),
        (0, " 3 + 4 = 8\n#### 8", 0.0),
        (0, " 3 + 4 = 7\n#### 7.0", 1.0),
        (1, " #### 1250000", 1.0),
        (1, " #### 1,250,000", 1.0),
        (2, " #### -5", 1.0),
        (2, " #### 5", 0.0),
        (0, " I do not know", 0.0),
    ],
)
def test_the_reward_is_whether_the_number_is_right(index, completion, reward):
    env = GSM8K("all", data=ROWS)
    env.reset(options={"index": index})
    _, got, terminated, truncated, _ = env.step(completion)
    assert (got, terminated, truncated) == (reward, True, False)


def test_every_human_solution_is_right_by_its_own_label():
    env = GSM8K("all", data=ROWS)
    for index in range(env.num_tasks):
        env.reset(options={"index": index})
        assert env.step(env.task(index).info["solution"])[1] == 1.0


def test_answers_without_a_number_are_quarantined_and_files_read(tmp_path):
    path = tmp_path / "gsm8k_train.jsonl"
    rows = [
        *({"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(199)),
        {"question": "?", "answer": "none"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = {split: GSM8K(split, data=tmp_path) for split in ("train", "validation")}
    assert sum(env.num_tasks for env in splits.values()) == 199
    assert [reason for env in splits.values() for _, reason in env.report.quarantined] == [
        "column 'answer' has no number after '####'"
    ]


@pytest.mark.parametrize("template", ["no question", "{question} {question}"])
def test_a_template_needs_the_question_once(template):
    with pytest.raises(BadEnv, match="exactly once"):
        GSM8K("all", data=ROWS, template=template)
