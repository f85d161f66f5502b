"""The rules of the house as functions: a path and a source in, the violations out.

They read syntax trees; nothing is imported and nothing runs. `test_house.py` applies them to the repository
and shows for each that it catches what it is for. The layers are those of CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ("rllib_ext", "envs", "tuned_configs")

# Lowest first. A module imports from lower layers and from its own package, never upward and never sideways.
# Every other folder of rllib_ext is a method; cli and the modules at its root are entry points.
LAYERS = (
    "envs",
    "rllib_ext.functional",
    "rllib_ext.runtime",
    "rllib_ext.frames",
    "rllib_ext.analysis",
    "rllib_ext.llm",
)
METHODS, EXTENSIONS, CONFIGS, ENTRY_POINTS = (len(LAYERS) + above for above in range(4))
# Folders whose method is put on other methods, so that they may import those.
ON_METHODS = frozenset({"elastic_reset"})
# Names, errors and the table of names: everything in rllib_ext above `functional` may import them.
FOUNDATION = ("rllib_ext", "rllib_ext.errors", "rllib_ext.registry")

STDLIB = frozenset(sys.stdlib_module_names)
ENVS_ALWAYS = STDLIB | {"envs", "numpy", "gymnasium", "pettingzoo"}
ENVS_NEVER = frozenset({"torch", "ray", "rllib_ext", "vllm", "transformers"})
FUNCTIONAL_ALWAYS = STDLIB | {"torch", "numpy"}

FILE_LINES = 300
TEST_FILE_LINES = 400  # a test file lists cases; it is read by the case
FUNCTION_LINES = 40  # without the docstring: docstrings argue, and may take the room to
BANNED_STEMS = frozenset({"utils", "util", "helpers", "helper", "common", "misc"})
MACHINE_PATH = re.compile(r"(?<![\w.~}])/(?:work|root|home)/\w")


def package_of(path: Path) -> str:
    """The dotted name of a module from its path relative to the repository."""
    parts = list(path.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> tuple[int, str]:
    """(height, name of the package that may import freely within itself) of a module of the library."""
    for height, layer in enumerate(LAYERS):
        if module == layer or module.startswith(layer + "."):
            return height, layer
    if module == "tuned_configs" or module.startswith("tuned_configs."):
        return CONFIGS, "tuned_configs"
    parts = module.split(".")
    if parts[1] != "cli" and (ROOT / "rllib_ext" / parts[1]).is_dir():
        return EXTENSIONS if parts[1] in ON_METHODS else METHODS, ".".join(parts[:2])
    return ENTRY_POINTS, "entry points"


def imports(module: str, path: Path, source: str) -> Iterator[tuple[str, int, bool]]:
    """(imported module, line, at module level) of every import; ``from a import b`` may be ``a.b``."""
    tree = ast.parse(source)
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                kept = len(parents) - node.level + (path.name == "__init__.py")
                base = ".".join([*parents[:kept], *([base] if base else [])])
            for alias in node.names:
                yield _named(base, alias.name), node.lineno, id(node) in top


def _named(base: str, name: str) -> str:
    """Resolve ``from base import name`` to a module: a submodule, a public name of rllib_ext, or `base`."""
    folder = ROOT.joinpath(*base.split("."))
    if (folder / f"{name}.py").is_file() or (folder / name).is_dir():
        return f"{base}.{name}"
    if base == "rllib_ext":
        from rllib_ext.registry import exports

        return exports().get(name, base).partition(":")[0]
    return base


def upward_imports(path: Path, source: str) -> list[str]:
    """Imports against the direction of the layers, and foreign modules in `envs` and `functional`."""
    module = package_of(path)
    found = []
    for target, line, at_top in imports(module, path, source):
        wrong = _forbidden(module, target, at_top)
        if wrong:
            found.append(f"{path}:{line}: {module} imports {target}: {wrong}")
    return found


def _forbidden(module: str, target: str, at_top: bool) -> str | None:
    """Why `module` may not import `target`, or None."""
    root = target.partition(".")[0]
    if module in FOUNDATION:
        return (
            None if root in STDLIB | {"rllib_ext", "envs"} or not at_top else "only the standard library here"
        )
    height, package = layer_of(module)
    if package == "envs":
        if root in ENVS_NEVER:
            return "environments know no learner"
        return (
            None if root in ENVS_ALWAYS or not at_top else "optional packages are imported inside functions"
        )
    if package == "rllib_ext.functional":
        inside = target.startswith(package)
        return (
            None
            if inside or root in FUNCTIONAL_ALWAYS
            else "pure maths imports torch, numpy and the standard library"
        )
    if root not in LIBRARY or target in FOUNDATION:
        return "tests are not part of the library" if root in ("tests", "benchmarks") else None
    above, other = layer_of(target)
    if other == package or above < height:
        return None
    return "imports go downward only" if above > height else "methods do not import one another"


def long_functions(path: Path, source: str) -> Iterator[tuple[str, int]]:
    """(path:qualified name, lines without the docstring) of every function over the limit."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            name = f"{prefix}{getattr(child, 'name', '')}"
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = child.end_lineno - child.lineno + 1 - docstring_lines(child)
                if lines > FUNCTION_LINES:
                    yield f"{path}:{name}", lines
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            yield from walk(child, f"{name}." if inner else prefix)

    yield from walk(ast.parse(source), "")


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node) is None:
        return 0
    return node.body[0].end_lineno - node.body[0].lineno + 1


def bare_excepts(path: Path, source: str) -> list[str]:
    handlers = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler))
    return [f"{path}:{node.lineno}: bare except" for node in handlers if node.type is None]


def asserts(path: Path, source: str) -> list[str]:
    """`assert` vanishes under ``python -O``; input is checked with errors that say what to do."""
    return [f"{path}:{n.lineno}: assert" for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Assert)]


def waits_without_deadline(path: Path, source: str) -> list[str]:
    """Calls that can wait for ever: ray.get, ray.wait and HTTP requests without ``timeout=``."""
    waiting = {
        "ray": {"get", "wait"},
        "requests": {"get", "post", "put", "request"},
        "httpx": {"get", "post", "request"},
    }
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        name = owner.id if isinstance(owner, ast.Name) else ""
        if node.func.attr in waiting.get(name, ()) and "timeout" not in {k.arg for k in node.keywords}:
            found.append(f"{path}:{node.lineno}: {name}.{node.func.attr}( without timeout=")
    return found


def missing_docstring(path: Path, source: str) -> bool:
    """A public module that holds something opens by saying what it is."""
    public = not path.stem.startswith("_") or path.stem == "__init__"
    return public and bool(source.strip()) and ast.get_docstring(ast.parse(source)) is None


def machine_paths(path: Path, text: str) -> list[str]:
    """Absolute paths of somebody's machine: they are true nowhere else."""
    lines = enumerate(text.splitlines(), start=1)
    return [f"{path}:{number}: {line.strip()[:80]}" for number, line in lines if MACHINE_PATH.search(line)]
