"""``sweep``: the studies in ``tuned_configs``, by name; what follows the name goes to the sweep itself."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from argparse import Namespace
from pathlib import Path

from rllib_ext.cli.assignments import refuse_secrets
from rllib_ext.errors import BadConfig, unknown_name

TRAINING_FAILED = 4


def sweep(options: Namespace) -> int:
    """Run a sweep; without a name, list them."""
    refuse_secrets(options.words)
    known = sweeps()
    if options.name is None:
        for name, what in known.items():
            print(f"{name}  {what}")
        print("rllib-ext sweep NAME --help shows what a sweep takes.")
        return 0
    if options.name not in known:
        raise unknown_name("sweep", options.name, known)
    module = importlib.import_module(f"tuned_configs.{options.name}")
    return TRAINING_FAILED if module.main(options.rest) else 0


def sweeps() -> dict[str, str]:
    """Name and first line of every sweep that is installed, read without importing them."""
    spec = importlib.util.find_spec("tuned_configs")
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise BadConfig(
            "the sweeps (the package tuned_configs) are not installed; install rllib-ext from its source"
        )
    files = sorted(path for path in Path(places[0]).glob("*.py") if not path.stem.startswith("_"))
    return {path.stem: _first_line(path) for path in files}


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
