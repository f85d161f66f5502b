"""Random states come back exactly, all of them or none."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime.checkpoint import load, save
from rllib_ext.runtime.rng import capture_rng, restore_rng

KINDS = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64, np.random.MT19937)
}


@pytest.fixture(autouse=True)
def own_global_state() -> Iterator[None]:
    saved = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(saved[0])
    np.random.set_state(saved[1])
    torch.set_rng_state(saved[2])


def generators() -> dict[str, np.random.Generator]:
    return {name: np.random.Generator(kind(5)) for name, kind in KINDS.items()}


def draws(named: dict[str, np.random.Generator]) -> list[Any]:
    """Some of everything, an odd number of normals included (half of a pair stays in the state)."""
    numbers: list[Any] = [random.random(), random.gauss(0, 1), random.getrandbits(99)]
    numbers += [np.random.standard_normal(3).tolist(), np.random.randint(0, 9, 5).tolist()]
    numbers += [torch.randn(17).tolist(), torch.randperm(5).tolist()]
    for item in named.values():
        numbers += [item.standard_normal(3).tolist(), int(item.integers(0, 2**32, dtype=np.uint32))]
    return numbers


@pytest.mark.fault("B8")
def test_draws_go_on_where_they_were(tmp_path: Path) -> None:
    named = generators()
    draws(named)
    tensors, state = capture_rng(named)
    path = save(tmp_path, step=1, tensors={"rng": tensors}, state={"rng": state})
    expected = [draws(named), draws(named)]
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        other = {name: np.random.Generator(kind(seed)) for name, kind in KINDS.items()}
        found = load(path)
        restore_rng(found.tensors["rng"], found.state["rng"], other)
        assert [draws(other), draws(other)] == expected


def test_capturing_draws_nothing() -> None:
    named, twin = generators(), generators()
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    expected = draws(twin)
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    capture_rng(named)
    assert draws(named) == expected


def spoil(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        for key in path[:-1]:
            state = state[key]
        state[path[-1]] = value

    return change


@pytest.mark.fault("B5")
@pytest.mark.parametrize(
    "change",
    [
        spoil(("python", "version"), 99),
        spoil(("python", "internal"), [1, 2, 3]),
        spoil(("python", "internal", 0), "x"),
        spoil(("python", "internal", 0), -1),
        spoil(("numpy", "bit_generator"), "PCG64"),
        spoil(("numpy", "state", "key", "array"), [1]),
        spoil(("numpy", "state", "key", "dtype"), "object"),
        spoil(("numpy", "state", "pos"), 10**6),
        spoil(("numpy", "gauss"), "0"),
        spoil(("generators", "PCG64", "state", "state"), "x"),
        spoil(("generators", "PCG64", "state", "state"), 2**128),
        spoil(("generators", "PCG64", "bit_generator"), "SFC64"),
        spoil(("generators", "Philox", "buffer_pos"), 5),
        spoil(("generators", "Philox", "buffer"), {"array": [1, 2], "dtype": "uint64"}),
        spoil(("generators", "more"), {}),
        spoil(("generators",), {}),
        spoil(("python",), None),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Callable[[dict[str, Any]], None]) -> None:
    named = {name: np.random.Generator(KINDS[name](1)) for name in ("PCG64", "Philox")}
    tensors, state = capture_rng(named)
    draws(named)
    now = capture_rng(named)
    broken = copy.deepcopy(state)
    change(broken)
    with pytest.raises(CheckpointCorrupt, match="random state"):
        restore_rng(tensors, broken, named)
    for bad in ({}, {"torch.cpu": torch.zeros(3, dtype=torch.uint8)}, {"torch.cpu": torch.zeros(5056)}):
        with pytest.raises(CheckpointCorrupt, match="random state"):
            restore_rng(bad, state, named)
    then = capture_rng(named)
    assert now[1] == then[1] and torch.equal(now[0]["torch.cpu"], then[0]["torch.cpu"])


def test_cuda_states_without_such_a_device_are_skipped_aloud(caplog: pytest.LogCaptureFixture) -> None:
    tensors, state = capture_rng()
    restore_rng({**tensors, "torch.cuda.97": torch.zeros(16, dtype=torch.uint8)}, state)
    assert "no CUDA device 97" in caplog.text
