"""Whatever a name says, the path lies inside its folder or is refused (reliability.md G5)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chaos.inject import tries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rllib_ext.errors import Untrusted
from rllib_ext.runtime.containment import contained, plain_name

hostile_part = st.one_of(
    st.sampled_from(
        ["..", ".", "~", "~root", "", "C:", "c:\\x", "a", "inside", "out", "loop", "x" * 300, "\0", "\ud800"]
    ),
    st.text(max_size=8),
)
hostile_name = st.one_of(
    st.lists(hostile_part, max_size=5).map("/".join),
    st.lists(hostile_part, max_size=4).map("\\".join),
    st.lists(hostile_part, max_size=4).map(lambda parts: "/" + "/".join(parts)),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a link that stays inside, one that leads out, and one that leads to itself."""
    base = tmp_path_factory.mktemp("contained")
    root = base / "root"
    (root / "a").mkdir(parents=True)
    os.symlink(root / "a", root / "inside")
    os.symlink(base, root / "out")
    os.symlink(root / "loop", root / "loop")
    return root


@pytest.mark.fault("G5")
@settings(max_examples=tries(1000, 2000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=hostile_name)
def test_a_contained_path_is_inside_or_refused(root: Path, name: str) -> None:
    try:
        path = contained(root, name)
    except Untrusted as error:
        assert str(error).isprintable()
    else:
        assert path.is_relative_to(root.resolve()) and path != root.resolve()
        assert os.path.realpath(root / name) == str(path)
    try:
        plain = plain_name(name, "a file")
    except Untrusted:
        pass
    else:
        assert (root / plain).name == plain and plain not in ("..", ".")


@pytest.mark.fault("G5")
def test_honest_names_are_contained(root: Path) -> None:
    for name in (
        "run.json",
        "report/summary.csv",
        "a/b/c",
        "inside/x",
        "step 1 (copy).txt",
        "übung.json",
        "a..b",
    ):
        assert contained(root, name) == (root / name).resolve()
    for name in ("out/x", "out", "loop", "a/../../x", ".", "a/.."):
        with pytest.raises(Untrusted):
            contained(root, name)
