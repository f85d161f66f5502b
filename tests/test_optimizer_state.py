"""Optimizer state survives the checkpoint format exactly: a resumed run makes the same updates, bit for
bit."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime.checkpoint import NotStorable, load, save
from rllib_ext.runtime.optimizer_state import flatten_optimizer, restore_optimizer

OPTIMIZERS = {
    "AdamW": lambda params: torch.optim.AdamW(params, lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1),
    "AdamW two groups": lambda params: torch.optim.AdamW(
        [{"params": params[:2], "lr": 3e-3}, {"params": params[2:], "weight_decay": 0.0}], amsgrad=True
    ),
    "AdamW tensor lr": lambda params: torch.optim.AdamW(params, lr=torch.tensor(1e-2), foreach=False),
    "Adam": lambda params: torch.optim.Adam(params, lr=1e-2, betas=(0.8, 0.99)),
    "SGD momentum": lambda params: torch.optim.SGD(params, lr=1e-2, momentum=0.9),
    "Rprop": lambda params: torch.optim.Rprop(params),
    "SGD before its first step": lambda params: torch.optim.SGD(params, lr=0.0),
}


def same(left: Any, right: Any) -> bool:
    """Equal in type, order and every bit, all the way down."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or (left != left and right != right)


def leaves(tree: Any) -> int:
    """How many tensors a nested value holds."""
    if isinstance(tree, dict):
        return sum(map(leaves, tree.values()))
    return sum(map(leaves, tree)) if isinstance(tree, (list, tuple)) else isinstance(tree, torch.Tensor)


class Training:
    """A small regression with a scheduler; ``data`` is the only randomness, and it belongs to the step."""

    def __init__(self, optimizer: str) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.optimizer = OPTIMIZERS[optimizer](list(self.model.parameters()))
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda count: 1.0 / (1 + count))
        self.step = 0

    def update(self, count: int) -> None:
        for _ in range(count):
            data = torch.randn(16, 4, generator=torch.Generator().manual_seed(self.step))
            self.optimizer.zero_grad()
            (self.model(data) - data.sum(1, keepdim=True)).square().mean().backward()
            self.optimizer.step()
            self.scheduler.step()
            self.step += 1

    def save(self, folder: Path) -> Path:
        tensors, tree = flatten_optimizer(self.optimizer.state_dict())
        rates, schedule = flatten_optimizer(self.scheduler.state_dict())
        groups = {"policy": self.model.state_dict(), "optimizer": tensors, "scheduler": rates}
        states = {"optimizer": tree, "scheduler": schedule}
        return save(folder, step=self.step, tensors=groups, state=states)

    def load(self, path: Path) -> None:
        found = load(path)
        self.model.load_state_dict(found.tensors["policy"])
        for name, part in (("optimizer", self.optimizer), ("scheduler", self.scheduler)):
            part.load_state_dict(restore_optimizer(found.tensors[name], found.state[name]))
        self.step = found.step


@pytest.mark.fault("B8")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_save_load_continue_equals_never_stopping(tmp_path: Path, name: str) -> None:
    through, first, second = Training(name), Training(name), Training(name)
    before = 0 if name == "SGD before its first step" else 7
    through.update(before + 5)
    first.update(before)
    path = first.save(tmp_path)
    first.update(5)  # what happens after a save must not reach into it
    second.load(path)
    second.update(5)
    for other in (first, second):
        assert same(dict(through.model.state_dict()), dict(other.model.state_dict()))
        assert same(through.optimizer.state_dict(), other.optimizer.state_dict())
    assert through.scheduler.get_last_lr() == second.scheduler.get_last_lr()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_round_trip_through_json_is_exact(name: str) -> None:
    training = Training(name)
    training.update(3)
    state_dict = copy.deepcopy(training.optimizer.state_dict())
    tensors, tree = flatten_optimizer(state_dict)
    assert same(restore_optimizer(tensors, json.loads(json.dumps(tree, allow_nan=False))), state_dict)
    assert len(tensors) == leaves(state_dict)


def test_every_kind_of_value_keeps_its_type() -> None:
    awkward = {
        "state": {0: {"step": torch.tensor(3.0), "nested": {"0": torch.ones(2), 0: torch.zeros(2)}}, "0": {}},
        "a.b": {"c": torch.ones(1)},
        "a": {"b.c": torch.zeros(1)},  # would have the same dotted name
        "numbers": [0.1, -0.0, 1e-300, math.inf, -math.inf, math.nan, 2**100, True, None],
        "tuples": ((), (1, (2.5, [])), [(1,)]),
        "tensor": "not a tag",
        "looks like a tag": {"tuple": [1, 2], "dict": []},
    }
    tensors, tree = flatten_optimizer(awkward)
    assert len(tensors) == 5
    restored = restore_optimizer(tensors, json.loads(json.dumps(tree, allow_nan=False)))
    assert same(restored, awkward) and math.copysign(1, restored["numbers"][1]) == -1


@pytest.mark.parametrize("value", [object(), Counter(a=1), {1.5: 2}, {None: 1}, {(1, 2): 3}, lambda: 0, b"x"])
def test_what_would_not_come_back_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(NotStorable, match=r"param_groups\.0"):
        flatten_optimizer({"param_groups": [value]})


def test_cycles_are_refused() -> None:
    cycle: dict[str, Any] = {}
    cycle["again"] = cycle
    with pytest.raises(NotStorable, match="cyclic"):
        flatten_optimizer(cycle)


@pytest.mark.fault("B5")
def test_a_tree_and_tensors_of_different_saves_are_refused() -> None:
    tensors, tree = flatten_optimizer({"state": {0: {"m": torch.ones(2), "v": torch.ones(2)}}})
    twice = {
        "dict": [
            ["a", {"tensor": "state.0.m"}],
            ["b", {"tensor": "state.0.m"}],
            ["c", {"tensor": "state.0.v"}],
        ]
    }
    bad: list[tuple[dict[str, torch.Tensor], Any]] = [
        ({}, tree),
        ({"state.0.m": torch.ones(2)}, tree),
        ({**tensors, "extra": torch.ones(1)}, tree),
        (tensors, twice),
        ({}, [1, 2]),
        ({}, {"eval": "1"}),
        ({}, {"dict": [["a", 1]], "tuple": []}),
        ({}, {"dict": [["a", {"float": "1e999"}]]}),
        ({}, {"dict": 3}),
        ({}, {"dict": [[[1], 2]]}),
    ]
    for found, wrong in bad:
        with pytest.raises(CheckpointCorrupt, match="optimizer state"):
            restore_optimizer(found, wrong)
