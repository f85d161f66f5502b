"""kill -9 of the process that learns (A7): the run says so, and from its checkpoint it goes on to the same weights."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chaos.inject import alive, seeded, tries, until
from engine_fixture import equal, running, tiny_config, weights_of
from tiny_language import save_tiny_model

from rllib_ext.errors import RllibExtError, Stalled

KILLS = tries(1, 10)
UPDATES = 8
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def config_of(model: str) -> Any:
    return tiny_config(model, mode="sync", num_learners=1, total_updates=UPDATES)


def learner_pid(algorithm: Any) -> int:
    return algorithm.on_learner(lambda learner, **_: os.getpid())


@pytest.mark.fault("A7", tries=KILLS)
def test_a_killed_learner_costs_no_more_than_since_the_last_checkpoint(
    ray_session: Any, model: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running(config_of(model), tmp_path / "calm") as algorithm:
        for _ in range(UPDATES):
            algorithm.train()
        calm = weights_of(algorithm)
    draw, lost = seeded(), 0
    for number in range(KILLS):
        saved_at = draw.randrange(1, UPDATES - 2)
        kept = tmp_path / f"checkpoint{number}"
        with running(config_of(model), tmp_path / f"killed{number}") as algorithm:
            for _ in range(saved_at):
                algorithm.train()
            algorithm.save_checkpoint(str(kept))
            pid, began = learner_pid(algorithm), time.monotonic()
            threading.Timer(draw.uniform(0.0, 0.3), os.kill, (pid, signal.SIGKILL)).start()
            with pytest.raises(Stalled, match="learner") as caught:
                for _ in range(1000):  # more rounds than it can do in that moment
                    algorithm.train()
            assert caught.value.exit_code == 4 and time.monotonic() - began < 60
            until(lambda pid=pid: not alive(pid), 10.0, f"the learner's process {pid} is gone")
        with running(config_of(model), tmp_path / f"again{number}") as algorithm:
            algorithm.restore_from_path(str(kept))
            lost += saved_at - algorithm.counters["updates"]
            for _ in range(UPDATES - saved_at):
                result = algorithm.train()
            assert result["num_updates_lifetime"] == UPDATES
            assert equal(calm, weights_of(algorithm))
    record_property("lost", lost)
    assert lost == 0


@pytest.mark.fault("B5")
def test_a_checkpoint_that_does_not_fit_a_remote_learner_is_not_taken_for_restored(
    ray_session: Any, model: str, tmp_path: Path
) -> None:
    """RLlib hands a remote learner's error back as its answer: nobody may go on with the weights it had before."""
    other = save_tiny_model(tmp_path / "other", architecture="gpt_neox")
    with running(config_of(other), tmp_path / "first") as algorithm:
        algorithm.train()
        algorithm.save_checkpoint(str(tmp_path / "kept"))
    with running(config_of(model), tmp_path / "second") as algorithm:
        with pytest.raises(RllibExtError):
            algorithm.restore_from_path(str(tmp_path / "kept"))
        assert algorithm.counters["updates"] == 0
