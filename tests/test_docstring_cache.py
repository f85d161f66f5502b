"""The cache of docstrings: read once per version, rebuilt when it does not verify, never required."""

import json
import logging
import os

import pytest

from envs.errors import BadData
from envs.text import docstring_cache
from envs.text.docstring_cache import cache_folder, package_pairs

SOURCE = "\n".join(
    f'def number_{n}(x):\n    """Return x and {n} as a sum."""\n    return x + {n}\n' for n in range(20)
)


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "cacheddocs"
    folder.mkdir()
    (folder / "__init__.py").write_text(SOURCE)
    return folder


@pytest.fixture
def harvests(monkeypatch):
    """The packages that were read from their sources."""
    read, real = [], docstring_cache.harvest
    monkeypatch.setattr(docstring_cache, "harvest", lambda name: read.append(name) or real(name))
    return read


def cache_files():
    return sorted(cache_folder().iterdir())


def test_a_version_is_read_once(package, harvests):
    first = package_pairs("cacheddocs")
    assert package_pairs("cacheddocs") == first and len(first) == 20
    assert harvests == ["cacheddocs"]
    (file,) = cache_files()
    assert file.name.startswith("cacheddocs-") and file.suffix == ".jsonl"


def test_changed_files_without_a_version_are_read_again(package, harvests):
    package_pairs("cacheddocs")
    (package / "__init__.py").write_text(SOURCE.replace("number_3", "number_three"))
    assert "cacheddocs.number_three" in {pair.name for pair in package_pairs("cacheddocs")}
    assert len(harvests) == 2


def test_another_version_or_format_is_another_file(package, harvests, monkeypatch):
    for version in ("1.0", "2.0+local/..\x00"):
        monkeypatch.setattr(docstring_cache.metadata, "version", lambda name, version=version: version)
        package_pairs("cacheddocs")
        package_pairs("cacheddocs")
    monkeypatch.setattr(docstring_cache, "FORMAT", docstring_cache.FORMAT + 1)
    package_pairs("cacheddocs")
    assert len(harvests) == 3 and len(cache_files()) == 3


def damages():
    yield "empty", lambda data: b""
    yield "not JSON", lambda data: b"\x80\x04pickle?"
    yield "a list as head", lambda data: b"[1]\n" + data.partition(b"\n")[2]
    yield "another head", lambda data: b'{"pairs": 20, "sha256": "0"}\n' + data.partition(b"\n")[2]
    yield "no head", lambda data: data.partition(b"\n")[2]
    for share in (0.01, 0.3, 0.999):
        yield f"cut at {share}", lambda data, share=share: data[: int(len(data) * share)]
    for share in (0.2, 0.5, 0.99):
        yield f"bit {share}", lambda data, share=share: flipped(data, int(len(data) * share))


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(("damage"), [pytest.param(how, id=name) for name, how in damages()])
def test_a_damaged_file_is_rebuilt_and_said_so(package, harvests, caplog, damage):
    good = package_pairs("cacheddocs")
    (file,) = cache_files()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    with caplog.at_level(logging.WARNING):
        assert package_pairs("cacheddocs") == good
    assert "does not verify" in caplog.text and len(harvests) == 2
    assert file.read_bytes() == whole and len(cache_files()) == 1
    assert package_pairs("cacheddocs") == good and len(harvests) == 2


def test_a_wrong_count_under_a_right_hash_is_refused(package, harvests):
    package_pairs("cacheddocs")
    (file,) = cache_files()
    head, _, body = file.read_bytes().partition(b"\n")
    file.write_bytes(json.dumps({**json.loads(head), "pairs": 19}).encode() + b"\n" + body)
    assert len(package_pairs("cacheddocs")) == 20 and len(harvests) == 2


def test_a_cache_that_cannot_be_written_costs_time_only(package, harvests, caplog, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert len(package_pairs("cacheddocs")) == len(package_pairs("cacheddocs")) == 20
    assert "cannot be written" in caplog.text and len(harvests) == 2


def test_a_write_that_is_cut_short_leaves_no_file(package, monkeypatch, caplog):
    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    assert len(package_pairs("cacheddocs")) == 20
    assert cache_files() == [] and "No space left" in caplog.text


@pytest.mark.parametrize(("value", "inside"), [("", ".cache"), ("relative/path", ".cache")])
def test_the_folder_falls_back_to_the_home_folder(monkeypatch, tmp_path, value, inside):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder() == tmp_path / inside / "rllib_ext" / "docstrings"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "rllib_ext" / "docstrings"


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(BadData, match="'no_such_package' is not installed"):
        package_pairs("no_such_package")
