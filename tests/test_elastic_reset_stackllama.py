"""The StackLLaMA sweep: the released values and ticks, valid trials of every method, who judges, and its smoke run."""

from __future__ import annotations

import json

import pytest

from rllib_ext.elastic_reset.llm import ElasticResetAsyncPPOConfig
from rllib_ext.elastic_reset.settings import elastic_settings
from rllib_ext.functional.elastic import Elastic
from tuned_configs import elastic_reset_stackllama as sweep


def config_of(space: dict) -> ElasticResetAsyncPPOConfig:
    settings = {k: v for k, v in space.items() if k in ElasticResetAsyncPPOConfig.knobs}
    return ElasticResetAsyncPPOConfig().environment("StackExchange").training(**settings)


def test_the_released_values_reset_after_batches_260_and_520_of_600_with_four_ticks_each() -> None:
    config = config_of(sweep.space(sweep.arguments(["--fixed", "--dry-run", "--set", '{"model": "m"}'])))
    config.validate()
    elastic = Elastic(elastic_settings(config), {})
    resets, left = [], []
    for batch in range(1, config.total_updates // config.updates_per_round + 1):
        for _ in range(config.updates_per_minibatch):
            elastic.tick("grad_steps", {})
            if elastic.counts["grad_steps"] % config.minibatches_per_generation == 0:
                elastic.tick("inner_epoch", {})
        if elastic.tick("iteration", {}):
            left.append(elastic.init_weight_fraction)
            elastic.reset({})
            resets.append(batch)
    assert resets == [260, 520] and batch == 600
    assert left == pytest.approx([0.995**1040] * 2) and left[0] == pytest.approx(0.0054, abs=1e-4)
    assert (config.kl_beta, config.kl_controller, config.kl_beta_target, config.kl_beta_horizon) == (
        0.02, "trl", 6.0, 10_000.0,
    )  # fmt: skip
    assert (config.lora_rank, config.lora_alpha, config.lr) == (16, 32.0, 1.41e-5)


@pytest.mark.parametrize("method", sweep.SWEEPS)
def test_every_trial_of_every_method_is_a_valid_config(method: str) -> None:
    space = sweep.space(sweep.arguments(["--method", method, "--model", "m", "--reward-model", "r"]))
    grids = {n: v["grid_search"] for n, v in space.items() if isinstance(v, dict) and "grid_search" in v}
    assert "kl_beta" in grids and grids["seed"] == [1]
    for name, values in grids.items():
        for value in values:
            config = config_of({**space, **{key: options[0] for key, options in grids.items()}, name: value})
            config.validate()
            assert elastic_settings(config).variant == ("none" if method == "kl_penalty" else method)


def test_the_judge_of_evaluations_may_be_another_model(monkeypatch) -> None:
    made = []
    monkeypatch.setattr("rllib_ext.llm.rewards.RewardModel", lambda folder: made.append(folder))
    rows = [{"qid": 1, "question": "a", "response_j": "b", "response_k": "c"}]
    settings = {"data": rows, "reward_model": "pays", "judge_model": "judges"}
    for split, judge in (("train", "judges"), ("test", None)):
        monkeypatch.setattr("envs.text.StackExchange", lambda reward, **rest: rest)
        sweep.stack_exchange(settings | {"split": split, "judge_model": judge or "judges"})
    assert made == ["pays", "judges"]
    sweep.stack_exchange(settings | {"split": "test", "judge_model": None})
    assert made[-1] == "pays"


def test_what_is_needed_is_asked_for(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        sweep.arguments(["--model", "m"])
    assert stop.value.code == 2 and "--reward-model" in capsys.readouterr().err
    assert sweep.main(["--dry-run", "--smoke"]) == 0
    assert json.loads(capsys.readouterr().out)["reset_every"] == 2


@pytest.mark.slow
def test_the_smoke_run_needs_nothing_trains_resets_and_draws_its_frontier(
    ray_session, tmp_path, capsys
) -> None:
    from rllib_ext.cli import main

    words = ["--smoke", "--storage-path", str(tmp_path), "--name", "sweep"]
    assert sweep.main([*words, "--set", '{"num_cpus_per_env_runner": 0.5}']) == 0
    out = capsys.readouterr().out
    row = out[: out.index("frontier:")].splitlines()[-1]
    assert "ppl_reference" in out and "nan" not in row.lower() and "none" not in row.lower()
    assert main(["plot", str(tmp_path / "sweep")]) == 0
    found = next((tmp_path / "sweep").glob("*/result.json")).read_text().splitlines()
    last = json.loads(found[-1])
    assert last["er"]["num_resets"] == 1 and last["evaluation"]["ppl_reference"] > 1
