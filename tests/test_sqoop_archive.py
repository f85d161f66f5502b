"""SQOOP's files: the released layout, round trips, and files of another layout refused with their row."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from envs.errors import BadData, BadEnv
from envs.sqoop import Scenes, SqoopGenerator
from envs.sqoop.archive import read_archive, vocabulary, write_archive


@pytest.fixture
def scenes() -> Scenes:
    generator = SqoopGenerator.preset("mini")
    return generator.sample(generator.pairs(1, 0).train, 24, 1)


@pytest.mark.parametrize("preset", ["mini", "paper"])
def test_what_is_written_is_read(tmp_path: Path, preset: str) -> None:
    generator = SqoopGenerator.preset(preset)
    pairs = generator.pairs(1, 0)
    splits = {"train": generator.sample(pairs.train, 24, 1), "val": generator.sample(pairs.unseen_val, 8, 1)}
    write_archive(tmp_path, splits, generator.num_glyphs)
    for split, wanted in splits.items():
        found = read_archive(tmp_path, split)
        for name, values in wanted.arrays().items():
            if (
                name != "pair_id"
            ):  # of which pairs it was drawn is in no file; the same pair has the same number
                assert (found.arrays()[name] == values).all() and found.arrays()[name].dtype == values.dtype
        same = found.pair_id[:, None] == found.pair_id
        assert (same == (wanted.question[:, [0, 2]][:, None] == wanted.question[:, [0, 2]]).all(-1)).all()


def test_the_layout_is_the_released_one(tmp_path: Path) -> None:
    generator = SqoopGenerator.preset("paper")
    scenes = generator.sample(generator.pairs(1, 0).train, 8, 1)
    write_archive(tmp_path, {"train": scenes}, 36)
    words = json.loads((tmp_path / "vocab.json").read_text())["question_token_to_idx"]
    assert len(words) == 47 and words["Y"] == 31 and words["H"] == 14 and words["left_of"] == 43
    with h5py.File(tmp_path / "train_questions.h5") as file:
        assert file["questions"].shape == (8, 3) and file["questions"].dtype == np.int64
        assert file["questions"][:, 1].min() >= 43 and set(file["answers"][:]) == {0, 1}
        assert {"programs", "image_idxs"} <= set(file)
    with h5py.File(tmp_path / "train_features.h5") as file:
        assert bytes(file["features"][0])[:4] == b"\x89PNG"


def test_files_of_another_layout_are_refused_by_file_and_row(tmp_path: Path, scenes: Scenes) -> None:
    def broken(change, match: str) -> None:
        write_archive(tmp_path, {"train": scenes}, 8)
        change()
        with pytest.raises(BadData, match=match):
            read_archive(tmp_path, "train")

    def in_questions(name: str, values) -> None:
        with h5py.File(tmp_path / "train_questions.h5", "a") as file:
            del file[name]
            if values is not None:
                file[name] = values

    tokens = scenes.question + 7
    tokens[5, 0] = 3
    answers = scenes.answer.copy()
    answers[7] = 2
    broken(lambda: in_questions("questions", tokens), "train_questions.h5: row 5.*1 of 24")
    broken(lambda: in_questions("answers", answers), "row 7")
    broken(lambda: in_questions("answers", answers[:9]), "shape")
    broken(lambda: in_questions("image_idxs", None), "image_idxs")
    broken(lambda: in_questions("image_idxs", np.arange(24) + 1), "24.*24 pictures")
    broken(lambda: (tmp_path / "train_features.h5").write_bytes(b"nothing"), "HDF5")
    broken(lambda: (tmp_path / "vocab.json").write_text("{"), "JSON")
    words = vocabulary(8)
    words["question_token_to_idx"]["A"], words["question_token_to_idx"]["B"] = 8, 7
    broken(lambda: (tmp_path / "vocab.json").write_text(json.dumps(words)), "order")
    broken(lambda: (tmp_path / "train_scenes.json").write_text('[{"objects": [{"shape": "?"}]}]'), "scenes")

    def no_picture() -> None:
        with h5py.File(tmp_path / "train_features.h5", "a") as file:
            file["features"][3] = np.frombuffer(b"not a picture", np.uint8)

    broken(no_picture, "row 3")


def test_without_the_scenes_file_positions_are_unknown_and_the_rest_is_there(
    tmp_path: Path, scenes: Scenes
) -> None:
    write_archive(tmp_path, {"train": scenes}, 8)
    (tmp_path / "train_scenes.json").unlink()
    found = read_archive(tmp_path, "train")
    assert found.positions.shape == (24, 0, 2) and (found.image == scenes.image).all()


def test_pictures_of_many_channels_are_refused(tmp_path: Path) -> None:
    generator = SqoopGenerator.preset("mini", renderer="onehot")
    with pytest.raises(BadEnv, match="channels"):
        write_archive(tmp_path, {"train": generator.sample(generator.pairs(1, 0).train, 2, 0)}, 8)
