"""Seed streams: the same everywhere, different from each other, untouched by what is added elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rllib_ext.errors import BadConfig
from rllib_ext.runtime.seeding import SeedTree


def test_the_numbers_are_fixed_for_ever() -> None:
    """Written down once: a change here changes what every recorded seed means."""
    assert SeedTree(7).child("prompts").int() == 520899690
    assert SeedTree(7).child("worker", 3).int(63) == 22303340232764755


def test_other_processes_agree_whatever_their_hash_salt() -> None:
    program = "from rllib_ext.runtime.seeding import SeedTree; print(SeedTree(7).child('a', 2, 'b').int(256))"
    found = set()
    for salt in ("0", "1", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": str(Path(__file__).parents[1])}
        found.add(subprocess.check_output([sys.executable, "-c", program], env=environment, timeout=60))
    assert found == {b"%d\n" % SeedTree(7).child("a", 2, "b").int(256)}


def test_no_two_paths_share_a_stream() -> None:
    tree = SeedTree(7)
    nodes = [
        tree,
        SeedTree(8),
        tree.child("a"),
        tree.child("ab"),
        tree.child("a", "b"),
        tree.child("a").child(""),
        tree.child("1"),
        tree.child(1),
        tree.child(-1),
        tree.child("a\0b"),
        tree.child("\ud800"),
        SeedTree(71),
        SeedTree(7).child(1, 1),
        SeedTree(7).child(11),
        *(SeedTree(seed).child("worker", rank) for seed in range(30) for rank in range(30)),
    ]
    assert len({node.int(63) for node in nodes}) == len(nodes)
    assert len({node.int() for node in nodes}) == len(nodes)


def test_paths_compose_and_drawing_is_pure() -> None:
    tree = SeedTree(np.int64(7).item())
    assert tree.child("a", 3).int() == tree.child("a").child(3).int()
    assert tree.int() == tree.int()
    assert [node.int() for node in tree.spawn(5)][:3] == [node.int() for node in tree.spawn(3)]
    assert repr(tree.child("a", 3)) == "SeedTree(7, 'a', 3)"


@pytest.mark.parametrize("bits", [1, 8, 31, 63, 64, 256])
def test_seeds_have_the_width_asked_for(bits: int) -> None:
    seeds = [SeedTree(0).child(index).int(bits) for index in range(300)]
    assert all(0 <= seed < 2**bits for seed in seeds)
    ones = sum(seed >> (bits - 1) for seed in seeds)  # the top bit of 300 fair draws: 150 +- 5 sd
    assert abs(ones - 150) < 5 * 300**0.5 / 2


def test_generators_start_where_their_node_says() -> None:
    node = SeedTree(7).child("noise")
    assert node.numpy().random(3).tolist() == node.numpy().random(3).tolist()
    assert node.python().random() == node.python().random()
    first, again = (torch.randn(3, generator=node.torch()) for _ in range(2))
    assert torch.equal(first, again)
    other = SeedTree(7).child("other")
    assert (
        node.numpy().random() != other.numpy().random() and node.python().random() != other.python().random()
    )


@pytest.mark.parametrize("seed", [-1, 1.0, "7", None, True])
def test_seeds_that_are_none_are_refused(seed: object) -> None:
    with pytest.raises(BadConfig, match="seed="):
        SeedTree(seed)  # type: ignore[arg-type]


def test_bad_names_and_widths_are_refused() -> None:
    for name in (1.0, None, True, b"a", ("a",)):
        with pytest.raises(BadConfig, match="seed stream"):
            SeedTree(1).child(name)  # type: ignore[arg-type]
    for bits in (0, 257):
        with pytest.raises(BadConfig, match="bits="):
            SeedTree(1).int(bits)


def test_importing_seeds_does_not_import_torch() -> None:
    program = "import sys, rllib_ext.runtime.seeding; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=60).returncode == 0
