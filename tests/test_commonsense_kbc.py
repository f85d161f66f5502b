"""The learner of CommonsenseKBC: what it learns, what it reports and selects by, and that it goes on to the bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kbc_fixture import folder_of_files, learner_of, same, small, update, weights

from rllib_ext.commonsense.data import data_of
from rllib_ext.commonsense.evaluation import Judge, scores_of
from rllib_ext.commonsense.export import load_scorer, save_scorer
from rllib_ext.commonsense.negatives import Known
from rllib_ext.commonsense.persistence import OWN
from rllib_ext.commonsense.selection import Selection
from rllib_ext.commonsense.triples import keys_of
from rllib_ext.errors import BadConfig, BadData, CheckpointCorrupt, NonFinite
from rllib_ext.runtime.rllib_state import learner_state, restore_learner


@pytest.mark.parametrize("model", ["factorized", "prototypical", "dnn", "bilinear", "argsim_trained"])
def test_every_model_learns_from_its_first_updates(model: str) -> None:
    learner = learner_of(small(scorer=model))
    before = weights(learner)
    first = update(learner, 3)["bce_loss"]
    last = update(learner, 40)["bce_loss"]
    assert last < first
    after = weights(learner)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(before) - {
        "phrases.initial"
    }  # every parameter, and the statistics of the normalisation
    assert after["phrases.table.weight"][0].abs().max() == 0  # padding


def test_factorized_learns_the_pairs_that_prototypical_cannot() -> None:
    """The base's negatives have the heads, relations and tails of its positives: only the pair tells."""
    auc = {}
    for model in ("factorized", "prototypical"):
        learner = learner_of(small(scorer=model, synthetic_train=4000, hidden=32, lr=0.05))
        update(learner, 260)
        auc[model] = learner.judge_now()["last"]["test/auc"]
    assert auc["factorized"] > 0.9 and auc["prototypical"] < 0.65


def test_the_loss_is_the_cross_entropy_of_the_batch_and_its_negatives() -> None:
    learner = learner_of(small(l2=0.0))
    batch, train = learner.batch(0), learner.data.base.train
    rows = learner.rows(0)
    scorer, bad = learner.scorer.train(), (batch["bad_heads"], batch["bad_relations"], batch["bad_tails"])
    every = [
        torch.cat([batch[name], batch[name][at]])
        for name, at in zip(("heads", "relations", "tails"), bad, strict=True)
    ]
    label = torch.cat([torch.ones(100), torch.zeros(len(bad[0]))])
    with torch.no_grad():
        wanted = torch.nn.functional.binary_cross_entropy_with_logits(scorer.score(*every), label)
    assert update(learner)["bce_loss"] == pytest.approx(float(wanted), rel=1e-5)
    bad_keys = keys_of(*(one[100:].numpy() for one in every))
    assert not Known(train).has(bad_keys).any() and len(bad[0]) > 290
    assert np.array_equal(train.heads[rows], batch["heads"].numpy())


def test_an_epoch_shows_every_triple_once_and_epochs_differ() -> None:
    learner = learner_of(small(synthetic_train=1050))
    assert learner.updates_per_epoch == 11
    first, second = (
        np.concatenate([learner.rows(at) for at in range(start, start + 11)]) for start in (0, 11)
    )
    assert sorted(first) == sorted(second) == list(range(1050)) and not np.array_equal(first, second)
    assert learner_of(small(synthetic_train=1001)).updates_per_epoch == 10  # a rest of one is left out


def test_sparse_and_dense_gradients_make_the_same_updates() -> None:
    made = []
    for sparse in (True, False):
        learner = learner_of(small(sparse=sparse))
        update(learner, 5)
        made.append(weights(learner))
    for name in made[0]:
        torch.testing.assert_close(made[0][name], made[1][name], msg=name)


def test_l2_pulls_the_words_of_the_batch_alone() -> None:
    free, held = (learner_of(small(l2=l2, train_batch_size_per_learner=10)) for l2 in (0.0, 1.0))
    seen = set(torch.cat([free.batch(0)[name].flatten() for name in ("heads", "tails")]).tolist()) - {0}
    for learner in (free, held):
        update(learner)
    left, right = (one.scorer.phrases.table.weight.detach() for one in (free, held))
    changed = {int(word) for word in (left != right).any(1).nonzero()}
    assert changed and changed <= seen
    assert right[sorted(changed)].norm() < left[sorted(changed)].norm()


@pytest.mark.parametrize("way", ["package", "rllib"])
def test_a_resumed_learner_is_the_learner_to_the_bit(way: str) -> None:
    config = small(plateau_patience=1)
    straight = learner_of(config)
    for _ in range(3):
        update(straight, 2)
        straight.judge_now()
    resumed = learner_of(config, seed=1)
    assert not same(weights(straight), weights(resumed))
    if way == "package":
        tensors, state = learner_state(straight, OWN)
        restore_learner(resumed, tensors, json.loads(json.dumps(state)), OWN)
    else:
        resumed.set_state(straight.get_state())
    assert resumed.gradient_steps == 6 and resumed.selection.rate == straight.selection.rate
    for learner in (straight, resumed):
        update(learner, 20)  # into the next epoch
    assert same(weights(straight), weights(resumed))
    assert straight.judge_now() == resumed.judge_now()
    assert same(straight.selection.kept.weights, resumed.selection.kept.weights)


def test_a_gradient_that_is_no_number_stops_before_a_weight_moves() -> None:
    learner = learner_of(small())
    update(learner)
    with torch.no_grad():
        learner.scorer.head_side.bias[0] = float("nan")
    before = weights(learner)
    with pytest.raises(NonFinite, match="after 1 updates; lower lr"):
        update(learner)
    assert torch.equal(weights(learner)["phrases.table.weight"], before["phrases.table.weight"])


# ----- judging


def test_c3_kbc_04_the_threshold_comes_from_dev1_alone() -> None:
    learner = learner_of(small())
    update(learner, 10)
    base, vectors = learner.data.base, learner.judge._vectors
    found = Judge(base, vectors)(learner.scorer)
    scores, labels = scores_of(learner.scorer, base.dev1), base.dev1.labels
    accuracy = [(((scores > cut) == labels).mean()) for cut in [scores.min() - 1, *scores]]
    assert found.groups["dev1"].accuracy == pytest.approx(max(accuracy))
    assert found.threshold.source == "dev1"
    swapped = {
        name: replace(base.evaluated[name], labels=1 - base.evaluated[name].labels)
        for name in ("dev2", "test", "novel")
    }
    flipped = type(base)(base.train, base.dev1, *(swapped[name] for name in ("dev2", "test", "novel")))
    assert Judge(flipped, vectors)(learner.scorer).threshold == found.threshold


def test_figures_have_every_group(tmp_path: Path) -> None:
    learner = learner_of(small(synthetic_rule="parts"))
    update(learner, 5)
    found = learner.judge_now()["last"]
    for scheme in ("pooled_thirds", "positive_thirds"):
        rates = [found[f"test/{scheme}/{third}/positive_rate"] for third in ("near", "middle", "far")]
        assert all(0 < rate < 1 for rate in rates)
    assert {"threshold", "dev2/accuracy", "novel/auc", "test/relation/relation0/accuracy"} <= set(found)
    assert found["test/positive_rate"] == 0.5


def test_weights_are_selected_by_dev2_and_the_rate_falls_on_a_plateau() -> None:
    learner = learner_of(small())
    selection, judged = Selection(patience=2, factor=0.5), learner.judge(learner.scorer)
    before = judged.groups["dev2"].accuracy
    assert selection.note(judged, learner.scorer, 1) and selection.best["updates"] == 1
    rates = []
    for step in range(4):  # no better, whatever test says
        judged.groups["test"] = type(judged.groups["test"])(100, 50, 1.0, 1.0, 1.0)
        assert not selection.note(judged, learner.scorer, 2 + step)
        rates.append(selection.rate)
    assert rates == [1.0, 0.5, 0.5, 0.25] and selection.best["test/accuracy"] != 1.0
    better = type(judged.groups["dev2"])(100, 50, before + 0.01, 1.0, 1.0)
    judged.groups["dev2"] = better
    assert (
        selection.note(judged, learner.scorer, 9) and selection.best["updates"] == 9 and selection.waited == 0
    )


def test_the_learner_follows_the_rate_of_the_plateau() -> None:
    learner = learner_of(small())
    update(learner)
    learner.selection.rate = 0.0
    before = weights(learner)
    update(learner, 2)
    moved = {name for name, one in weights(learner).items() if not torch.equal(one, before[name])}
    assert moved == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}


@pytest.mark.parametrize("model", ["argsim", "maxsim"])
def test_untrained_models_are_judged_and_have_no_optimizer(model: str) -> None:
    learner = learner_of(small(scorer=model, synthetic_train=12000, synthetic_evaluation=400, word_size=32))
    assert not learner._named_optimizers
    found = learner.judge_now()["last"]
    assert 0.4 < found["novel/auc"] < 0.6  # random vectors know nothing of topics
    if model == "maxsim":
        assert found["test/auc"] > 0.65  # pairs of types that training shows


# ----- data


def test_a_folder_is_read_and_its_bad_lines_are_counted_and_listed(tmp_path: Path) -> None:
    config = small(data=str(folder_of_files(tmp_path / "kb")))
    data = data_of(config)
    assert data.about["files"][str(tmp_path / "kb" / "train100k.txt")] == {
        "read": 802, "accepted": 800, "repaired": 0, "quarantined": 2,
    }  # fmt: skip
    assert (
        data.about["sizes"] == {"train": 800, "dev1": 60, "dev2": 60, "test": 60} and data.base.novel is None
    )
    assert data.write_quarantine(tmp_path / "out" / "q.jsonl") == 2
    assert data.write_quarantine(tmp_path / "out" / "q.jsonl") == 2  # written anew
    listed = [json.loads(line) for line in (tmp_path / "out" / "q.jsonl").read_text().splitlines()]
    assert [row["line"] for row in listed] == [801, 802] and "not UTF-8" in listed[1]["reason"]
    random = data_of(small(data=config.data, split="random")).about
    assert random["sizes"] == {"train": 800, "dev1": 60, "dev2": 60, "test": 60}
    assert random["parts"]["test"]["made"] == 30 and random["parts"]["test"]["identities_share"] > 0
    with pytest.raises(BadData, match="allows less"):
        data_of(small(data=config.data, max_bad_share=0.001))


def test_which_training_file_is_asked_for_where_there_are_several(tmp_path: Path) -> None:
    folder = folder_of_files(tmp_path / "kb")
    (folder / "train100k.txt").rename(folder / "train_a.txt")
    assert data_of(small(data=str(folder))).about["sizes"]["train"] == 800
    (folder / "train_b.txt").write_text("relation0\ta\tb\t1\n")
    with pytest.raises(BadData, match="2 files train"):
        data_of(small(data=str(folder)))
    assert data_of(small(data=str(folder), train_file="train_a.txt")).about["sizes"]["train"] == 800


def test_columns_of_a_data_set_are_split_into_dev1_and_dev2(tmp_path: Path) -> None:
    base = data_of(small()).base
    for name, part in (("train", base.train), ("validation", base.dev1), ("test", base.test)):
        rows = [dict(zip(("head", "relation", "tail"), part.text(i), strict=True)) for i in range(len(part))]
        if part.labels is not None:
            rows = [{**row, "label": int(label)} for row, label in zip(rows, part.labels, strict=True)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = data_of(small(data=str(tmp_path))).base
    assert [len(part) for part in found.evaluated.values()] == [50, 50, 100] and len(found.train) == 1500
    texts = {found.dev2.text(i) for i in range(50)}
    assert texts == {base.dev1.text(i) for i in range(1, 100, 2)}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"scorer": "factorised"}, "scorer is 'factorised'"),
        ({"split": "rnd"}, "split is 'rnd'"),
        ({"train_batch_size_per_learner": 1}, "below 2"),
        ({"synthetic_evaluation": 3}, "must be even"),
        ({"lr": -1.0}, "lr is -1.0"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        small(**settings).validate()
    with pytest.raises(BadConfig, match="plays nothing"):
        small().environment("CartPole-v1").validate()


# ----- export


def exported(learner: Any, folder: Path) -> Path:
    from rllib_ext.commonsense.algorithm import _exported

    return save_scorer(folder, **_exported(learner))


@pytest.mark.parametrize("model", ["factorized", "maxsim"])
def test_an_exported_scorer_scores_as_the_selected_weights_did(tmp_path: Path, model: str) -> None:
    learner = learner_of(small(scorer=model))
    if model == "factorized":
        update(learner, 5)
    learner.judge_now()
    wanted = scores_of(learner.scorer, learner.data.base.test)
    best = learner.selection.best
    if model == "factorized":
        update(learner, 5)  # not selected
    found = load_scorer(exported(learner, tmp_path / "model"))
    assert np.array_equal(found.score(learner.data.base.test), wanted)
    assert found.threshold == best["threshold"] and found.card["settings"]["scorer"] == model
    said = found.dev1_scores > found.threshold
    assert (said == found.dev1_labels).mean() == pytest.approx(best["dev1/accuracy"])
    assert np.array_equal(found.initial_vectors, learner.judge._vectors)
    assert np.array_equal(found.train.keys(), learner.data.base.train.keys())
    rows = [learner.data.base.test.text(index) for index in range(5)]
    assert np.array_equal(found.score_text(rows), found.score(learner.data.base.test.take(slice(0, 5))))


def test_what_is_no_export_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is no exported scorer"):
        load_scorer(tmp_path)
    learner = learner_of(small())
    folder = exported(learner, tmp_path / "model")
    (file,) = folder.glob("step_*/scorer*")
    file.write_bytes(file.read_bytes()[:-4] + b"abcd")
    with pytest.raises((CheckpointCorrupt, BadData)):
        load_scorer(folder)
