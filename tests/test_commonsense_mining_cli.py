"""From a run and a file of candidates to a ranked table, by the command line, in batches, and by what a judge opens."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kbc_fixture import learner_of, small, update

from rllib_ext.cli import main
from rllib_ext.commonsense.algorithm import _exported
from rllib_ext.commonsense.calibration import fit_calibration
from rllib_ext.commonsense.export import load_scorer, save_scorer
from rllib_ext.commonsense.judging import TripleJudge
from rllib_ext.commonsense.ray_scoring import BatchScorer, score_dataset
from rllib_ext.commonsense.synthetic import synthetic_kb
from rllib_ext.errors import BadConfig, BadData

RELATION = "relation0"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as far as mining reads it: its configuration, and the exported scorer of a short training."""
    folder = tmp_path_factory.mktemp("runs") / "CommonsenseKBC-triples-test"
    folder.mkdir()
    learner = learner_of(small(synthetic_train=1200, synthetic_rule="parts"))
    update(learner, 40)
    learner.judge_now()
    save_scorer(folder / "model", **_exported(learner))
    settings = {"algorithm": "CommonsenseKBC", "env": "triples", "env_config": {}}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str, str]]:
    """Triples of the rule that the run has learnt, some of its own training ones among them."""
    base = synthetic_kb(0, train=1200, evaluation=100, depends_on="parts")
    return [base.novel.text(row) for row in range(40)] + [base.train.text(row) for row in range(5)]


def mined(run: Path, capsys: pytest.CaptureFixture, *words: str) -> tuple[dict, list[dict]]:
    assert main(["evaluate", str(run), "--json", *words]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    with open(told["table"], newline="") as stream:
        return told, list(csv.DictReader(stream))


def test_a_tab_separated_file_becomes_a_table_by_novelty(
    run: Path, texts: list, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "wiki.txt"
    lines = ["\t".join([relation.upper(), head, tail, "0.5", "1.0"]) for head, relation, tail in texts]
    file.write_text("\n".join([*lines, "NoSuch\ta\tb", "relation0\tonly a head", lines[0]]) + "\n")
    told, rows = mined(run, capsys, "--candidates", str(file), "--top", "10")
    counts = told["lines"]
    assert counts["read"] == 48 and counts["quarantined"] == 2
    assert counts["accepted"] + counts["repaired"] + counts["quarantined"] == counts["read"]
    assert told["left_out"] == {"named before": 1, "stated in training": 5}
    assert told["ranked"] == 40 and len(rows) == told["written"] <= 30
    folder = Path(told["table"]).parent
    quarantined = [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]
    assert [row["line"] for row in quarantined] == [46, 47]
    judge = TripleJudge.open(run / "model")
    for row in rows[:3]:
        at = int(row["row"]) - 1
        assert (row["head"], row["relation"], row["tail"]) == texts[at]
        one = judge.judge([texts[at]])[0]
        assert float(row["score"]) == pytest.approx(one.score, abs=1e-5)
        assert float(row["probability"]) == pytest.approx(one.probability, abs=1e-5)
        assert (row["nearest_head"], row["nearest_relation"], row["nearest_tail"]) == one.nearest
    assert "nothing here is new knowledge" in json.loads((folder / "mining.json").read_text())["warning"]


def test_text_goes_through_the_extractor(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The synthetic base has none of ConceptNet's relations, so every sentence is left out, with that reason."""
    file = tmp_path / "page.txt"
    file.write_text("A knife is used for cutting. Water is wet.\n")
    assert main(["evaluate", str(run), "--candidates", str(file)]) == 3
    assert "the vocabulary has no relation UsedFor" in capsys.readouterr().err


def test_cuts_and_what_is_refused(
    run: Path, texts: list, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "few.tsv"
    file.write_text("\n".join("\t".join([r, h, t]) for h, r, t in texts) + "\n")
    told, _ = mined(run, capsys, "--candidates", str(file), "--cuts", "0.5", "1.5", "--keep-known")
    assert told["cuts"] == [0.5, 1.5] and told["bucket_scheme"] == "fixed_cuts" and told["ranked"] == 45
    assert main(["evaluate", str(run), "--candidates", str(file), "--cuts", "2", "1"]) == 2
    assert main(["evaluate", str(run), "--candidates", str(tmp_path / "none.tsv")]) == 3
    other = tmp_path / "SGIPretrain-x"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"algorithm": "SGIPretrain", "env": "x", "env_config": {}}))
    assert main(["evaluate", str(other), "--candidates", str(file)]) == 2
    assert "for runs of CommonsenseKBC" in capsys.readouterr().err


def test_an_opened_judge_has_the_export_s_calibration_and_vectors(run: Path) -> None:
    trained, judge = load_scorer(run / "model"), TripleJudge.open(run / "model", (1.0, 2.0))
    assert judge.calibration == fit_calibration(trained.dev1_scores, trained.dev1_labels)
    assert judge.cuts == (1.0, 2.0)
    assert (judge.index.distance(trained.train) == 0).all()
    np.testing.assert_array_equal(judge.score(trained.train), trained.score(trained.train))


def test_a_batch_keeps_every_row_and_says_why_some_have_no_score(run: Path, texts: list) -> None:
    scorer = BatchScorer(str(run / "model"))
    bad = [("", RELATION, "b"), ("a", "NoSuch", "b")]
    rows = [texts[0], bad[0], texts[1], bad[1]]
    batch = {
        name: np.array([row[at] for row in rows], object)
        for at, name in enumerate(("head", "relation", "tail"))
    }
    batch["id"] = np.arange(4)
    found = scorer(batch)
    assert found["id"].tolist() == [0, 1, 2, 3]
    judged = scorer.judge.judge([texts[0], texts[1]])
    np.testing.assert_allclose(found["score"][[0, 2]], [one.score for one in judged], rtol=1e-6)
    np.testing.assert_allclose(found["novelty"][[0, 2]], [one.novelty for one in judged], rtol=1e-6)
    assert np.isnan(found["score"][[1, 3]]).all() and found["bucket"][[1, 3]].tolist() == ["", ""]
    assert found["problem"][0] == "" and found["problem"][1] and "NoSuch" in found["problem"][3]
    only_bad = scorer({name: column[[1, 3]] for name, column in batch.items()})
    assert np.isnan(only_bad["score"]).all() and all(only_bad["problem"])
    with pytest.raises(BadData, match="lack tail"):
        scorer({"head": batch["head"], "relation": batch["relation"]})
    with pytest.raises(BadConfig, match="batch_size is 0"):
        score_dataset(None, run / "model", batch_size=0)


@pytest.mark.slow
def test_ray_data_scores_every_row_in_actors(ray_session: Any, run: Path, texts: list) -> None:
    import ray

    rows = [{"id": at, "head": h, "relation": r, "tail": t} for at, (h, r, t) in enumerate(texts)]
    dataset = ray.data.from_items([*rows, {"id": len(rows), "head": "", "relation": RELATION, "tail": "x"}])
    scored = score_dataset(dataset, run / "model", batch_size=8).sort("id").to_pandas()
    assert scored["id"].tolist() == list(range(len(texts) + 1))
    expected = TripleJudge.open(run / "model").judge(texts)
    np.testing.assert_allclose(scored["score"][: len(texts)], [one.score for one in expected], rtol=1e-5)
    assert scored["problem"].iloc[-1] and np.isnan(scored["score"].iloc[-1])
