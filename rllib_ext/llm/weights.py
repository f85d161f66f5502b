"""Versioned weight snapshots: what the learner publishes and a rollout worker serves.

A snapshot is a *copy*: the learner goes on changing its parameters while workers load. It travels through the
object store as NumPy arrays (zero-copy for readers on the same node; bfloat16 as raw 16-bit words, which
NumPy has no name for) and carries a digest, so that a worker can prove which bytes it serves.

The digest is a hash over every tensor's name, dtype, shape and two wrapping word sums (plain and
position-weighted). It costs about one read of memory where a cryptographic hash of the bytes would cost a
second a gigabyte; it guards against torn, truncated and stale pushes, not against an adversary.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

_WEIGHT_PERIOD = 8191  # a row of the sums: long enough for wide adds, short enough for the cache
_ROW_WEIGHT = np.uint64(0x9E3779B97F4A7C15)  # odd and without pattern: no two positions weigh the same


@dataclass(frozen=True)
class WeightSnapshot:
    """One published version of the policy's weights.

    arrays: tensor name -> array (bfloat16 as uint16). dtypes: tensor name -> torch dtype name.
    aliases: name -> name of the tensor that it shares storage with (tied embeddings travel once).
    """

    version: int
    digest: str
    arrays: dict[str, np.ndarray] = field(repr=False)
    dtypes: dict[str, str] = field(repr=False)
    aliases: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True)
class PublishedWeights:
    """What the driver hands around: a version, its digest and where the snapshot lies in the object store.

    ``ref`` is wrapped in a list so that Ray passes the reference on instead of resolving it into every call.
    """

    version: int
    digest: str
    ref: list[Any]


def _word_sums(array: np.ndarray) -> tuple[int, int]:
    """Wrapping sums of the raw words of ``array``: plain, and weighted by position.

    Word i, in column c and row r of rows of 8191, weighs (c + 1) + (r + 1) R mod 2^64. Words have at most 32
    bits (wider ones count as two), so a word that changes always changes the plain sum, and two words that
    change places the weighted one: the weights differ by less than 2^13 in a row, by a multiple of R between
    rows.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size == 0:
        return 0, 0
    words = flat.view({1: np.uint8, 2: np.uint16}.get(flat.dtype.itemsize, np.uint32))
    rows = words.size // _WEIGHT_PERIOD
    body = words[: rows * _WEIGHT_PERIOD].reshape(rows, _WEIGHT_PERIOD)
    columns = np.add.reduce(body, axis=0, dtype=np.uint64)
    tail = words[rows * _WEIGHT_PERIOD :].astype(np.uint64)
    columns[: tail.size] += tail
    by_row = np.append(np.add.reduce(body, axis=1, dtype=np.uint64), tail.sum(dtype=np.uint64))
    with np.errstate(over="ignore"):
        weights = np.arange(1, _WEIGHT_PERIOD + 1, dtype=np.uint64)
        row_weights = np.arange(1, rows + 2, dtype=np.uint64) * _ROW_WEIGHT
        weighted = (columns * weights).sum(dtype=np.uint64) + (by_row * row_weights).sum(dtype=np.uint64)
    return int(columns.sum(dtype=np.uint64)), int(weighted)


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Hex digest (32 characters) of named arrays; independent of their order."""
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        state.update(f"{name}|{array.dtype.str}|{array.shape}|{_word_sums(array)};".encode())
    return state.hexdigest()


def pack(version: int, state: Mapping[str, torch.Tensor]) -> WeightSnapshot:
    """Copy ``state`` (any device, any dtype) into a snapshot."""
    arrays: dict[str, np.ndarray] = {}
    dtypes: dict[str, str] = {}
    aliases: dict[str, str] = {}
    owner: dict[tuple[Any, ...], str] = {}
    for name, tensor in state.items():
        # A transpose of a square matrix has its address and its shape, and is another matrix.
        key = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and key in owner:
            aliases[name] = owner[key]
            continue
        owner[key] = name
        dtypes[name] = str(tensor.dtype).removeprefix("torch.")
        raw = tensor.detach().contiguous()
        raw = raw.view(torch.uint16) if raw.dtype is torch.bfloat16 else raw
        arrays[name] = raw.cpu().numpy().copy()
    return WeightSnapshot(version, digest_of(arrays), arrays, dtypes, aliases)


def unpack(snapshot: WeightSnapshot) -> dict[str, torch.Tensor]:
    """Named tensors over the snapshot's memory (read-only by contract: loaders copy). Aliases are expanded."""
    tensors: dict[str, torch.Tensor] = {}
    with warnings.catch_warnings():
        # Object-store arrays are not writable and torch has no read-only tensors; loaders only read.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        for name, array in snapshot.arrays.items():
            tensor = torch.from_numpy(array)
            dtype = getattr(torch, snapshot.dtypes[name])
            tensors[name] = tensor.view(dtype) if dtype is torch.bfloat16 else tensor
    for name, source in snapshot.aliases.items():
        tensors[name] = tensors[source]
    return tensors
