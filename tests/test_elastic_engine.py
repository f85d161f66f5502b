"""Elastic Reset in a real run of the language-model engine: tests 8 and 9 of the battery, in asynchronous mode."""

from __future__ import annotations

import json

import pytest
import torch
from engine_fixture import equal, running, tiny_config, weights_of
from ppo_fixture import save_models

from rllib_ext.llm.export import export_algorithm, export_checkpoint
from rllib_ext.llm.safety import open_causal_lm
from rllib_ext.llm.weights import digest_of, pack
from rllib_ext.runtime import checkpoint as checkpoints


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


def config_of(models, **settings):
    fixed = {
        "value_model": models[1],
        "samples_per_prompt": 1,
        "reset_every": 3,
        "ema_decay": 0.5,
        "export": "ema",
    }
    fixed |= {"evaluate_with": "ema", "drift_tokens": 64}
    return tiny_config(models[0], "ElasticResetAsyncPPO", **{**fixed, **settings})


def test_09_asynchronous_runs_sample_anew_after_a_reset(ray_session, models, tmp_path) -> None:
    """Ten rounds: each round after a reset is sampled with the reset weights; exports, of the live run and of a
    checkpoint, hold the average.
    """
    with running(config_of(models), tmp_path / "whole") as algorithm:
        learner = algorithm.learner_group._learner
        results, served = [], {}
        original = algorithm.take_round

        def take_round():
            rollouts = original()
            served[algorithm.round] = {(r.version, r.digest) for r in rollouts}
            return rollouts

        algorithm.take_round = take_round
        reset_digests = {}
        reset = learner.reset_if_due

        def watched(score=None):
            done = reset(score)
            if done:
                plain = learner.language_module.plain_weights()
                reset_digests[algorithm.round] = (learner.updates, digest_of(pack(0, plain).arrays))
            return done

        learner.reset_if_due = watched
        for number in range(10):
            results.append(algorithm.train())
            if number == 4:
                algorithm.save_checkpoint(str(tmp_path / "checkpoint"))
        elastic = learner.elastic_state()["default_policy"]
        del learner.reset_if_due
        before = weights_of(algorithm)
        evaluation = algorithm.evaluate()["evaluation"]
        assert equal(weights_of(algorithm), before), "an evaluation with the average takes it off again"
        exported = export_algorithm(algorithm, tmp_path / "exported")
    assert evaluation["ppl_reference"] > 1 and evaluation["n"] == 16
    assert [int(r["er"]["num_resets"]) for r in results] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert [int(r["er"]["reset_due"]) for r in results] == [0, 0, 1] * 3 + [0]
    assert sorted(reset_digests) == [3, 6, 9]
    for number, digest in reset_digests.items():
        assert served[number] == {digest}, "the round after a reset was sampled with exactly its weights"
    events = [json.loads(line) for line in (tmp_path / "whole" / "events.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "elastic_reset" for event in events) == 3
    plain = open_causal_lm(str(exported), dtype="float32", revision=None).state_dict()
    for name, tensor in elastic["ema"].items():
        assert torch.equal(plain[name.removeprefix("model.")], tensor), "the export holds the average"

    folder = checkpoints.latest(tmp_path / "checkpoint" / "rllib_ext")
    settings = {name: getattr(config_of(models), "language_model" if name == "model" else name)
                for name in config_of(models).knobs} | {"seed": 1}  # fmt: skip
    saved = checkpoints.load(folder)
    model = export_checkpoint(folder, settings, tmp_path / "from_checkpoint")
    plain = open_causal_lm(str(model), dtype="float32", revision=None).state_dict()
    assert all(torch.equal(plain[n.removeprefix("model.")], t) for n, t in saved.tensors["ema"].items())


@pytest.mark.fault("B8")
@pytest.mark.slow
def test_08_a_synchronous_run_goes_on_from_its_checkpoint_to_the_same_bits(
    ray_session, models, tmp_path
) -> None:
    """Without rounds in flight a resumed run repeats the uninterrupted one: the next two resets are identical.

    Evaluations with the average in between change nothing of it.
    """
    settings = {"mode": "sync", "evaluate_with": "ema", "kl_controller": "trl", "kl_beta_target": 1.0}
    with running(config_of(models, **settings), tmp_path / "whole") as algorithm:
        for number in range(10):
            algorithm.train()
            if number == 3:
                algorithm.save_checkpoint(str(tmp_path / "checkpoint"))
        whole = weights_of(algorithm), algorithm.learner_group._learner.elastic_state()["default_policy"]
    with running(config_of(models, **settings), tmp_path / "resumed") as algorithm:
        algorithm.restore_from_path(str(tmp_path / "checkpoint"))
        evaluation = algorithm.evaluate()["evaluation"]
        for _ in range(6):
            algorithm.train()
        resumed = weights_of(algorithm), algorithm.learner_group._learner.elastic_state()["default_policy"]
    assert equal(whole[0], resumed[0])
    assert equal(whole[1]["ema"], resumed[1]["ema"])
    assert whole[1]["counts"] == resumed[1]["counts"] and whole[1]["counts"]["resets"] == 3
    assert whole[1]["beta"] == resumed[1]["beta"] != 0.05
    assert evaluation["kl_ref"] == evaluation["kl_ref"]
