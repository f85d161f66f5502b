"""cProfile's answer as text that says nothing about folders."""

from __future__ import annotations

import cProfile
import io
import pstats

LINES = 40


def profile_text(profile: cProfile.Profile) -> str:
    """The costliest functions by their own time, and by all they call."""
    stream = io.StringIO()
    stats = pstats.Stats(profile, stream=stream).strip_dirs()
    stats.sort_stats("tottime").print_stats(LINES)
    stats.sort_stats("cumulative").print_stats(LINES)
    return stream.getvalue()
