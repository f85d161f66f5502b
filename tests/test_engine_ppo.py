"""PPO in whole runs on the copy language: modes agree to the bit, resume does, rewards rise, what is logged is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fixture import equal, running, tiny_config, weights_of
from ppo_fixture import low_words, save_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


def config_of(models: tuple[str, str], **settings: Any) -> Any:
    return tiny_config(models[0], "AsyncPPO", **{"value_model": models[1], **settings})


def module_metrics(result: dict[str, Any]) -> dict[str, float]:
    return result["learners"]["default_policy"]


@pytest.mark.slow
def test_async_with_bound_zero_is_bit_equal_to_sync(ray_session, models, tmp_path):
    """Policy and critic both; two passes, so that what is cached between them is in it."""
    states = {}
    for mode, bound in (("sync", None), ("async", 1)):
        config = config_of(models, mode=mode, max_staleness=bound, updates_per_minibatch=2)
        with running(config, tmp_path / mode) as algorithm:
            for _ in range(3):
                algorithm.train()
            states[mode] = weights_of(algorithm)
            assert algorithm.counters["updates"] == 6
    assert any(name.startswith("critic.") for name in states["sync"])
    assert equal(states["sync"], states["async"])


@pytest.mark.slow
def test_asynchronous_samples_are_one_update_old(ray_session, models, tmp_path):
    config = config_of(models, samples_per_prompt=2, staleness_correction="truncated")
    with running(config, tmp_path) as algorithm:
        results = [algorithm.train() for _ in range(3)]
    rounds = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    assert [set(record["ages"]) for record in rounds] == [{"0"}, {"1"}, {"1"}]
    assert results[-1]["policy"]["logp_diff_max"] < 1e-4
    first, last = module_metrics(results[0]), module_metrics(results[-1])
    assert first["ratio"] == pytest.approx(1.0, abs=1e-4) and first["ratio_var"] < 1e-8
    assert last["ratio_var"] > 1e-8 and last["importance_weight"] <= 1.0 + 1e-6


def test_n_plus_first_round_is_on_policy_with_no_kl_and_ended_scores(ray_session, models, tmp_path):
    """Before the first update: ratio 1 +- 1e-4, KL 0. Scores are -1 exactly where a completion has no EOS."""
    config = config_of(models, mode="sync", missing_eos="replace", prompts_per_minibatch=32)
    with running(config, tmp_path) as algorithm:
        seen: list[Any] = []
        rows_of = algorithm.rows_of
        algorithm.rows_of = lambda groups: seen.extend(groups) or rows_of(groups)
        metrics = module_metrics(algorithm.train())
    completions = [c for group in seen for c in group.completions]
    eos = {int(c.ids[-1]) for c in completions if c.finished}
    assert len(completions) == 32 and len(eos) == 1, "one each, and all that ended ended with EOS"
    for completion in completions:
        ends = [int(token) in eos for token in completion.ids]
        assert sum(ends) == int(completion.finished) and ends[-1] == completion.finished
        assert len(completion.ids) == 6 or completion.finished
        assert (completion.score == -1.0) == (not completion.finished)
    assert metrics["missing_eos_share"] == sum(not c.finished for c in completions) / 32
    assert metrics["score"] == pytest.approx(sum(c.score for c in completions) / 32, abs=1e-6)
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-4) and metrics["approx_kl"] < 1e-8
    assert metrics["kl_ref"] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.fault("B8")
def test_a_resumed_run_goes_on_bit_for_bit(ray_session, models, tmp_path):
    """Five further updates after a restore into a fresh algorithm are those of the undisturbed run."""
    settings = {"mode": "sync", "value_lr": 5e-3, "total_updates": 20}
    with running(config_of(models, **settings), tmp_path / "a") as algorithm:
        for _ in range(2):
            algorithm.train()
        algorithm.save_checkpoint(str(tmp_path / "checkpoint"))
        for _ in range(5):
            algorithm.train()
        undisturbed = weights_of(algorithm)
    with running(config_of(models, **settings), tmp_path / "b") as algorithm:
        algorithm.restore_from_path(str(tmp_path / "checkpoint"))
        assert algorithm.counters["updates"] == 2
        for _ in range(5):
            algorithm.train()
        assert equal(undisturbed, weights_of(algorithm))


def test_export_holds_the_policy_alone(ray_session, models, tmp_path):
    """From the live algorithm and from its checkpoint: the same ordinary causal LM."""
    from transformers import AutoModelForCausalLM

    from rllib_ext.llm.export import export_algorithm, export_checkpoint
    from rllib_ext.runtime import checkpoint

    config = config_of(models, mode="sync")
    with running(config, tmp_path / "run") as algorithm:
        algorithm.train()
        algorithm.save_checkpoint(str(tmp_path / "checkpoint"))
        live = export_algorithm(algorithm, tmp_path / "live")
        trained = weights_of(algorithm)
    saved = checkpoint.latest(tmp_path / "checkpoint" / "rllib_ext")
    settings = {name: getattr(config, "language_model" if name == "model" else name) for name in config.knobs}
    names = {"algorithm": "AsyncPPO", "env": "Copy", "seed": 1}
    stored = export_checkpoint(saved, {**settings, **names}, tmp_path / "stored")
    states = [AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (live, stored)]
    assert equal(*states)
    assert all(torch.equal(tensor, trained[f"model.{name}"]) for name, tensor in states[0].items())
    assert "asynchronous PPO" in (Path(live) / "README.md").read_text()


CONTENT = {
    "mode": "sync",
    "updates_per_minibatch": 2,
    "value_model": None,
    "env_config": {"reward": low_words},
}


@pytest.mark.parametrize(
    ("settings", "gain"), [pytest.param({}, 0.2, marks=pytest.mark.slow), (CONTENT, 0.5)]
)
def test_ppo_raises_its_reward(ray_session, models, tmp_path, settings, gain):
    """On the copy language, where stopping early is the quick way up, and on a reward that silence does not help."""
    config = config_of(models, prompts_per_minibatch=32, total_updates=120, value_lr=1e-2, **settings)
    with running(config, tmp_path) as algorithm:
        results = [algorithm.train() for _ in range(40)]
    rewards = [result["reward"]["mean"] for result in results]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + gain
    assert module_metrics(results[-1])["kl_ref"] > 0.1


@pytest.mark.slow
def test_two_learners_step_like_one(ray_session, models, tmp_path):
    """Whitening and token means are over both shards, whatever lies in which: it is the update of one learner."""
    states, seen = {}, {}
    for learners in (0, 2):
        config = config_of(
            models, mode="sync", num_learners=learners, lr_schedule="constant", lr=0.1, adam_eps=1.0
        )
        with running(config, tmp_path / str(learners)) as algorithm:
            for _ in range(2):
                result = algorithm.train()
            states[learners], seen[learners] = weights_of(algorithm), module_metrics(result)
    for name, tensor in states[0].items():
        assert torch.allclose(tensor, states[2][name], atol=1e-6), name
    for name in ("policy_loss", "value_loss", "entropy", "score"):
        assert seen[0][name] == pytest.approx(seen[2][name], abs=1e-5), name


@pytest.mark.slow
def test_adapters_and_half_precision_run(ray_session, models, tmp_path):
    """The policy's adapters are merged for the workers, the critic trains in full; bfloat16 trains, publishes, saves."""
    pytest.importorskip("peft")
    with running(config_of(models, mode="sync", lora_rank=4), tmp_path / "lora") as algorithm:
        before = weights_of(algorithm)
        for _ in range(2):
            result = algorithm.train()
        after = weights_of(algorithm)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {n.split(".")[0] for n in changed} == {"model", "critic"}
    assert all("lora_" in name for name in changed if name.startswith("model."))
    assert result["policy"]["logp_diff_max"] < 1e-4
    with running(
        config_of(models, dtype="bfloat16", engine_dtype="bfloat16"), tmp_path / "half"
    ) as algorithm:
        for _ in range(2):
            result = algorithm.train()
        algorithm.save_checkpoint(str(tmp_path / "checkpoint"))
        assert {tensor.dtype for tensor in weights_of(algorithm).values()} == {torch.bfloat16}
    assert result["policy"]["logp_diff_mean"] < 0.02
