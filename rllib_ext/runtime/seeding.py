"""One seed for a run, and an independent named stream for everything that draws.

``SeedTree(7).child("prompts")`` is a node; its numbers depend on the seed and on the path of names alone.
Adding a stream, a worker or a draw elsewhere changes no other stream, which a counter (``seed + rank``)
cannot promise: there, rank 1 of seed 7 is rank 0 of seed 8.

A node's key is SHA-256 over its parent's key and its own name, tagged with the name's type and length, so
that ``child("a").child("b")``, ``child("ab")`` and ``child(1)``, ``child("1")`` all differ. Python's
``hash`` is no use here: it is salted per process. The keys are the same on every machine and in every
process.
"""

from __future__ import annotations

import builtins
import hashlib
import random
from typing import TYPE_CHECKING

import numpy as np

from rllib_ext.errors import BadConfig

if TYPE_CHECKING:
    import torch

_ROOT = b"rllib-ext seed tree 1"


class SeedTree:
    """A node of the tree. Immutable: two draws from one node are the same number, its children differ."""

    __slots__ = ("_key", "path")

    def __init__(self, seed: builtins.int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, builtins.int) or seed < 0:
            raise BadConfig(f"seed={seed!r}: the seed must be an integer from 0 up.")
        self.path: tuple[str | builtins.int, ...] = (builtins.int(seed),)
        self._key = _digest(_ROOT, builtins.int(seed))

    def child(self, *names: str | builtins.int) -> SeedTree:
        """The node below this one under ``names``; ``child("a", 3)`` is ``child("a").child(3)``."""
        node = self
        for name in names:
            if isinstance(name, bool) or not isinstance(name, (str, builtins.int)):
                raise BadConfig(f"seed stream {name!r}: a stream is named by a string or an integer.")
            below = SeedTree.__new__(SeedTree)
            below.path = (*node.path, name)
            below._key = _digest(node._key, name)
            node = below
        return node

    def spawn(self, count: builtins.int) -> list[SeedTree]:
        """One node per rank, ``child(0)`` to ``child(count - 1)``; none depends on ``count``."""
        return [self.child(rank) for rank in range(count)]

    def int(self, bits: builtins.int = 31) -> builtins.int:
        """A seed of so many bits: 31 suits every library, 63 where very many must differ."""
        if not 1 <= bits <= 256:
            raise BadConfig(f"bits={bits!r}: a seed has 1 to 256 bits.")
        return builtins.int.from_bytes(_digest(self._key, "int"), "big") >> (256 - bits)

    def numpy(self) -> np.random.Generator:
        """A fresh PCG64 generator at the start of this node's stream."""
        return np.random.Generator(np.random.PCG64(self.int(256)))

    def python(self) -> random.Random:
        """A fresh ``random.Random`` at the start of this node's stream."""
        return random.Random(self.int(256))

    def torch(self, device: str = "cpu") -> torch.Generator:
        """A fresh torch generator at the start of this node's stream; imports torch."""
        import torch

        return torch.Generator(device).manual_seed(self.int(63))

    def __repr__(self) -> str:
        return f"SeedTree{self.path!r}"


def _digest(key: bytes, name: str | builtins.int) -> bytes:
    kind = b"s" if isinstance(name, str) else b"i"
    text = str(name).encode("utf-8", "surrogatepass")
    return hashlib.sha256(key + kind + len(text).to_bytes(8, "big") + text).digest()
