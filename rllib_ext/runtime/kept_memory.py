"""Memory that a training loop frees and asks for again with every update, kept in the process in between.

glibc gives blocks above 32 MB back to the system as soon as they are freed, and smaller ones when the top of the heap is
free. An update that makes gradients of tens of megabytes then has its memory taken away and zeroed anew, page by page:
nearly 30,000 pages an update for a model of 18 million parameters, a quarter of its CPU time. Here the process keeps what
it has once used; its resident size stays at its peak.

Left out: other allocators (jemalloc, tcmalloc), which keep memory by themselves, and other systems than Linux.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
NEVER_BYTES, PAD_BYTES = 2**31 - 1, 2**28


def keep_freed_memory() -> bool:
    """Have this process keep the memory that it frees. False where its C library is not glibc: nothing is changed."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER_BYTES), (M_TOP_PAD, PAD_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in wanted)
