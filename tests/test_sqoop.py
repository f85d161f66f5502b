"""The learner of SQOOP: its scenes, its examinations, that it learns and that it goes on to the bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sqoop_fixture import learner_of, questions, same, small, update, weights

from envs.errors import BadEnv
from envs.sqoop import SqoopGenerator
from rllib_ext.errors import BadConfig, BadData, NonFinite
from rllib_ext.runtime.rllib_state import learner_state, restore_learner
from rllib_ext.sqoop import SQOOPConfig
from rllib_ext.sqoop.exporting import read_trained, write_trained
from rllib_ext.sqoop.learner import examine, report
from rllib_ext.sqoop.learner import weights as weights_of
from rllib_ext.sqoop.persistence import OWN
from rllib_ext.sqoop.progress import Progress, accuracy
from rllib_ext.sqoop.scenes import SceneStream, examinations
from rllib_ext.sqoop.supervised_module import LOSSES


@pytest.fixture(scope="module")
def generator() -> SqoopGenerator:
    return SqoopGenerator.preset("mini")


def stream(generator: SqoopGenerator, kept: int, seed: int = 0, batch: int = 16) -> SceneStream:
    return SceneStream(generator, generator.pairs(1, 0), kept=kept, batch=batch, seed=seed)


def test_an_epoch_has_every_scene_once_and_its_questions_are_of_training_pairs(
    generator: SqoopGenerator,
) -> None:
    scenes = stream(generator, 64)
    trained = {tuple(pair) for pair in scenes.pairs.train.tolist()}
    epochs = [[next(scenes) for _ in range(4)] for _ in range(2)]
    pictures = [
        sorted(row.numpy().tobytes() for batch in epoch for row in batch["image"]) for epoch in epochs
    ]
    assert len(set(pictures[0])) == 64 and pictures[0] == pictures[1]  # the same scenes
    assert not torch.equal(epochs[0][0]["image"], epochs[1][0]["image"])  # in another order
    asked = {(x, y) for epoch in epochs for batch in epoch for x, _, y in batch["question"].tolist()}
    assert asked <= trained
    answers = torch.cat([batch["answer"] for batch in epochs[0]])
    assert answers.sum() == 32  # balanced exactly


@pytest.mark.parametrize("kept", [64, 0])
def test_a_stream_that_is_set_somewhere_goes_on_as_it_would_have(
    generator: SqoopGenerator, kept: int
) -> None:
    straight = stream(generator, kept)
    for _ in range(5):
        next(straight)
    resumed = stream(generator, kept)
    resumed.load_state_dict(straight.state_dict())
    for _ in range(6):
        left, right = next(straight), next(resumed)
        assert all(torch.equal(left[name], right[name]) for name in left)
    other = next(stream(generator, kept, seed=1))
    assert not torch.equal(other["image"], next(stream(generator, kept))["image"])


def test_a_stream_of_new_scenes_repeats_none(generator: SqoopGenerator) -> None:
    scenes = stream(generator, 0, batch=4096)
    seen = [row.tobytes() for _ in range(4) for row in next(scenes)["image"].numpy()]
    assert len(set(seen)) > 0.999 * len(seen) and scenes.epoch == 2


def test_examinations_ask_about_disjoint_pairs(generator: SqoopGenerator) -> None:
    pairs = generator.pairs(2, 0)
    sets = examinations(generator, pairs, 512, seed=0)
    asked = {name: {(x, y) for x, _, y in of["question"].tolist()} for name, of in sets.items()}
    assert asked["seen"] == {tuple(pair) for pair in pairs.train.tolist()}
    assert not (asked["unseen_val"] | asked["unseen_test"]) & asked["seen"]
    assert not asked["unseen_val"] & asked["unseen_test"]
    assert set(examinations(generator, generator.pairs(7, 0), 64, seed=0)) == {"seen"}  # no pair is left out


def test_a_learner_examines_reports_and_keeps_its_best_weights() -> None:
    learner = learner_of(small(layout="stochastic", p0=0.3))
    figures = update(learner, 3)
    assert {"loss", "tree_loss", "chain_loss", "responsibility", "gradient_norm"} <= set(figures)
    assert figures["loss"] == pytest.approx(math.log(2), abs=0.4)
    examine(learner)
    found = report(learner)
    assert {"acc_seen", "acc_unseen_val", "acc_unseen_test", "best_step", "loss_ema", "cpu_seconds"} <= set(
        found
    )
    assert found["p_tree"] == pytest.approx(0.3, abs=0.05) and found["num_updates_lifetime"] == 3
    assert (
        found["best_step"] == 3 and found["best_acc_seen"] == found["acc_seen"] and found["cpu_seconds"] > 0
    )
    assert same(learner.best_weights, weights(learner)) and learner.encoder.training
    update(learner)
    assert not same(learner.best_weights, weights(learner))


def test_structure_learns_at_a_rate_of_its_own() -> None:
    learner = learner_of(small(layout="stochastic", structure_lr_ratio=10.0, lr=1e-3))
    rates = {
        name: [group["lr"] for group in optimizer.param_groups]
        for name, optimizer in learner._named_optimizers.items()
    }
    assert sorted(rate for each in rates.values() for rate in each) == [1e-3, 1e-2]
    before = float(learner.encoder.layout_logit.detach())
    update(learner)
    assert abs(float(learner.encoder.layout_logit.detach()) - before) == pytest.approx(
        1e-2, rel=1e-2
    )  # Adam's first


@pytest.mark.parametrize("layout", ["tree", "stochastic"])
def test_a_learner_that_is_restored_goes_on_to_the_bit(layout: str) -> None:
    config = small(layout=layout, alpha="learned")
    straight, resumed = learner_of(config), learner_of(config, seed=9)
    update(straight, 5)
    examine(straight)
    tensors, state = learner_state(straight, OWN)
    restore_learner(resumed, tensors=tensors, state=state, own=OWN)
    for learner in (straight, resumed):
        update(learner, 9)
        examine(learner)
    assert same(weights(straight), weights(resumed)) and same(straight.best_weights, resumed.best_weights)
    ours, theirs = report(straight), report(resumed)
    assert {**ours, "cpu_seconds": 0} == {**theirs, "cpu_seconds": 0}


def test_rllibs_own_state_has_it_too() -> None:
    straight, resumed = learner_of(small()), learner_of(small(), seed=9)
    update(straight, 4)
    examine(straight)
    resumed.set_state(straight.get_state())
    update(straight, 3)
    update(resumed, 3)
    assert same(weights(straight), weights(resumed)) and resumed.gradient_steps == 7


def test_it_learns_what_few_scenes_have() -> None:
    """Eight scenes are learnt by heart, which needs every part but no generalisation."""
    learner = learner_of(small(train_scenes=8, train_batch_size_per_learner=8, lr=3e-3, escape_below=0.6))
    update(learner, 50)
    loss = update(learner, 5)["loss"]
    assert loss < 0.3 and report(learner)["escape_step"] <= 55


def test_a_gradient_that_is_no_number_ends_the_run_before_it_is_taken() -> None:
    learner = learner_of(small())
    update(learner)
    before = weights(learner)
    learner.compute_loss_for_module, kept = (
        lambda **of: kept(**of) * float("nan"),
        learner.compute_loss_for_module,
    )
    with pytest.raises(NonFinite, match="after 1 updates; lower lr"):
        update(learner)
    trained = {name for name, _ in learner.encoder.named_parameters()}
    assert all(
        torch.equal(before[name], value) for name, value in weights(learner).items() if name in trained
    )


def test_mac_is_clipped_to_the_norm_of_its_source() -> None:
    learner = learner_of(small(encoder="mac"))
    assert learner.encoder.grad_clip == 8.0
    given = {"a": torch.full((4,), 10.0), "b": torch.full((5,), 10.0)}
    clipped = learner.postprocess_gradients(given)
    norm = torch.cat(list(clipped.values())).norm()
    assert float(norm) == pytest.approx(8.0, rel=1e-4)


def test_progress_knows_the_escape_the_average_and_the_best() -> None:
    progress = Progress(escape_below=0.68)
    for step in range(1, 400):
        progress.note_loss(math.log(2) if step <= 100 else 0.3, step)
    decayed = math.log(2) + (0.3 - math.log(2)) * (1 - 0.98 ** np.arange(300))
    assert progress.escape_step == 100 + int((decayed < 0.68).argmax())
    assert progress.loss_ema == pytest.approx(decayed[299], abs=1e-6)
    assert progress.note_accuracies({"seen": 0.7, "unseen_test": 0.9}, 400)
    assert not progress.note_accuracies(
        {"seen": 0.7, "unseen_test": 1.0}, 500
    )  # seen decides, and a tie changes nothing
    found = progress.figures()
    assert (found["best_step"], found["best_acc_unseen_test"], found["acc_unseen_test"]) == (400, 0.9, 1.0)


def test_accuracy_counts_right_answers_whatever_the_batch() -> None:
    class Knows(torch.nn.Module):
        def forward(self, image: torch.Tensor, question: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(question[:, 0] % 2, 2).float()

    image, words, _ = questions(600)
    answer = words[:, 0] % 2
    answer[:150] = 1 - answer[:150]
    scenes = {"image": image, "question": words, "answer": answer}
    assert accuracy(Knows(), scenes, torch.device("cpu")) == 0.75


def test_c3_models_08_the_module_of_the_learner_has_the_logits_of_the_plain_model() -> None:
    learner = learner_of(small())
    module = learner.module["default_policy"].unwrapped().eval()
    image, words, answer = questions()
    logits = module.forward_inference({"obs": {"image": image, "question": words}})["action_dist_inputs"]
    assert torch.equal(logits, learner.encoder(image, words))
    losses = module.forward_train({"image": image, "question": words, "answer": answer})[LOSSES]
    logits = learner.encoder(image, words)  # of the batch's own statistics, as in training
    torch.testing.assert_close(losses, torch.nn.functional.cross_entropy(logits, answer, reduction="none"))


def test_a_model_is_exported_and_opened_again(tmp_path: Path) -> None:
    config = small()
    learner = learner_of(config)
    update(learner, 2)
    examine(learner)
    update(learner, 2)
    last, best, updates = weights_of(learner)
    folder = write_trained(
        tmp_path / "trained", settings=config.encoder_settings, figures=report(learner),
        weights={"last": last, "best": best}, updates=updates,
    )  # fmt: skip
    trained = read_trained(folder)
    image, words, _ = questions()
    assert torch.equal(trained.encoder("last")(image, words), learner.encoder.eval()(image, words))
    assert not torch.equal(trained.encoder()(image, words), trained.encoder("last")(image, words))
    assert trained.figures["num_updates_lifetime"] == 4
    with pytest.raises(BadConfig, match="best, last"):
        trained.encoder("worst")
    with pytest.raises(BadData, match="is no trained model"):
        read_trained(tmp_path)


def test_what_is_not_set_is_the_recipes_and_the_datas() -> None:
    config = SQOOPConfig()
    config.validate()
    assert (config.lr, config.train_batch_size_per_learner, config.kept_scenes) == (1e-3, 64, 40_000)
    paper = SQOOPConfig().training(preset="paper", encoder="film")
    assert paper.kept_scenes == 0 and paper.encoder_settings["size"] == "paper"
    assert paper.encoder_settings["vocabulary"] == 40 and paper.encoder_settings["image_shape"] == (64, 64, 3)
    paper.validate()
    assert paper.lr == 3e-4
    wider = SQOOPConfig().environment("SQOOP", env_config={"num_glyphs": 10})
    assert wider.encoder_settings["vocabulary"] == 14


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rhs_per_lhs": 8}, "with 8 glyphs it must be below"),
        ({"train_scenes": 4}, "at least train_batch_size_per_learner=8"),
        ({"eval_scenes": 33}, "must be even"),
        ({"lr": 3.0}, r"lr is 3.0; it must be a number in \(0, 1\]"),
        ({"train_batch_size_per_learner": 1}, "2 or more"),
    ],
)
def test_what_cannot_be_trained_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        small(**settings).validate()


def test_an_environment_or_argument_that_is_not_its_own_is_refused() -> None:
    with pytest.raises(BadConfig, match="leave it out"):
        small().environment("CartPole-v1").validate()
    with pytest.raises(BadConfig, match="Did you mean 'num_glyphs'"):
        small().environment("SQOOP", env_config={"num_glyph": 5}).validate()
    with pytest.raises(BadEnv):
        small().environment("SQOOP", env_config={"image_size": 5}).validate()
    with pytest.raises(BadConfig, match="Did you mean 'rhs_per_lhs'"):
        small(rhs_per_lsh=1)
