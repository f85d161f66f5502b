"""Freed memory stays with the process that asked for it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from rllib_ext.runtime.kept_memory import keep_freed_memory
if KEEP:
    assert keep_freed_memory()
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(10 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(40)  # the heap grows to what it needs
print(faults(40))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_a_block_that_is_asked_for_again_costs_no_page_fault() -> None:
    found = {}
    for keep in (True, False):  # in processes of their own: it is for good
        command = [sys.executable, "-c", PROGRAM.replace("KEEP", str(keep))]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        found[keep] = int(answer.stdout)
    assert found[True] < 400 < found[False]  # 40 MB are 10,240 pages of 4 kB, or 20 of 2 MB
