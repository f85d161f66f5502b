"""``rllib-ext``: list · train · sweep · resume · evaluate · relabel · plot · export · frames · doctor.

Exit codes: 0 done, 2 usage or configuration, 3 data or environment contract, 4 training failed (non-finite,
stalled, storage), 5 interrupted but resumable. A verb's module is imported when the verb is called, so that
``--help`` and ``list`` answer at once, and ``doctor`` answers where nothing else of the package imports.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

VERBS = {
    "list": "rllib_ext.cli.listing:list_names",
    "train": "rllib_ext.cli.train:train",
    "sweep": "rllib_ext.cli.sweep:sweep",
    "resume": "rllib_ext.cli.train:resume",
    "evaluate": "rllib_ext.cli.evaluate:evaluate",
    "relabel": "rllib_ext.cli.relabelling:relabel",
    "plot": "rllib_ext.cli.artefacts:plot",
    "export": "rllib_ext.cli.artefacts:export",
    "frames": "rllib_ext.cli.frames:frames",
    "doctor": "rllib_ext.cli.artefacts:examine",
}

__all__ = ["VERBS", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; its exit code. Every expected failure is one message on standard error."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _answer(words)
    except SystemExit as stop:  # argparse, after it printed its help or its complaint
        return stop.code if isinstance(stop.code, int) else 2
    except BrokenPipeError:  # whoever read the pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "envs":
            raise
        hint = "Another module called `envs` comes first on the import path; `rllib-ext doctor` says which."
        return _complain(f"{error}. {hint}", 2)


def _answer(words: list[str]) -> int:
    from rllib_ext.cli.parser import parse

    if words[:1] == ["doctor"]:  # before anything imports `envs`: a foreign one is what it has to find
        return _verb("doctor")(parse(words))
    from rllib_ext.errors import RllibExtError

    try:
        options = parse(words)
        return _verb(options.verb)(options)
    except RllibExtError as error:
        return _complain(str(error), error.exit_code if error.exit_code in (2, 3, 4, 5) else 4)


def _verb(name: str) -> Callable[[Any], int]:
    module, _, function = VERBS[name].partition(":")
    return getattr(importlib.import_module(module), function)


def _complain(message: str, code: int) -> int:
    print(f"rllib-ext: {message}", file=sys.stderr)
    return code
