"""The judges of the gates of faults, resumes and sweeps: each must see what it is there to see."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import _gate_faults as faults
from benchmarks import _gate_resume as resume
from benchmarks import _gate_sweep as sweep
from benchmarks._faulty_worker import FAULTS, flipped
from benchmarks._killed_runs import Moment, moments, run_killed
from benchmarks._tree_cpu import TreeCpu
from rllib_ext.llm.weights import digest_of, pack, unpack


@pytest.mark.parametrize("seed", ["a", "b", "c"])
def test_a_flipped_bit_is_one_bit_and_another_digest(seed: str) -> None:
    snapshot = pack(3, {"w": torch.randn(5, 7), "b": torch.zeros(3)})
    damaged = flipped(snapshot, seed)
    bits = sum(
        int(np.unpackbits(snapshot.arrays[name].view(np.uint8) ^ damaged.arrays[name].view(np.uint8)).sum())
        for name in ("w", "b")
    )
    assert bits == 1 and digest_of(damaged.arrays) != snapshot.digest
    assert digest_of(snapshot.arrays) == snapshot.digest
    assert all(torch.isfinite(tensor).all() for tensor in unpack(damaged).values())


def test_a_plan_has_every_fault_as_often_as_it_should() -> None:
    plan = faults._plan(20, 7)
    assert Counter(fault for run in plan for fault in run) == dict.fromkeys(FAULTS, 20)
    assert [len(run) for run in plan] == [20, 20, 20, 20] and plan != faults._plan(20, 8)


def events(*records: tuple[float, str, str]) -> list[dict]:
    return [dict(zip(("time", "event", "detail"), record, strict=True)) for record in records]


def test_detection_is_of_the_victim_after_the_fault_by_the_right_sign(tmp_path: Path) -> None:
    happened = tmp_path / "happened-00-dropped"
    assert "never" in faults._detected(happened, "dropped", [])
    happened.write_text(json.dumps({"time": 10.0, "worker": 1}))
    silent = "worker 1: no answer within 4 s"
    log = events(
        (9.0, "worker_died", silent), (11.0, "worker_died", "worker 10: gone"), (14.0, "worker_died", silent)
    )
    assert faults._detected(happened, "dropped", log) == 4.0
    assert "found as" in faults._detected(happened, "killed", log)
    assert "found as" in faults._detected(happened, "corrupted", log)
    assert "not found" in faults._detected(happened, "dropped", log[:2])
    echoed = events(
        (10.5, "weight_digest_mismatch", "worker 1 served version 3"), (10.6, "worker_died", "worker 1: it")
    )
    assert faults._detected(happened, "corrupted", echoed) == 0.5


def ending(**changes: object) -> faults.Ending:
    prompts = Counter((0, index) for index in range(2 * faults.PROMPTS))
    made = faults.Ending(weights={"w": torch.ones(2)}, trained=prompts)
    made.seconds["killed"].append(1.0)
    return dataclasses.replace(made, **changes)


def test_the_gate_of_faults_sees_each_breach() -> None:
    def passes(**changes: object) -> bool:
        return faults._same(ending(), [ending(**changes)], 2, 0).passed

    assert passes()
    assert not passes(weights=None) and not passes(weights={"w": torch.tensor([1.0, 1.0000001])})
    once_more, once_less = ending().trained + Counter([(0, 3)]), ending().trained - Counter([(0, 3)])
    assert not passes(trained=once_more) and not passes(trained=once_less)
    assert faults._found([ending()], 1).passed
    assert not faults._found([ending(missed=["killed: not found"])], 1).passed
    late = ending()
    late.seconds["stalled"].append(faults.DEADLINE_S + 0.1)
    assert not faults._found([late], 1).passed
    assert math.isinf(faults._found([faults.Ending()], 1).value)


def test_a_run_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(faults.Hung), faults.wall_limit(0.2):
        time.sleep(30)
    assert time.monotonic() - began < 5


def test_the_gate_of_resumes_sees_each_breach() -> None:
    rates = [(1, 3e-4), (2, 2e-4), (3, 1e-4)]
    weights = {"model": {"w": torch.ones(2)}, "optimizer": {"m": torch.zeros(2)}}
    calm = resume.Record(Counter({(0, 1): 1, (0, 2): 1}), rates, [1, 2, 3], weights)

    def found(mode: str = "sync", **changes: object) -> list[str]:
        return resume._faults(calm, mode, dataclasses.replace(calm, **changes))

    assert found() == [] and found(written=[*rates[:2], *rates[1:]]) == []  # an update that was done twice
    assert "too often" in found(trained=calm.trained + Counter([(0, 1)]))[0]
    assert "skips" in found(written=[rates[0], rates[2]])[0] and "skips" in found(kept=[1, 3])[0]
    assert "learning rate" in found(written=[(1, 3e-4), (2, 3e-4), (3, 1e-4)])[0]
    other = {**weights, "optimizer": {"m": torch.ones(2)}}
    assert "moments" in found(tensors=other)[0] and found("async", tensors=other) == []


def test_kills_are_drawn_over_starts_and_updates() -> None:
    drawn = moments(random.Random(1), 20, 40)
    marks = [moment.update for moment in drawn if moment.update is not None]
    assert (
        len(drawn) == 20
        and len(marks) == 15
        and marks == sorted(marks)
        and 1 <= min(marks) <= max(marks) < 38
    )


def test_a_session_that_fails_by_itself_is_no_kill(tmp_path: Path) -> None:
    run = run_killed(["train", "NoSuchThing"], tmp_path / "run", [Moment(1, 0.0)], 1.0)
    assert run.kills == 0 and run.sessions == 1 and "NoSuchThing" in run.failed


DONOR = {"trial": "x_00001", "version": 4, "digest": "d4"}


def rounds(first: int, *served: tuple[int, str]) -> list[dict]:
    return [
        {"updates": first + n, "learner": first + n, "served": [list(each)]} for n, each in enumerate(served)
    ]


def test_an_exploit_must_take_over_version_digest_and_counter() -> None:
    good = rounds(4, (4, "d4"), (4, "d4"), (5, "e5"))
    assert sweep._not_taken_over(DONOR, good) == []
    assert sweep._not_taken_over(DONOR, [*good, {"restored": DONOR}, *rounds(0, (9, "z"))]) == []
    assert sweep._not_taken_over(DONOR, [])
    assert sweep._not_taken_over(DONOR, rounds(4, (4, "other"))) and sweep._not_taken_over(
        DONOR, rounds(2, (2, "d4"))
    )
    assert sweep._not_taken_over(DONOR, rounds(4, (4, "d4"), (3, "d3")))
    assert sweep._not_taken_over(DONOR, [{"updates": 4, "learner": 3, "served": [[4, "d4"]]}])


def test_the_seconds_of_an_ended_child_are_counted() -> None:
    tree = TreeCpu()
    burn = "import time\nwhile time.process_time() < 2.0: pass"
    subprocess.run([sys.executable, "-c", burn], check=True, timeout=120)
    assert 1.2 < tree.stop() < 6.0
