"""A PyKEEN model as a baseline, the picture by novelty, and the experimental environment that picks candidates."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from rllib_ext.analysis.novelty_plots import GroupFigure, draw_by_novelty, novelty_table
from rllib_ext.analysis.novelty_report import plot_by_novelty
from rllib_ext.commonsense.mining_env import Pool, TripleMiningEnv
from rllib_ext.commonsense.pykeen_scorer import PyKEENScorer, label_array
from rllib_ext.commonsense.synthetic import synthetic_kb
from rllib_ext.commonsense.triples import Triples
from rllib_ext.errors import BadConfig, BadData


def test_a_pykeen_model_scores_what_it_knows_as_pykeen_does() -> None:
    from pykeen.models import DistMult
    from pykeen.triples import TriplesFactory

    base = synthetic_kb(0, train=300, evaluation=40, phrases_per_type=8)
    factory = TriplesFactory.from_labeled_triples(label_array(base.train))
    model = DistMult(triples_factory=factory, embedding_dim=6, random_seed=0)
    scorer = PyKEENScorer(
        model, factory.entity_to_id, factory.relation_to_id, unknown_score=-3.0, batch_size=7
    )
    own = scorer(base.train)
    labels = label_array(base.train)
    for row in (0, 7, 13, 299):  # one by one: PyKEEN maps several in an order of its own
        theirs = model.predict_hrt(factory.map_triples(labels[row : row + 1]))
        assert own[row] == pytest.approx(theirs.item(), rel=1e-5)
    assert len(set(own.tolist())) > 290
    unknown = Triples.from_text([("never seen", "relation0", base.train.text(0)[2])], base.vocabulary)
    assert scorer(unknown).tolist() == [-3.0] and not scorer.known(unknown).any()
    assert scorer.known(base.train).all()


class Fixed(torch.nn.Module):
    """What answers as a model of PyKEEN does, with numbers that are not finite."""

    device = torch.device("cpu")

    def predict_hrt(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.full((len(ids), 1), float("nan"))


def test_what_the_wrapper_refuses() -> None:
    triples = Triples.from_text([("dog", "IsA", "animal")])
    with pytest.raises(BadConfig, match="predict_hrt"):
        PyKEENScorer(torch.nn.Linear(1, 1), {}, {})
    with pytest.raises(BadConfig, match="unknown_score is nan"):
        PyKEENScorer(Fixed(), {}, {}, unknown_score=float("nan"))
    with pytest.raises(BadData, match="not finite"):
        PyKEENScorer(Fixed(), {"dog": 0, "animal": 1}, {"IsA": 0})(triples)


def test_the_table_is_means_with_intervals_and_the_picture_is_drawn(tmp_path: Path) -> None:
    records = [
        GroupFigure(model, group, figure, 0.5 + 0.1 * seed + 0.01 * len(group))
        for seed in range(3)
        for model in ("factorized", "$maxsim_")
        for group in ("all", "near", "far")
        for figure in ("auc", "f1")
    ]
    table = novelty_table(records)
    row = table.rows[0]
    assert row[:3] == ("factorized", "all", "auc") and row[-1] == 3
    assert row[3] == pytest.approx(0.63) and row[4] < row[3] < row[5]
    assert row[5] - row[3] == pytest.approx(
        4.3027 * 0.1 / 3**0.5, rel=1e-3
    )  # Student, two degrees of freedom
    paths = draw_by_novelty(records, tmp_path, title="By novelty")
    assert [path.suffix for path in paths] == [".png", ".svg", ".csv"] and all(
        p.stat().st_size for p in paths
    )
    assert len(paths[2].read_text().splitlines()) == 1 + len(table.rows)
    with pytest.raises(BadData, match="nothing to draw"):
        draw_by_novelty([GroupFigure("m", "all", "loss", 1.0)], tmp_path)


def pool(verdict: bool = True) -> Pool:
    draw = np.random.default_rng(0)
    novelty = draw.random(30)
    novelty[:5] = 0.0
    return Pool(
        features=draw.normal(size=(30, 3)).astype(np.float32),
        reward=draw.random(30),
        novelty=novelty,
        bucket=draw.integers(3, size=30),
        verdict=draw.random(30) if verdict else None,
    )


def test_the_environment_conforms() -> None:
    check_env(TripleMiningEnv(pool(), shown=4, budget=3), skip_render_check=True)


def test_a_pick_pays_its_reward_and_copies_cost() -> None:
    env = TripleMiningEnv(pool(), shown=30, budget=4, duplicate_penalty=0.5)
    seen, _ = env.reset(seed=1)
    fresh = int(np.flatnonzero(seen[:, -1] > 0)[0])
    _, reward, ended, _, info = env.step(np.int64(fresh))
    row = info["picked"]
    assert reward == pytest.approx(env.pool.reward[row]) and not ended
    again = int(np.flatnonzero(env._rows == row)[0])
    assert env.step(np.int64(again))[1] == pytest.approx(env.pool.reward[row] - 0.5)
    copy = int(np.flatnonzero(env._rows == 0)[0])  # novelty 0
    assert env.step(np.int64(copy))[1] == pytest.approx(env.pool.reward[0] - 0.5)
    assert env.step(np.int64(30))[1:3] == (0.0, False)  # reject all
    _, _, ended, _, info = env.step(np.int64(0))
    assert ended and info["near_copies"] >= 1 and sum(info["picks_by_bucket"].values()) == 4
    assert info["judge"] == pytest.approx(env.pool.verdict[env._picks].mean())


def test_rejecting_for_ever_ends_too_and_without_verdicts_nobody_judges() -> None:
    env = TripleMiningEnv(pool(verdict=False), shown=2, budget=2, horizon=3)
    env.reset(seed=0)
    outcomes = [env.step(np.int64(2)) for _ in range(3)]
    assert [one[3] for one in outcomes] == [False, False, True]
    assert outcomes[-1][4]["judge"] is None
    with pytest.raises(BadConfig, match="none of 0 to 2"):
        env.step(np.int64(3))
    with pytest.raises(BadConfig, match="shown is 31"):
        TripleMiningEnv(pool(), shown=31)
    with pytest.raises(BadData, match="novelty"):
        Pool(np.zeros((2, 1), np.float32), np.zeros(2), np.array([0.0, np.nan]), np.zeros(2, np.int64))


def results(folder: Path, scorer: str, seed: int, split: str, auc: float) -> None:
    """A trial's folder as Tune writes it."""
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps({"scorer": scorer, "seed": seed, "split": split}))
    thirds = {
        bucket: {"auc": auc - 0.1 * at, "f1": 0.5} for at, bucket in enumerate(("near", "middle", "far"))
    }
    row = {
        "training_iteration": 1,
        "best": {"test": {"auc": auc, "pooled_thirds": thirds, "positive_thirds": thirds}},
    }
    (folder / "result.json").write_text(json.dumps(row) + "\n")


def test_a_sweep_has_a_picture_by_novelty_for_every_split(tmp_path: Path) -> None:
    for split in ("random", "confidence"):
        for seed in range(2):
            for scorer, auc in (("factorized", 0.8), ("dnn", 0.7)):
                results(tmp_path / f"{scorer}-{split}-{seed}", scorer, seed, split, auc + 0.02 * seed)
    written = plot_by_novelty(tmp_path)
    assert {path.name for path in written if path.suffix == ".csv"} == {
        "by_novelty_pooled_thirds_random.csv", "by_novelty_pooled_thirds_confidence.csv",
        "by_novelty_positive_thirds_random.csv", "by_novelty_positive_thirds_confidence.csv",
    }  # fmt: skip
    with open(tmp_path / "report" / "by_novelty_pooled_thirds_random.csv", newline="") as stream:
        rows = {(row["model"], row["group"], row["figure"]): row for row in csv.DictReader(stream)}
    assert float(rows["factorized", "far", "auc"]["mean"]) == pytest.approx(0.61)
    assert rows["dnn", "all", "auc"]["runs"] == "2"


def test_runs_of_other_algorithms_have_no_such_picture(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"algorithm": "SGIPretrain"}))
    (tmp_path / "result.json").write_text("{}\n")
    assert plot_by_novelty(tmp_path) == []
