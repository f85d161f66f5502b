"""Rewards in actors of their own: the same outcomes as in the worker, within a deadline, whatever happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from engine_fixture import equal, running, tiny_config, weights_of
from tiny_language import copied, save_tiny_model

from envs.text import CallableReward, Task
from envs.text.rewards import Outcome
from envs.text.task import Sample
from rllib_ext import AsyncOnlineDPO
from rllib_ext.errors import BadConfig
from rllib_ext.llm.reward_worker import RemoteReward, RewardWorker, start_reward_workers

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def samples(*texts: str) -> list[Sample]:
    task = Task(id="train-0", prompt="copy: w0 w0", reference="w0")
    return [Sample(task, text, (text,)) for text in texts]


def picky(prompt: str, completion: str, reference: str) -> float:
    """Raises on "w1", sleeps on "w2"."""
    if completion == "w2":
        time.sleep(60)
    if completion == "w1":
        raise ValueError("one")
    return copied(prompt, completion, reference)


LOCAL = CallableReward(picky, isolate=False, name="picky")


@pytest.fixture(scope="module")
def worker(ray_session: ModuleType, model: str) -> Iterator[Any]:
    (handle,) = start_reward_workers(
        tiny_config(model, num_reward_workers=1, num_cpus_per_reward_worker=0.1, env_config={"reward": picky})
    )
    yield handle
    ray_session.kill(handle, no_restart=True)


def test_it_answers_as_the_reward_itself_would(worker: Any) -> None:
    remote = RemoteReward(worker, "train", LOCAL, timeout_s=60.0)
    texts = samples("w0", "w1", "w5 w0")
    assert (
        [o.score for o in remote.outcomes(texts)]
        == [o.score for o in LOCAL.outcomes(texts)]
        == [0.9, None, 0.8]
    )
    assert remote.name == "picky" and remote.failures == LOCAL.failures
    assert any("ValueError" in name for name in remote.tracebacks), "the traceback travels with the outcome"
    assert remote.score(samples("w0")) == [0.9]


def test_what_is_not_answered_in_time_is_unscored(worker: Any) -> None:
    remote = RemoteReward(worker, "validation", LOCAL, timeout_s=1.0)
    began = time.monotonic()
    outcomes = remote.outcomes(samples("w2", "w0"))
    assert time.monotonic() - began < 30
    assert outcomes == [Outcome(None, "the reward worker did not answer within 1 s")] * 2


def test_a_lost_reward_worker_leaves_its_batch_unscored(ray_session: ModuleType, model: str) -> None:
    lost = ray_session.remote(num_cpus=0)(RewardWorker).remote(tiny_config(model), 1)
    ray_session.kill(lost, no_restart=True)
    (outcome,) = RemoteReward(lost, "train", LOCAL, timeout_s=60.0).outcomes(samples("w0"))
    assert outcome.score is None and "was lost" in outcome.reason


def test_an_environment_that_scores_itself_needs_none() -> None:
    from rllib_ext.llm.reward_worker import reward_of

    class Plain:
        unwrapped = None

    plain = Plain()
    plain.unwrapped = plain
    with pytest.raises(BadConfig, match="num_reward_workers=0"):
        reward_of(plain, "Plain")


@pytest.mark.slow
def test_a_run_is_the_same_with_rewards_elsewhere(
    ray_session: ModuleType, model: str, tmp_path: Path
) -> None:
    """Also: an evaluation's references are scored there, and a run that may grow to two workers is the run of two."""
    found = {}
    for name, settings in {
        "own": {"num_env_runners": 2},
        "elsewhere": {
            "num_env_runners": 1,
            "max_env_runners": 2,
            "num_reward_workers": 1,
            "num_cpus_per_reward_worker": 0.1,
        },
    }.items():
        config = tiny_config(model, env_config={"size": 24}, **settings)
        with running(config, tmp_path / name) as algorithm:
            for _ in range(6):
                result = algorithm.train()
            deadline = time.monotonic() + 120
            while name == "elsewhere" and algorithm.pool.size < 2 and time.monotonic() < deadline:
                algorithm.pool._wait_once()
            scores = algorithm.evaluate()["evaluation"]
            found[name] = weights_of(algorithm), scores["reward_mean"], algorithm.pool.size
        assert result["reward"]["unscored_share"] == 0
    assert equal(found["own"][0], found["elsewhere"][0])
    assert found["own"][1] == found["elsewhere"][1]
    assert found["own"][2] == found["elsewhere"][2] == 2
    events = [
        json.loads(line)["event"]
        for line in (tmp_path / "elsewhere" / "events.jsonl").read_text().splitlines()
    ]
    assert events.count("worker_joined") == 1


def test_tune_reserves_room_for_reward_workers(model: str) -> None:
    config = tiny_config(model, num_reward_workers=2, num_cpus_per_reward_worker=0.5).to_dict()
    bundles = AsyncOnlineDPO.default_resource_request(config).bundles
    plain = AsyncOnlineDPO.default_resource_request(tiny_config(model).to_dict()).bundles
    assert bundles == [*plain, {"CPU": 0.5}, {"CPU": 0.5}]


def test_fewer_at_most_than_at_first_is_refused(model: str) -> None:
    with pytest.raises(BadConfig, match="max_env_runners is 1, less than num_env_runners"):
        tiny_config(model, num_env_runners=2, max_env_runners=1).validate()
