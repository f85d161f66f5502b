"""The house rules hold everywhere in the repository, and each rule catches what it is for."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import house_rules as rules
import pytest
from house_rules import ROOT

from rllib_ext import registry

# Functions over 40 lines: "path:name" → why it is one piece. Files over 300 lines: path → why.
LONG_FUNCTIONS: dict[str, str] = {}
LONG_FILES: dict[str, str] = {}


@cache
def repository_files() -> tuple[Path, ...]:
    """Paths, relative to the repository, of what is or would be committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        ).stdout
        paths = [Path(line) for line in listed.splitlines()]
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive without git
        inside = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        paths = [
            path for path in inside if not any(part.startswith((".", "__pycache__")) for part in path.parts)
        ]
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


def sources(*folders: str) -> list[tuple[Path, str]]:
    """(path, text) of the Python files in these folders."""
    chosen = [path for path in repository_files() if path.suffix == ".py" and path.parts[0] in folders]
    return [(path, (ROOT / path).read_text(encoding="utf-8")) for path in chosen]


def violations(rule, *folders: str) -> list[str]:
    return [found for path, source in sources(*folders) for found in rule(path, source)]


def test_the_listing_is_not_empty() -> None:
    packages = {path.parts[0] for path, _ in sources(*rules.LIBRARY, "tests")}
    assert {"rllib_ext", "envs", "tests"} <= packages


def test_imports_go_downward() -> None:
    assert violations(rules.upward_imports, *rules.LIBRARY) == []


def test_files_are_short() -> None:
    limits = dict.fromkeys(rules.LIBRARY, rules.FILE_LINES) | dict.fromkeys(
        ("tests", "benchmarks"), rules.TEST_FILE_LINES
    )
    sizes = {str(path): (len(text.splitlines()), limits[path.parts[0]]) for path, text in sources(*limits)}
    long = {path for path, (lines, limit) in sizes.items() if lines > limit}
    assert long == set(LONG_FILES), (
        "split it, or list it in LONG_FILES with a reason; take out what is short again"
    )


def test_functions_are_short() -> None:
    long = {name for path, text in sources(*rules.LIBRARY) for name, _ in rules.long_functions(path, text)}
    assert long == set(LONG_FUNCTIONS), "split it, or list it in LONG_FUNCTIONS with a reason"


def test_no_file_is_named_after_nothing() -> None:
    assert [str(p) for p in repository_files() if {*p.parts[:-1], p.stem} & rules.BANNED_STEMS] == []


def test_every_module_says_what_it_is() -> None:
    everywhere = sources(*rules.LIBRARY, "tests", "benchmarks")
    assert [str(path) for path, source in everywhere if rules.missing_docstring(path, source)] == []


def test_no_bare_except() -> None:
    assert violations(rules.bare_excepts, *rules.LIBRARY, "tests", "benchmarks") == []


def test_no_assert_outside_tests() -> None:
    assert violations(rules.asserts, *rules.LIBRARY, "benchmarks") == []


def test_every_wait_has_a_deadline() -> None:
    assert violations(rules.waits_without_deadline, *rules.LIBRARY, "tests", "benchmarks") == []


def test_no_machine_paths() -> None:
    found = []
    for path in repository_files():
        data = (ROOT / path).read_bytes()
        if b"\0" not in data[:4096]:
            found += rules.machine_paths(path, data.decode("utf-8", errors="replace"))
    assert found == []


@pytest.mark.parametrize("document", ["README.md", "SECURITY.md", "CONTRIBUTING.md"])
def test_documents_name_files_that_exist(document: str) -> None:
    named = re.findall(
        r"`((?:tests|benchmarks|scripts|rllib_ext)/[\w*/]+\.\w+)`", (ROOT / document).read_text()
    )
    assert [pattern for pattern in named if not list(ROOT.glob(pattern))] == []


def test_readme_and_table_of_names_agree() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    tables = (
        registry.ALGORITHMS,
        registry.STAGES,
        registry.TRAINABLES,
        registry.ENVIRONMENTS,
        registry.GAMES,
        registry.GYMNASIUM,
    )
    assert sorted(rows) == sorted(name for table in tables for name in table)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("envs/text/task.py", "import torch"),
        ("envs/text/task.py", "def load():\n    from rllib_ext.errors import BadConfig"),
        ("envs/text/task.py", "import datasets"),
        ("rllib_ext/functional/masking.py", "import ray"),
        ("rllib_ext/functional/masking.py", "from rllib_ext.errors import BadConfig"),
        ("rllib_ext/functional/masking.py", "from ..llm import batch"),
        ("rllib_ext/runtime/checkpoint.py", "from rllib_ext.llm.config import LLMConfig"),
        ("rllib_ext/runtime/checkpoint.py", "from rllib_ext import llm"),
        ("rllib_ext/analysis/plots.py", "def f():\n    import rllib_ext.online_dpo"),
        ("rllib_ext/llm/learner.py", "from rllib_ext import AsyncOnlineDPOConfig"),
        ("rllib_ext/llm/learner.py", "from tuned_configs import offpolicyness"),
        ("rllib_ext/rloo/learner.py", "from rllib_ext.online_dpo import learner"),
        ("rllib_ext/rloo/__init__.py", "from ..online_dpo import AsyncOnlineDPO"),
        ("rllib_ext/rloo/learner.py", "import rllib_ext.cli"),
        ("rllib_ext/rloo/learner.py", "from rllib_ext.elastic_reset import learner"),
        ("rllib_ext/elastic_reset/llm.py", "from tuned_configs import offpolicyness"),
        ("tuned_configs/offpolicyness.py", "from rllib_ext.cli import main"),
        ("rllib_ext/llm/learner.py", "from tests import conftest"),
        ("rllib_ext/registry.py", "import ray"),
    ],
)
def test_wrong_imports_are_caught(path: str, source: str) -> None:
    assert len(rules.upward_imports(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("envs/text/tldr.py", "import numpy\nfrom envs.errors import BadData\ndef f():\n    import datasets"),
        ("rllib_ext/functional/preference.py", "import torch\nfrom rllib_ext.functional import masking"),
        ("rllib_ext/rloo/learner.py", "from .config import X\nfrom rllib_ext.llm import learner\nimport ray"),
        ("rllib_ext/elastic_reset/llm.py", "from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig"),
        ("rllib_ext/llm/config.py", "from rllib_ext import registry\nfrom rllib_ext.errors import BadConfig"),
        ("rllib_ext/cli.py", "from rllib_ext import doctor, online_dpo\nimport tuned_configs"),
        ("tuned_configs/offpolicyness.py", "from rllib_ext import AsyncOnlineDPOConfig, register"),
    ],
)
def test_right_imports_are_let_through(path: str, source: str) -> None:
    assert rules.upward_imports(Path(path), source) == []


def test_the_other_rules_catch_what_they_are_for() -> None:
    here = Path("rllib_ext/x.py")
    assert rules.bare_excepts(here, "try:\n    f()\nexcept:\n    g()")
    assert not rules.bare_excepts(here, "try:\n    f()\nexcept ValueError:\n    g()")
    assert rules.asserts(here, "def f(x):\n    assert x > 0")
    assert rules.waits_without_deadline(here, "ray.get(f.remote())")
    assert rules.waits_without_deadline(here, "ray.wait([f.remote()], num_returns=1)")
    assert not rules.waits_without_deadline(here, "ray.get(f.remote(), timeout=5)\nqueue.get()")
    assert rules.missing_docstring(here, "x = 1")
    assert not rules.missing_docstring(Path("envs/__init__.py"), "")
    assert rules.machine_paths(here, "cd /" + "root/x")
    assert rules.machine_paths(here, 'folder = "/' + 'home/me/models"')
    assert not rules.machine_paths(here, "https://example.org/" + "home/page and frame/" + "work/x")


def test_function_length_leaves_the_docstring_out() -> None:
    body = "\n".join(f"        x{i} = {i}" for i in range(39))
    docstring = '        """One.\n\n        Two.\n        """\n'
    short = f"class A:\n    def f(self):\n{docstring}{body}\n"
    assert list(rules.long_functions(Path("a.py"), short)) == []
    assert list(rules.long_functions(Path("a.py"), short + "        x = 0\n")) == [("a.py:A.f", 41)]
