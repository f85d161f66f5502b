"""Human-written one-sentence summaries, read from the source files of installed packages.

Files are parsed with ``ast`` and never imported: nothing of the packages runs, packages with broken imports
or GPU requirements still serve, and the result depends on the files alone. What is left out, and why:

- functions inside functions (their qualified names are not unique) and functions that are only a docstring;
- test folders, vendored code and generated protocol files (not written for a reader, or not by a person);
- summaries that no reader of the body could write: links, deprecation notes, headings, signatures.
"""

import ast
import gc
import importlib.util
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from envs.errors import BadData

MAX_FILE_BYTES = 600_000  # longer files are tables written by generators
MAX_BODY_CHARS = 2_000  # what is stored of a body; prompts are cut further by their environment
WORDS = range(3, 21)
QUOTES = '"""'

SKIPPED_FOLDERS = frozenset(
    (
        *("test", "tests", "_internal"),
        *("vendor", "vendored", "_vendor", "third_party", "thirdparty", "thirdparty_files", "node_modules"),
        *("site-packages", "__pycache__"),
    )
)
SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bcf)(?<!\b[A-Z])\.(?=\s|$)")
ROLE = re.compile(r":[a-z][a-z:]*:`(~?)([^`<]+?)(?:\s*<[^>]*>)?`")
QUOTED = re.compile(r"(`{1,2}|\*{1,2})(\S(?:[^`*]*\S)?)\1")
PARAGRAPH_END = re.compile(
    r"\s*$|>>>|[-=~*#]{3}|[:@]\w|[-*] |\.\. "
    r"|(Args?|Arguments|Parameters|Returns?|Raises|Examples?|Notes?):?\s*$"
)
BOILERPLATE = re.compile(
    r"https?:|www\.|\bTODO\b|\bFIXME\b|\bXXX\b|deprecated|copyright|licen[sc]e|docstring|noqa|[{}|\\<>=]"
    r"|^\w+( \w+)?: |^\S+ \(|^[\w.]+\(.*\)|^(see|refer|overrides?|overridden|inherit\w*|same|alias|copied)\b"
    r"|(base|parent) ?class|superclass"
    r"|\b(the|a|an|of|to|and|or|is|are|with|for|in|by|on|that|as|from|\d)\.?$",
    re.IGNORECASE,
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Pair(NamedTuple):
    """A function: its qualified name, its source less the docstring, and the docstring's first sentence."""

    name: str
    body: str
    target: str


def harvest(package: str) -> list[Pair]:
    """All pairs of one installed package, by file path and line; of functions of one name the first."""
    root = package_folder(package)
    if root is None:
        raise BadData(f"package {package!r} is not installed; install it or leave it out of packages")
    pairs: dict[str, Pair] = {}
    collecting = gc.isenabled()
    gc.disable()  # a syntax tree holds no cycles worth hunting; collection would double the time of parsing
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            for path in source_files(root):
                for pair in _pairs_of_file(path, _module_name(package, root, path)):
                    pairs.setdefault(pair.name, pair)
    finally:
        if collecting:
            gc.enable()
    return list(pairs.values())


def package_folder(package: str) -> Path | None:
    """Where a top-level package lies on disk, without importing it; None where it is not installed."""
    if not package.isidentifier():
        raise BadData(f"{package!r} is not the import name of a top-level package, such as 'numpy'")
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module that was put into sys.modules by hand has no spec
        return None
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations and Path(locations[0]).is_dir() else None


def source_files(root: Path) -> Iterator[Path]:
    """Python files under ``root`` that people wrote to be used, sorted by path."""
    for path in sorted(root.rglob("*.py")):
        folders = path.relative_to(root).parts[:-1]
        generated = path.name.endswith(("_pb2.py", "_pb2_grpc.py")) or path.name.startswith("test_")
        if not generated and SKIPPED_FOLDERS.isdisjoint(folders):
            yield path


def first_sentence(docstring: str) -> str | None:
    """The first sentence of a docstring as plain text, or None where it says nothing about the function.

    A first paragraph that runs over several lines is joined before it is cut at its first full stop, because
    a line break inside a sentence is layout. reStructuredText roles and quotes are unwrapped: the words
    remain.
    """
    paragraph: list[str] = []
    for line in inspect.cleandoc(docstring).splitlines():
        if PARAGRAPH_END.match(line):
            if paragraph:
                break
            continue
        paragraph.append(line.strip())
    text = ROLE.sub(lambda m: m[2].rsplit(".", 1)[-1] if m[1] else m[2], " ".join(paragraph))
    text = " ".join(QUOTED.sub(r"\2", QUOTED.sub(r"\2", text)).split())
    end = SENTENCE_END.search(text)
    text = text[: end.end()] if end else text
    return text if _worth_learning(text) else None


def _worth_learning(text: str) -> bool:
    words = text.split()
    return (
        len(words) in WORDS
        and text.isascii()
        and text.isprintable()
        and text[0].isupper()
        and text[-1] not in ":,;(-"
        and sum(word.strip(".,;:()'\"").isalpha() for word in words) >= 0.7 * len(words)
        and not BOILERPLATE.search(text)
    )


def _module_name(package: str, root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def _pairs_of_file(path: Path, module: str) -> Iterator[Pair]:
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_FILE_BYTES or QUOTES.encode() not in raw:
            return
        source = raw.decode("utf-8")
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return  # templates, other dialects and unreadable files are part of real packages
    lines = source.splitlines()
    for name, node in _functions(tree.body, module):
        statement = node.body[0]
        if len(node.body) < 2 or not _is_docstring(statement):
            continue
        target = first_sentence(statement.value.value)  # type: ignore[attr-defined]
        body = _without_docstring(lines, node, statement) if target else None
        if target and body:
            yield Pair(name, body, target)


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Function]]:
    """Functions and methods with their qualified names; ``if``, ``try`` and ``with`` are looked through."""
    for node in body:
        if isinstance(node, Function):
            yield f"{prefix}.{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}.{node.name}")
        elif isinstance(node, ast.If | ast.Try | ast.With):
            for block in ("body", "orelse", "finalbody"):
                yield from _functions(getattr(node, block, []), prefix)


def _is_docstring(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _without_docstring(lines: list[str], node: ast.stmt, docstring: ast.stmt) -> str | None:
    """The function's lines from ``def`` on, less those of the docstring; None where they cannot be told
    apart.

    Bodies with a further triple-quoted text are refused: it would look like the cue that ends a prompt.
    """
    if docstring.end_lineno is None or node.end_lineno is None:
        return None
    before = lines[node.lineno - 1 : docstring.lineno - 1]
    after = lines[docstring.end_lineno : node.end_lineno]
    indent = node.col_offset
    body = "\n".join(line[indent:].rstrip() for line in (*before, *after) if line.strip())
    if not before or QUOTES in body or "'''" in body or not body.isascii():
        return None
    return up_to(body, MAX_BODY_CHARS)


def up_to(text: str, max_chars: int) -> str | None:
    """The longest run of whole first lines within ``max_chars``; None where not even one line fits."""
    if len(text) <= max_chars:
        return text
    cut = text.rfind("\n", 0, max_chars + 1)
    return text[:cut] if cut > 0 else None
