"""The learner's options in a real run: two learners, adapters, bfloat16."""

from __future__ import annotations

import pytest
import torch
from engine_fixture import running, tiny_config, weights_of
from tiny_language import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.mark.slow
def test_two_learners_step_like_one(ray_session, model, tmp_path):
    """DDP over two learner actors gives the update of one learner on the whole batch, up to summation order.

    RLOO keeps every row, so the two shards are equally large and the mean over learners is the mean over rows.
    """
    states = {}
    for learners in (0, 2):
        config = tiny_config(
            model, "AsyncRLOO", mode="sync", num_learners=learners, lr_schedule="constant", lr=1e-3
        )
        with running(config, tmp_path / str(learners)) as algorithm:
            for _ in range(2):
                result = algorithm.train()
            states[learners] = weights_of(algorithm)
    assert result["num_updates_lifetime"] == 2
    for name, tensor in states[0].items():
        assert torch.allclose(tensor, states[2][name], atol=5e-4), name


def test_adapters_train_and_are_merged_for_the_workers(ray_session, model, tmp_path):
    """LoRA: the base stays as it is, and the engine's log-probabilities are those of base plus adapters."""
    pytest.importorskip("peft")
    config = tiny_config(model, mode="sync", lora_rank=4, lr=1e-2, prompts_per_minibatch=16)
    with running(config, tmp_path) as algorithm:
        before = weights_of(algorithm)
        for _ in range(4):
            result = algorithm.train()
        after = weights_of(algorithm)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("lora_" in name for name in changed)
    assert result["policy"]["logp_diff_max"] < 1e-4


def test_bfloat16_parameters_train_publish_and_save(ray_session, model, tmp_path):
    config = tiny_config(model, dtype="bfloat16", engine_dtype="bfloat16", lr=1e-2)
    with running(config, tmp_path / "run") as algorithm:
        for _ in range(2):
            result = algorithm.train()
        algorithm.save_checkpoint(str(tmp_path / "checkpoint"))
        saved = weights_of(algorithm)
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    assert result["policy"]["logp_diff_mean"] < 0.02
