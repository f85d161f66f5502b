"""Faults that a run must survive or name: dead workers, rewards that misbehave, environments that cannot be made."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter

import pytest
from engine_fixture import equal, running, tiny_config, weights_of
from tiny_language import copied, save_tiny_model

from rllib_ext.errors import RllibExtError, Stalled


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def read(folder, name):
    path = folder / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def pids(algorithm):
    """Process ids of the rollout workers."""
    import ray

    handles = algorithm.env_runner_group._worker_manager.actors().values()
    return ray.get([handle.apply.remote(lambda runner: os.getpid()) for handle in handles], timeout=60)


@pytest.mark.fault("A1")
@pytest.mark.fault("A4")
@pytest.mark.parametrize("engine", ["hf", pytest.param("vllm", marks=pytest.mark.slow)])
def test_a_killed_worker_costs_nothing(ray_session, model, tmp_path, engine):
    """kill -9 of one of two workers: every prompt is learnt from once, the weights are those of a calm run."""
    settings = {"num_env_runners": 2, "env_config": {"size": 64}, "total_updates": 8, "engine": engine}
    with running(tiny_config(model, **settings), tmp_path / "calm") as algorithm:
        for _ in range(8):
            algorithm.train()
        undisturbed = weights_of(algorithm)
    with running(tiny_config(model, **settings), tmp_path / "killed") as algorithm:
        for iteration in range(8):
            if iteration == 3:
                os.kill(pids(algorithm)[0], signal.SIGKILL)
            result = algorithm.train()
        survived = weights_of(algorithm)
    trained = Counter(tuple(p) for record in read(tmp_path / "killed", "rounds") for p in record["trained"])
    events = Counter(record["event"] for record in read(tmp_path / "killed", "events"))
    assert trained == {(0, index): 1 for index in range(64)}
    assert events["worker_died"] == 1 and events["prompts_requeued"] == 1
    assert result["done"] and result["health"]["worker_restarts"] == 1
    assert equal(undisturbed, survived)


@pytest.mark.fault("A2")
def test_all_workers_dead_for_good_is_stalled_and_not_a_hang(ray_session, model, tmp_path):
    config = tiny_config(model, stall_timeout_s=5.0)
    config.fault_tolerance(max_num_env_runner_restarts=0)
    with running(config, tmp_path) as algorithm:
        algorithm.train()
        os.kill(pids(algorithm)[0], signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(Stalled, match="worker 1"):
            for _ in range(3):
                algorithm.train()
    assert time.monotonic() - began < 30


def reward_that_fails_sometimes(prompt, completion, reference):
    """Raises, returns NaN or text for some words; scores the rest."""
    first = (completion.split() or ["w0"])[0]
    if first.endswith("1"):
        raise ValueError("one")
    return {"2": float("nan"), "3": "three"}.get(first[-1], copied(prompt, completion, reference))


@pytest.mark.fault("E1")
@pytest.mark.fault("D1")
def test_unscored_completions_are_left_out_and_counted(ray_session, model, tmp_path):
    """E1, E4: a failing reward gives no score; the completion enters no pair, and the reason is in the events."""
    config = tiny_config(
        model,
        max_unscored_share=0.9,
        prompts_per_minibatch=16,
        env_config={"reward": reward_that_fails_sometimes},
    )
    with running(config, tmp_path) as algorithm:
        results = [algorithm.train() for _ in range(3)]
    assert all(0 < result["reward"]["unscored_share"] < 0.9 for result in results)
    events = read(tmp_path, "events")
    reasons = " ".join(record["detail"] for record in events if record["event"] == "unscored")
    assert "ValueError" in reasons and "nan" in reasons and "str" in reasons
    tracebacks = [record for record in events if record["event"] == "reward_failure"]
    assert len(tracebacks) == 1


def always_fails(prompt, completion, reference):
    raise RuntimeError("the grader is down")


@pytest.mark.fault("E1")
def test_too_many_unscored_completions_stop_the_run(ray_session, model, tmp_path):
    config = tiny_config(model, env_config={"reward": always_fails})
    with running(config, tmp_path) as algorithm, pytest.raises(RllibExtError, match="the grader is down"):
        algorithm.train()


@pytest.mark.fault("B8")
def test_a_resumed_run_equals_one_that_never_stopped(ray_session, model, tmp_path):
    """B8: five updates after save and load are bit for bit those of the run that went on, in sync mode."""
    config = tiny_config(model, mode="sync", env_config={"size": 24})
    with running(config, tmp_path / "first") as algorithm:
        for _ in range(4):
            algorithm.train()
        algorithm.save_checkpoint(str(tmp_path / "checkpoint"))
        for _ in range(5):
            algorithm.train()
        expected = weights_of(algorithm)
    with running(tiny_config(model, mode="sync", env_config={"size": 24}), tmp_path / "second") as algorithm:
        algorithm.restore_from_path(str(tmp_path / "checkpoint"))
        for _ in range(5):
            result = algorithm.train()
        resumed = weights_of(algorithm)
    assert equal(expected, resumed)
    assert result["num_updates_lifetime"] == 9
    rounds = [record["trained"] for record in read(tmp_path / "first", "rounds")]
    assert [record["trained"] for record in read(tmp_path / "second", "rounds")] == rounds[4:]


@pytest.mark.fault("E5")
def test_an_environment_that_cannot_be_made_is_named(ray_session, model, tmp_path):
    config = tiny_config(model, env_config={"size": "many"})
    with pytest.raises(RllibExtError, match="many"), running(config, tmp_path):
        pass
