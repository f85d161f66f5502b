"""A torch optimizer's state as tensors and JSON, and back, exactly.

``Optimizer.state_dict()`` nests tensors (``exp_avg``, the 0-d ``step``) in dicts with integer keys, beside
hyper-parameters that JSON would change on the way: tuples (``betas``), integer keys, infinities.
``torch.save`` keeps them by pickling, which the checkpoint format forbids. Here the tree is written with one
tag per non-JSON node::

    (0.9, 0.95)            {"tuple": [0.9, 0.95]}
    {0: {"step": tensor}}  {"dict": [[0, {"dict": [["step", {"tensor": "state.0.step"}]]}]]}
    inf                    {"float": "inf"}

Every dict is tagged, so no key of a user can be mistaken for a tag. Plain numbers, strings and lists stay as
they are, and the JSON of a float is the shortest text that reads back to the same float. The same two
functions serve a learning rate scheduler's state.

Left out: which names share one tensor (each comes back its own), and objects with behaviour (a closure in
``LambdaLR``): those are code and are built again by the program.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

import torch

from rllib_ext.errors import CheckpointCorrupt
from rllib_ext.runtime.json_values import NotStorable

_MAX_DEPTH = 64


def flatten_optimizer(state_dict: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], Any]:
    """The tensors of a state dict by a readable name, and the JSON tree that says where each belongs.

    The tensors are the optimizer's own, not copies: save them before the next update, or clone them.
    """
    tensors: dict[str, torch.Tensor] = {}
    return tensors, _flatten(state_dict, (), tensors)


def restore_optimizer(tensors: Mapping[str, torch.Tensor], tree: Any) -> dict[str, Any]:
    """The state dict that ``flatten_optimizer`` took apart; else ``CheckpointCorrupt``.

    Every tensor must have exactly one place. ``Optimizer.load_state_dict`` may keep these tensors and update
    them in place.
    """
    unused = dict(tensors)
    try:
        state_dict = _restore(tree, unused, 0)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointCorrupt(
            f"the optimizer state does not fit its tensors ({error!r}). Load both from one save."
        ) from error
    if unused or not isinstance(state_dict, dict):
        raise CheckpointCorrupt(
            f"the optimizer state leaves tensors without a place: {sorted(unused)[:5]}. "
            "Load both from one save."
        )
    return state_dict


def _flatten(value: Any, path: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> Any:
    if len(path) > _MAX_DEPTH:
        raise NotStorable(f"the optimizer state is nested deeper than {_MAX_DEPTH}. Is it cyclic?")
    if isinstance(value, torch.Tensor):
        name = ".".join(path)
        while name in tensors:
            name += "'"
        tensors[name] = value
        return {"tensor": name}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if type(value) in (dict, OrderedDict, defaultdict):
        pairs = [[_key(key, path), _flatten(item, (*path, str(key)), tensors)] for key, item in value.items()]
        return {"dict": pairs}
    if type(value) in (list, tuple):
        items = [_flatten(item, (*path, str(index)), tensors) for index, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise NotStorable(
        f"the optimizer state at {'.'.join(path) or 'its root'} is a {type(value).__qualname__}. "
        "Only tensors, numbers, strings, None, lists, tuples and dicts can be stored."
    )


def _key(key: Any, path: tuple[str, ...]) -> Any:
    if type(key) not in (int, str):
        raise NotStorable(
            f"the optimizer state at {'.'.join(path)} has the key {key!r}. Use integers or strings."
        )
    return key


def _restore(tree: Any, unused: dict[str, torch.Tensor], depth: int) -> Any:
    if depth > 3 * _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(tree, list):
        return [_restore(item, unused, depth + 1) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((tag, body),) = tree.items()
    if tag == "tensor":
        return unused.pop(body)
    if tag == "tuple":
        return tuple(_restore(item, unused, depth + 1) for item in body)
    if tag == "float":
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[body]
    if tag == "dict":
        return {key: _restore(item, unused, depth + 1) for key, item in body}
    raise ValueError(f"unknown tag {tag!r}")
