r'''Docstrings: write the one-sentence summary of a function from its source. Real human text, no download.

| | |
|---|---|
| agents | one: the language model |
| action | a text, the summary |
| observation | a text: signature and body of a function without its docstring, then the cue `"""` |
| reward | of ``reward``; ``RougeL`` against the summary that its author wrote, in [0, 1] |
| episode end | after the one answer |
| splits | "train" 90 %, "validation" 5 %, "test" 5 %, by a hash of the function's qualified name |

Prompt, as a model sees it:

    def mean(values):
        return sum(values) / len(values)
    """

Reference: the first sentence of the docstring ("Return the arithmetic mean."), its markup removed.
``task.id`` is the qualified name, ``info["package"]`` the package. Lines of the body are taken from the top
while they fit in ``max_chars``, cue included; a function whose first line does not fit is left out.

The text is that of the packages that the project itself needs, read from their source files and never
imported. The first use of a package version takes seconds, later ones read a cache
(envs/text/docstring_cache.py).

Splits: the hash is of the name alone, so a function keeps its split across machines and package versions. A
target or a body that occurs in several splits stays in the first that had it: no held-out target was seen in
training. Equal pairs count once, and no target occurs more than three times. Tasks are ordered by that hash,
so the first n of a split are a fair sample of it.

Arguments
    split               one of the above
    packages            import names; None: those of ``PACKAGES`` that are installed
    max_chars           longest prompt, in characters, at least 40
    reward              a ``Reward``; None: ``RougeL()``
    render_mode         None or "ansi"

Version 0: as above. Left out: classes and modules, other languages than English, summaries above 20 words.
'''

import hashlib
from collections import Counter
from collections.abc import Sequence

from envs.errors import BadData, BadEnv
from envs.text.base import TextEnv
from envs.text.docstring_cache import package_pairs
from envs.text.docstring_source import Pair, package_folder, up_to
from envs.text.rewards import Reward, RougeL
from envs.text.task import Task

PACKAGES = ("gymnasium", "networkx", "numpy", "pandas", "pettingzoo", "ray", "scipy", "torch")
SHARES = {"train": 0.90, "validation": 0.05, "test": 0.05}
CUE = '\n"""'
MAX_SAME_TARGET = 3
MIN_CHARS = 40


class Docstrings(TextEnv):
    """Source of a function to the summary of it; the module is the documentation page."""

    def __init__(
        self,
        split: str = "train",
        *,
        packages: Sequence[str] | None = None,
        max_chars: int = 400,
        reward: Reward | None = None,
        render_mode: str | None = None,
    ) -> None:
        if split not in SHARES:
            raise BadEnv(f"split is {split!r}; Docstrings has {', '.join(SHARES)}")
        if max_chars < MIN_CHARS:
            raise BadEnv(f"max_chars is {max_chars}; a signature and the cue need at least {MIN_CHARS}")
        tasks = docstring_tasks(split, packages, max_chars)
        if not tasks:
            raise BadData(
                f"no usable docstring for split {split!r} in packages {packages or PACKAGES} within "
                f"{max_chars} characters; name more packages or raise max_chars"
            )
        super().__init__(tasks, RougeL() if reward is None else reward, render_mode=render_mode)


def docstring_tasks(split: str, packages: Sequence[str] | None, max_chars: int) -> list[Task]:
    """The tasks of one split, in the order of the hash of their names."""
    names = [name for name in PACKAGES if package_folder(name)] if packages is None else packages
    if isinstance(names, str):
        raise BadData(f"packages is the text {names!r}; give a sequence of import names, such as ['numpy']")
    pairs = [pair for name in sorted(set(names)) for pair in package_pairs(name)]
    tasks = []
    for pair in sorted(split_pairs(pairs)[split], key=lambda pair: position(pair.name)):
        body = up_to(pair.body, max_chars - len(CUE))
        if body is not None:
            info = {"package": pair.name.partition(".")[0]}
            tasks.append(Task(id=pair.name, prompt=body + CUE, reference=pair.target, info=info))
    return tasks


def split_pairs(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Pairs by split, deduplicated as the page says. What is kept depends on the order of ``pairs``."""
    splits: dict[str, list[Pair]] = {split: [] for split in SHARES}
    seen: set[tuple[str, str]] = set()
    home: dict[str, str] = {}
    uses: Counter[str] = Counter()
    for pair in pairs:
        split, target = split_of(pair.name), "target " + pair.target.casefold().rstrip(". ")
        known = {home.get(target, split), home.get(pair.body, split)}
        if known != {split} or (pair.body, target) in seen or uses[target] == MAX_SAME_TARGET:
            continue
        home[target] = home[pair.body] = split
        seen.add((pair.body, target))
        uses[target] += 1
        splits[split].append(pair)
    return splits


def split_of(name: str) -> str:
    """The split of a qualified name: where its position falls when the shares are laid end to end."""
    end, place = 0.0, position(name)
    for split, share in SHARES.items():
        end += share
        if place < end:
            return split
    return split


def position(name: str) -> float:
    """A number in [0, 1) that depends on the name alone: the first 48 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48
