"""The state of every random generator of a process, so that a resumed run draws what it would have drawn.

Captured: Python's ``random``, numpy's global generator and named ``numpy.random.Generator``s, torch's CPU
generator, and torch's CUDA generators where CUDA is in use. Numbers go into JSON (Python integers have no
width, so the 128-bit state of PCG64 fits), torch's opaque bytes into uint8 tensors.

Restoring is all or nothing: each state is first tried on a generator made for that purpose.

Left out: generators inside other processes (rollout workers, vLLM), which are seeded per request instead,
and CUDA in a process that has not used it, because asking would create a CUDA context.
"""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rllib_ext.errors import CheckpointCorrupt

logger = logging.getLogger(__name__)

_CPU, _CUDA = "torch.cpu", "torch.cuda."
_POSITIONS = {"pos": 624, "buffer_pos": 4}  # of MT19937 and Philox: how many words their buffers hold


def capture_rng(
    generators: Mapping[str, np.random.Generator] | None = None,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors and the JSON value that ``restore_rng`` takes; drawing is not disturbed."""
    version, internal, gauss = random.getstate()
    state = {
        "python": {"version": version, "internal": list(internal), "gauss": gauss},
        "numpy": _to_json(np.random.get_state(legacy=False)),
        "generators": {name: _to_json(item.bit_generator.state) for name, item in (generators or {}).items()},
    }
    tensors = {_CPU: torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors |= {f"{_CUDA}{index}": item for index, item in enumerate(torch.cuda.get_rng_state_all())}
    return tensors, state


def restore_rng(
    tensors: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    generators: Mapping[str, np.random.Generator] | None = None,
) -> None:
    """Puts every generator into the captured state, or raises ``CheckpointCorrupt`` and touches none.

    ``generators`` must have the names and the kinds that were captured. CUDA states beyond the devices that
    are here are skipped with a warning: resuming on another machine is legitimate, but its draws cannot be
    the same.
    """
    generators = generators or {}
    try:
        python = (state["python"]["version"], tuple(state["python"]["internal"]), state["python"]["gauss"])
        legacy = _from_json(state["numpy"])
        named = {name: _from_json(item) for name, item in state["generators"].items()}
        if set(named) != set(generators):
            raise ValueError(f"it holds the generators {sorted(named)}, wanted are {sorted(generators)}")
        _rehearse(python, legacy, named, generators, tensors[_CPU])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise CheckpointCorrupt(
            f"the random state cannot be restored: {error}. Resume with the versions that saved it."
        ) from error
    random.setstate(python)
    np.random.set_state(legacy)
    for name, item in named.items():
        generators[name].bit_generator.state = item
    torch.set_rng_state(tensors[_CPU])
    _restore_cuda({name: item for name, item in tensors.items() if name.startswith(_CUDA)})


def _rehearse(
    python: Any,
    legacy: Any,
    named: Mapping[str, Any],
    generators: Mapping[str, np.random.Generator],
    cpu: torch.Tensor,
) -> None:
    """Sets every state on a throw-away generator of the same kind; raises what the libraries raise."""
    random.Random().setstate(python)
    current = np.random.get_state(legacy=False)
    _check_form(legacy, current, "numpy")
    np.random.RandomState(getattr(np.random, current["bit_generator"])()).set_state(legacy)
    for name, item in named.items():
        _check_form(item, generators[name].bit_generator.state, name)
        copy.deepcopy(generators[name]).bit_generator.state = item
    torch.Generator().set_state(cpu)


def _check_form(found: Any, like: Any, where: str) -> None:
    """``found`` has the fields, types, lengths and kind of ``like``, and its positions lie inside its
    buffers.

    numpy copies a position as it is and reads from there at the next draw, outside the buffer if so told.
    """
    if isinstance(like, Mapping):
        if not isinstance(found, Mapping) or set(found) != set(like):
            raise ValueError(f"{where} is not the state of such a generator")
        for key, item in like.items():
            _check_form(found[key], item, f"{where}.{key}")
            if key in _POSITIONS and not 0 <= found[key] <= _POSITIONS[key]:
                raise ValueError(f"{where}.{key} is {found[key]}, outside its buffer")
    elif isinstance(like, np.ndarray):
        if not isinstance(found, np.ndarray) or (found.dtype, found.shape) != (like.dtype, like.shape):
            raise ValueError(f"{where} is not {like.shape} numbers of {like.dtype}")
    elif isinstance(like, str):
        if found != like:
            raise ValueError(f"{where} is {found!r}, here it is {like!r}")
    elif type(found) is not type(like):
        raise ValueError(f"{where} is {found!r}, not a number of the right kind")


def _restore_cuda(tensors: Mapping[str, torch.Tensor]) -> None:
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for name, item in tensors.items():
        index = int(name.removeprefix(_CUDA))
        if index < devices:
            torch.cuda.set_rng_state(item, index)
        else:
            logger.warning("no CUDA device %d here: its random state is not restored", index)


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"array", "dtype"}:
            return np.array(value["array"], dtype=value["dtype"])
        return {key: _from_json(item) for key, item in value.items()}
    return value
