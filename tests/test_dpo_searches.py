"""The searches for settings of online DPO: their trials, what they refuse, and that PBT's values reach the optimizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from local_learner import build_learner, same, some_groups, update, weights_of
from tiny_language import save_tiny_model

from rllib_ext import AsyncOnlineDPOConfig
from rllib_ext.errors import BadConfig
from rllib_ext.llm.persistence import learner_state, restore_learner
from tuned_configs import dpo_asha, dpo_optuna, dpo_pbt


def test_a_restore_under_other_settings_keeps_the_weights_and_follows_the_settings(tmp_path: Path) -> None:
    """What population-based training does: another trial's checkpoint, and lr, beta, epsilon and decay of one's own."""
    model, groups = save_tiny_model(tmp_path / "model"), some_groups(4, 2)
    fixed = {"lr_schedule": "constant"}
    donor = build_learner(AsyncOnlineDPOConfig, model, lr=1e-2, beta=0.1, **fixed)
    for number in range(3):
        update(donor, groups, number)
    tensors, state = learner_state(donor)
    mutated = {"lr": 3e-3, "beta": 0.4, "adam_eps": 1e-5, "weight_decay": 0.01}
    heir = build_learner(AsyncOnlineDPOConfig, model, **mutated, **fixed)
    restore_learner(heir, tensors, state)
    (group,) = heir.optimizer.param_groups
    assert (group["lr"], group["eps"], group["weight_decay"]) == (3e-3, 1e-5, 0.01)
    assert same(weights_of(heir), weights_of(donor)) and heir.updates == 3
    old, new = update(donor, groups, 9), update(heir, groups, 9)
    assert (old["lr"], new["lr"]) == (1e-2, 3e-3)
    for name in ("chosen_reward", "rejected_reward"):  # beta times a log-ratio that is the same for both
        assert float(new[name]) == pytest.approx(4 * float(old[name]), rel=1e-4)


def test_searches_that_learn_from_their_trials_have_one_seed(capsys: pytest.CaptureFixture) -> None:
    for search in (dpo_optuna, dpo_pbt):
        with pytest.raises(BadConfig, match="share a seed"):
            search.main(["--model", "m", "--seeds", "2", "--dry-run"])
    assert dpo_asha.main(["--model", "m", "--seeds", "2", "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["samples"] == 32 and plan["space"]["seed"] == {"grid_search": [1, 2]}
    assert "[3e-07, 3e-05]" in plan["space"]["lr"] and "[0.01, 0.5]" in plan["space"]["beta"]
    with pytest.raises(BadConfig, match="--model"):
        dpo_asha.main(["--dry-run"])


def results_of(folder: Path) -> dict[str, list[dict]]:
    """Trial -> its results, in the order in which they were reported."""
    return {
        file.parent.name: [json.loads(line) for line in file.read_text().splitlines()]
        for file in sorted(folder.glob("*/result.json"))
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("search", [dpo_asha, dpo_optuna, dpo_pbt])
def test_each_runs_to_its_end_on_the_engine_that_is_installed(ray_session, search, tmp_path, capsys) -> None:
    assert search.main(["--smoke", "--storage-path", str(tmp_path)]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["errors"] == 0 and line["trials"] == len(line["rows"]) >= 2 and Path(line["report"]).is_file()
    ends = [row["num_updates_lifetime"] for row in line["rows"]]
    assert max(ends) == 12
    if search is dpo_asha:
        assert min(ends) < 12  # a rung ended somebody early, at a number of updates
    else:
        assert min(ends) == 12
    assert line["best"]["lr"] in [row["lr"] for row in line["rows"]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mutated_values_reach_learner_and_optimizer_in_a_running_pbt(ray_session, tmp_path, capsys) -> None:
    """lr as the optimizer's parameter group has it; beta as the loss used it, from the rewards that it logged."""
    more = {"lr_schedule": "constant", "mode": "sync", "evaluation_interval": None}
    words = ["--smoke", "--engine", "hf", "--updates", "18", "--set", json.dumps(more)]
    assert dpo_pbt.main([*words, "--storage-path", str(tmp_path)]) == 0
    trials = results_of(tmp_path / "dpo_pbt")
    checked, mutated = 0, 0
    for rows in trials.values():
        for row in rows:
            seen = row["learners"]["default_policy"]
            assert seen["lr"] == pytest.approx(row["config"]["lr"])
            if abs(seen["kl_ref"]) > 1e-3:
                beta = (seen["chosen_reward"] + seen["rejected_reward"]) / (2 * seen["kl_ref"])
                assert beta == pytest.approx(row["config"]["beta"], rel=1e-2)
                checked += 1
        values = [(row["config"]["lr"], row["config"]["beta"]) for row in rows]
        mutated += len(set(values)) - 1
        updates = [row["num_updates_lifetime"] for row in rows]
        assert updates[-1] == 18
    assert checked > 8 and mutated > 0
