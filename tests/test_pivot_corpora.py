"""The synthetic languages follow their grammar, and parallel text is read whole or with every bad row accounted for."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from envs.errors import BadData
from envs.pivot import grammar, read_parallel
from envs.pivot.grammar import Phrase, Scene
from envs.pivot.lexicon import NOUNS
from envs.pivot.synthetic import CORPORA, SPLITS, corpus, scenes

MAN, DOG, SHEEP, AVOCADO, HOUSE, BANK, SHORE = 0, 4, 7, 10, 18, 22, 23
SEES, HITS, SLEEPS, JUMPS = 0, 6, 8, 10
BLACK, OLD = 1, 5


def phrase(noun: int, adjective: int | None = None, plural: bool = False, definite: bool = True) -> Phrase:
    return Phrase(noun, adjective, plural, definite)


@pytest.mark.parametrize(
    ("scene", "french", "english", "german"),
    [
        (
            Scene(phrase(DOG, BLACK), SEES, True, phrase(AVOCADO, definite=False)),
            "le chien noir a vu un avocat",
            "the black dog saw an avocado",
            "der schwarze hund hat eine avocado gesehen",
        ),
        (
            Scene(phrase(MAN, OLD, definite=False), SEES, False, phrase(DOG, BLACK)),
            "un homme âgé voit le chien noir",
            "an old man sees the black dog",
            "ein alter mann sieht den schwarzen hund",
        ),
        (
            Scene(phrase(DOG, None, True, False), JUMPS, True, None, phrase(HOUSE, OLD, True), 2, True),
            "devant les maisons âgées des chiens ont sauté",
            "before the old houses some dogs jumped",
            "vor den alten häusern sind einige hunde gesprungen",
        ),
        (
            Scene(phrase(SHEEP, definite=False), SLEEPS, False, None, phrase(SHORE), 1),
            "un mouton dort sur la rive",
            "a sheep sleeps on the bank",
            "ein schaf schläft auf dem ufer",
        ),
    ],
)
def test_sentences_by_hand(scene: Scene, french: str, english: str, german: str) -> None:
    said = grammar.french(scene), grammar.english(scene), grammar.german(scene)
    assert said == (french, english, german)


def test_english_is_ambiguous_where_french_is_not() -> None:
    """The reason to drift: two scenes with one usual English sentence and two German ones."""
    pairs = [
        (Scene(phrase(MAN), SLEEPS, False, None, phrase(place), 0) for place in (BANK, SHORE)),
        (Scene(phrase(SHEEP, plural=many), SEES, True, phrase(DOG)) for many in (False, True)),
        (Scene(phrase(MAN, plural=True), HITS, past, phrase(DOG)) for past in (False, True)),
    ]
    for one, other in pairs:
        assert grammar.english(one) == grammar.english(other)
        assert grammar.german(one) != grammar.german(other) and grammar.french(one) != grammar.french(other)
    shore = Scene(phrase(MAN), SLEEPS, False, None, phrase(SHORE), 0)
    assert grammar.english(shore, [0, 0, 1, 0]) == "the man sleeps in the shore"


def test_french_fixes_german() -> None:
    """A sender that says everything can be translated without error: no French sentence has two German ones."""
    german_of = defaultdict(set)
    for row in corpus("french_english", "train", 3000):
        german_of[row["fr"]].add(row["en"])
    assert any(len(found) > 1 for found in german_of.values())  # English has synonyms
    german_of.clear()
    stream = scenes("french_english", "train", 0)
    for scene, _ in (next(stream) for _ in range(3000)):
        german_of[grammar.french(scene)].add(grammar.german(scene))
    assert len(german_of) < 2950 and all(len(found) == 1 for found in german_of.values())


def test_splits_are_disjoint_and_items_do_not_depend_on_the_size() -> None:
    """Every corpus keeps its scenes out of the other splits, so no held-out sentence was ever trained on."""
    held_out = {row["fr"] for split in ("validation", "test") for row in corpus("game", split, 300)}
    assert not held_out & {row["fr"] for row in corpus("game", "train", 2000)}
    assert not held_out & {row["fr"] for row in corpus("french_english", "train", 2000)}
    for name in CORPORA:
        for split, residues in SPLITS.items():
            stream = scenes(name, split, 0)
            assert {next(stream)[0].checksum() % 20 for _ in range(100)} <= set(residues)
    assert corpus("game", "train", 50, seed=3) == corpus("game", "train", 80, seed=3)[:50]
    assert corpus("game", "train", 50, seed=3) != corpus("game", "train", 50, seed=4)


def test_the_domains_differ() -> None:
    """Pretraining text is mostly past and has fewer places than the game's captions."""
    shares = {}
    for name in ("game", "french_english"):
        stream = scenes(name, "train", 0)
        drawn = [next(stream)[0] for _ in range(2000)]
        shares[name] = [sum(s.past for s in drawn) / 2000, sum(s.place is not None for s in drawn) / 2000]
    assert shares["game"] == pytest.approx([0.2, 0.7], abs=0.04)
    assert shares["french_english"] == pytest.approx([0.6, 0.4], abs=0.04)


def test_the_lexicon_has_a_form_for_everything() -> None:
    for noun in NOUNS:
        assert noun.french_gender in "mf" and noun.german_gender in "mfn"
        assert all(len(pair) == 2 and all(pair) for pair in (noun.french, noun.german, *noun.english))
    with pytest.raises(BadData, match="synthetic corpora are game"):
        corpus("gam", "train", 1)


# ----- files


def write(folder: Path, **columns: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in columns.items():
        stem, _, language = name.rpartition("_")
        (folder / f"{stem}.{language}").write_bytes(text.encode("utf-8"))
    return folder


def test_aligned_files_are_read_by_split(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "m30k",
        train_fr="un\ndeux\n",
        train_en="one\ntwo\n",
        train_de="eins\nzwei",
        val_fr="trois\n",
        val_en="three\n",
        val_de="drei\n",
    )
    rows, report = read_parallel(folder, ("fr", "en", "de"), "train")
    assert rows == [{"fr": "un", "en": "one", "de": "eins"}, {"fr": "deux", "en": "two", "de": "zwei"}]
    assert read_parallel(folder, ("fr", "de"), "validation")[0] == [{"fr": "trois", "de": "drei"}]
    assert (report.total, report.accepted) == (2, 2)
    with pytest.raises(BadData, match="no file of the split 'test'"):
        read_parallel(folder, ("fr", "en"), "test")


def test_a_blank_or_broken_line_is_quarantined_with_its_number(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", train_fr="un\n\ntrois\n", train_en="one\ntwo\nthree\n")
    (folder / "train.en").write_bytes(b"one\ntwo\n\xff three\n")
    rows, report = read_parallel(
        folder, ("fr", "en"), "train", max_bad_rows=1.0, quarantine=tmp_path / "bad.jsonl"
    )
    assert rows == [{"fr": "un", "en": "one"}]
    assert [index for index, _ in report.quarantined] == [1, 2]
    listed = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert "'fr' is blank" in listed[0]["reason"] and "'en' holds invalid UTF-8" in listed[1]["reason"]
    with pytest.raises(BadData, match="2 of 3 rows"):
        read_parallel(folder, ("fr", "en"), "train")


def test_files_of_different_length_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", train_fr="un\ndeux\n", train_en="one\n")
    with pytest.raises(BadData, match=r"train\.fr 2, train\.en 1"):
        read_parallel(folder, ("fr", "en"), "train")
    with pytest.raises(BadData, match=r"train\.de cannot be read"):
        read_parallel(folder, ("fr", "de"), "train")


def test_columns_and_the_hubs_translation_column(tmp_path: Path) -> None:
    plain = [{"fr": "un", "en": "one"}, {"fr": "deux\ntrois", "en": "two"}, {"fr": 3, "en": None}]
    rows, report = read_parallel(plain, ("fr", "en"), "all", max_bad_rows=1.0)
    assert rows == [{"fr": "un", "en": "one"}]
    reasons = [reason for _, reason in report.quarantined]
    assert reasons == ["column 'fr' holds a line break", "column 'en' is null"]
    path = tmp_path / "iwslt.jsonl"
    lines = [
        {"translation": {"fr": "un", "en": "one", "de": "x"}},
        {"translation": {"fr": "deux"}},
        {"translation": 1},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, report = read_parallel(path, ("fr", "en"), "all", max_bad_rows=1.0)
    assert rows == [{"fr": "un", "en": "one"}]
    assert [index for index, _ in report.quarantined] == [1, 2]
