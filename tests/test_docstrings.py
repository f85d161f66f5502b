"""Docstrings: what is read from source files, what is left out, and how the splits are made."""

import math
from collections import Counter

import pytest

from envs.errors import BadData, BadEnv
from envs.text import Docstrings, Sample
from envs.text.docstring_source import MAX_BODY_CHARS, Pair, first_sentence, harvest
from envs.text.docstrings import (
    CUE,
    MAX_SAME_TARGET,
    SHARES,
    docstring_tasks,
    position,
    split_of,
    split_pairs,
)

SOURCE = '''
"""A module docstring that is no pair."""
import sys
sys.exit("importing this file would end the test run")

def mean(values, *, weights=None):
    """Return the arithmetic mean.

    More words.
    """
    # a comment stays
    total = sum(values)

    return total / len(values)

class Shelf:
    """A class docstring is no pair."""

    async def put(
        self,
        book: str,
    ) -> None:
        """
        Put a ``book`` at the end of :class:`~library.Shelf`, which
        makes it the last one.  Further sentences are left out.
        """
        self.books.append(book)

    @property
    def size(self):
        """Number of books on the shelf."""
        return len(self.books)

    @size.setter
    def size(self, value):
        """Change the number of books on the shelf."""
        del self.books[value:]

if sys.platform:
    try:
        def guarded(x):
            """Return the doubled value of x."""
            return 2 * x
    except ImportError:
        pass

def outer():
    def inner():
        """Functions inside functions are left out."""
        return 1
    return inner

def only_documented():
    """Say something without doing anything."""

def on_one_line(): "Do not split what shares a line."; return 1

def quoting(path):
    """Write a template to a path."""
    return """text in triple quotes"""
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a package named ``tinydocs`` and points the cache into the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files):
        folder = tmp_path / "tinydocs"
        folder.mkdir(exist_ok=True)
        for name, text in {"__init__": "", **files}.items():
            path = folder / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return "tinydocs"

    return write


def functions(count, target="Return {n} as a word."):
    return "\n".join(
        f'def number_{n}(x):\n    """{target.format(n=n)}"""\n    return x + {n}\n' for n in range(count)
    )


def test_pairs_are_read_from_the_source_and_nothing_is_imported(package):
    pairs = {pair.name: pair for pair in harvest(package(library=SOURCE))}
    assert {name: pair.target for name, pair in pairs.items()} == {
        "tinydocs.library.mean": "Return the arithmetic mean.",
        "tinydocs.library.Shelf.put": "Put a book at the end of Shelf, which makes it the last one.",
        "tinydocs.library.Shelf.size": "Number of books on the shelf.",
        "tinydocs.library.guarded": "Return the doubled value of x.",
    }
    assert pairs["tinydocs.library.mean"].body == (
        "def mean(values, *, weights=None):\n"
        "    # a comment stays\n"
        "    total = sum(values)\n"
        "    return total / len(values)"
    )
    assert pairs["tinydocs.library.Shelf.put"].body == (
        "async def put(\n    self,\n    book: str,\n) -> None:\n    self.books.append(book)"
    )
    assert pairs["tinydocs.library.guarded"].body == "def guarded(x):\n    return 2 * x"


def test_unreadable_and_foreign_files_are_passed_over(package, tmp_path):
    good = functions(1)
    name = package(good=good, broken="def f(:\n" + good, thing_pb2=good, test_thing=good, tests__in__a=good)
    (tmp_path / "tinydocs" / "latin.py").write_bytes(b'# \xff\n"""' + good.encode())
    (tmp_path / "tinydocs" / "folder.py").mkdir()
    assert [pair.name for pair in harvest(name)] == ["tinydocs.good.number_0"]


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return the sum of values.", "Return the sum of values."),
        ("Return the sum\nof all values", "Return the sum of all values"),
        (
            "\n    Return the sum of values, e.g. of prices.  More.\n",
            "Return the sum of values, e.g. of prices.",
        ),
        ("Return it as version 1.5 of the file.", "Return it as version 1.5 of the file."),
        ("Return a `value` and **another** one.", "Return a value and another one."),
        ("Return the :py:func:`text <module.function>` of it.", "Return the text of it."),
        ("Return the :meth:`~a.b.close` of it.", "Return the close of it."),
        ("Return the sum of values.\nArgs:\n    values: numbers", "Return the sum of values."),
        ("Return the sum of values\n:param values: numbers", "Return the sum of values"),
        ("Two words.", None),
        ("Return " + "very " * 19 + "much.", None),
        ("return the sum of values.", None),
        ("Return the value, see https://example.org for more.", None),
        ("TODO write what this returns", None),
        ("Deprecated, call the other function.", None),
        ("See the base class for this one.", None),
        ("Args:\n    values: the numbers to add", None),
        ("input_ids (torch.Tensor): Indices of tokens in the vocabulary.", None),
        ("Note: this is only a heading.", None),
        ("Returns one of the following:", None),
        ("Corrects the predictions relative to the", None),
        ("sum(values, start) -> number of values", None),
        (">>> sum([1, 2])\n3", None),
        ("Gibt die Zahl zur\u00fcck, die gemeint ist.", None),
        ("x = y | z and a < b", None),
        ("", None),
        ("\x1b[31m Return the red value.", None),
    ],
)
def test_first_sentences(docstring, sentence):
    assert first_sentence(docstring) == sentence


def test_the_prompt_is_source_and_cue_and_the_reference_scores_one(package):
    env = Docstrings(split=split_of("tinydocs.library.mean"), packages=[package(library=SOURCE)])
    task = next(task for task in map(env.task, range(env.num_tasks)) if task.id.endswith("mean"))
    assert task.prompt.startswith("def mean(values, *, weights=None):\n    # a comment")
    assert task.prompt.endswith('return total / len(values)\n"""') and CUE == '\n"""'
    assert task.reference == "Return the arithmetic mean." and task.info == {"package": "tinydocs"}
    env.reset(options={"index": [env.task(i).id for i in range(env.num_tasks)].index(task.id)})
    assert env.step("return: the ARITHMETIC mean")[1:4] == (1.0, True, False)


def test_prompts_are_cut_between_lines(package):
    name = package(library=SOURCE)
    whole = {t.id: t.prompt for split in SHARES for t in docstring_tasks(split, [name], 400)}
    for max_chars in range(40, 200, 7):
        for split in SHARES:
            for task in docstring_tasks(split, [name], max_chars):
                body = task.prompt.removesuffix(CUE)
                assert len(task.prompt) <= max_chars
                assert whole[task.id].startswith(body) and whole[task.id][len(body)] == "\n"
    # "async def put(" fits everywhere; a first line that does not fit leaves its function out
    assert {t.id for split in SHARES for t in docstring_tasks(split, [name], 40)} == set(whole)
    long = package(library="def " + "f" * 60 + '(x):\n    """Return the same value again."""\n    return x\n')
    assert all(docstring_tasks(split, [long], 40) == [] for split in SHARES)


def test_bodies_are_stored_up_to_a_bound(package):
    lines = "".join(f"    x += {n}\n" for n in range(1000))
    name = package(library=f'def long(x):\n    """Add many numbers to x."""\n{lines}    return x\n')
    (pair,) = harvest(name)
    assert MAX_BODY_CHARS - 20 < len(pair.body) <= MAX_BODY_CHARS and pair.body.splitlines()[-1].startswith(
        "    x += "
    )


@pytest.mark.parametrize(
    ("name", "place", "split"),
    [
        ("torch.nn.functional.relu", 0.020394, "train"),
        ("numpy.mean", 0.918735, "validation"),
        ("package.function_15", 0.954126, "test"),
    ],
)
def test_the_split_of_a_name_never_changes(name, place, split):
    assert position(name) == pytest.approx(place, abs=1e-6) and split_of(name) == split


def test_splits_have_their_shares_and_do_not_overlap():
    pairs = [Pair(f"package.function_{n}", f"body {n}", f"target {n}") for n in range(20_000)]
    splits = split_pairs(pairs)
    assert sum(map(len, splits.values())) == len(pairs)
    for split, share in SHARES.items():
        spread = 4 * math.sqrt(share * (1 - share) / len(pairs))
        assert abs(len(splits[split]) / len(pairs) - share) < spread
        assert {pair.name for pair in splits[split]} == {
            pair.name for pair in pairs if split_of(pair.name) == split
        }


def test_equal_pairs_count_once_and_frequent_targets_are_capped():
    pairs = [Pair(f"a.{n}", "same body", "Same target here.") for n in range(100)]
    assert sum(map(len, split_pairs(pairs).values())) == 1
    pairs = [Pair(f"a.{n}", f"body {n}", "Same Target here" + "." * (n % 2)) for n in range(1000)]
    assert sum(map(len, split_pairs(pairs).values())) == MAX_SAME_TARGET


def test_no_target_and_no_body_is_in_two_splits():
    pairs = [Pair(f"a.{n}", f"body {n % 400}", f"Target number {n % 300}.") for n in range(5000)]
    splits = split_pairs(pairs)
    for field in (1, 2):
        seen = [{pair[field] for pair in kept} for kept in splits.values()]
        assert len(set.union(*seen)) == sum(map(len, seen))


def test_the_order_of_packages_does_not_matter(package, tmp_path):
    name = package(library=functions(30))
    (tmp_path / "otherdocs").mkdir()
    (tmp_path / "otherdocs" / "__init__.py").write_text(functions(30, "Return {n} as a word."))
    one = docstring_tasks("train", [name, "otherdocs"], 200)
    assert one == docstring_tasks("train", ["otherdocs", name, name], 200) and len(one) > 20


def test_arguments_that_cannot_be_are_refused(package):
    name = package(library=SOURCE)
    for arguments, error, message in [
        ({"split": "dev"}, BadEnv, "train, validation, test"),
        ({"max_chars": 39}, BadEnv, "at least 40"),
        ({"packages": ["no_such_package"]}, BadData, "not installed"),
        ({"packages": "numpy"}, BadData, "sequence"),
        ({"packages": ["os.path"]}, BadData, "import name"),
        ({"packages": []}, BadData, "no usable docstring"),
    ]:
        with pytest.raises(error, match=message):
            Docstrings(**{"split": "train", "packages": [name], **arguments})


def test_the_installed_packages_give_ten_thousand_pairs():
    """On the user's own cache: the first run on a machine reads the packages, which takes under a minute."""
    envs = {split: Docstrings(split=split) for split in SHARES}
    tasks = {split: [env.task(i) for i in range(env.num_tasks)] for split, env in envs.items()}
    together = [task for of_split in tasks.values() for task in of_split]
    assert len(together) >= 10_000
    assert {split_of(task.id) for task in tasks["validation"]} == {"validation"}
    assert min(len(tasks["validation"]), len(tasks["test"])) >= 400
    assert len({task.id for task in together}) == len(together)
    targets = {split: {task.reference for task in of_split} for split, of_split in tasks.items()}
    assert targets["train"].isdisjoint(targets["test"] | targets["validation"])
    assert targets["test"].isdisjoint(targets["validation"])
    assert max(Counter(task.reference for task in together).values()) <= MAX_SAME_TARGET
    for task in together:
        assert task.prompt.isascii() and task.prompt.endswith(CUE) and len(task.prompt) <= 400
        assert 3 <= len(task.reference.split()) <= 20 and task.reference.isprintable()
    first = Counter(task.info["package"] for task in tasks["validation"][:200])
    assert len(first) >= 4, "the first tasks of a split are a mixture of the packages"
    scores = envs["test"].reward.score([Sample(task, task.reference) for task in tasks["test"]])
    assert scores == [1.0] * len(scores)
