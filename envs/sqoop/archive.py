"""Data sets of SQOOP in files, in the layout of the released ones: written here, read by their code, and the reverse.

    {split}_questions.h5    questions [N, 3] int64 (X, R, Y), programs [N, L], answers [N], image_idxs [N]
    {split}_features.h5     features [N]: PNG files as variable-length bytes
    {split}_scenes.json     where which object stands
    vocab.json              word → token, three times: question, program, answer

Tokens in files begin with seven reserved words, then the glyph classes, then the relations: 47 in all for 36 classes.
Ours (`envs.sqoop.vocabulary`) are those less seven. Programs are left empty (L = 0): they belong to the released
module networks, ours read the question. Pictures of more than three channels (one-hot) have no PNG and are refused.

Reading checks everything that could be of another layout, and names the file, the data set in it and the row. Positions
come from the scenes' file; where a file of another origin has none, they are -1, and so are sizes.

Needs h5py and Pillow (``pip install h5py pillow``).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import BadData, BadEnv
from envs.sqoop.scenes import Scenes
from envs.sqoop.vocabulary import RELATIONS, Ints, glyph_names

RESERVED = ("<NULL>", "<START>", "<END>", "is", "there", "a", "green")
UNKNOWN = -1


def write_archive(folder: str | Path, splits: Mapping[str, Scenes], num_glyphs: int) -> None:
    """Write scenes as ``train``, ``val``, ``test`` or any other name. Raises BadEnv where they cannot be pictures."""
    h5py = _h5py()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    words = vocabulary(num_glyphs)
    (target / "vocab.json").write_text(json.dumps(words, indent=1))
    for split, scenes in splits.items():
        encoded = [_png(picture) for picture in scenes.image]
        with h5py.File(target / f"{split}_questions.h5", "w") as file:
            file["questions"] = scenes.question + len(RESERVED)
            file["programs"] = np.zeros((len(scenes), 0), np.int64)
            file["answers"] = scenes.answer
            file["image_idxs"] = np.arange(len(scenes))
        with h5py.File(target / f"{split}_features.h5", "w") as file:
            kept = file.create_dataset("features", (len(scenes),), h5py.vlen_dtype(np.uint8))
            for row, data in enumerate(encoded):
                kept[row] = np.frombuffer(data, np.uint8)
        (target / f"{split}_scenes.json").write_text(json.dumps(_placed(scenes, num_glyphs)))


def read_archive(folder: str | Path, split: str) -> Scenes:
    """One split of a folder. Raises BadData, naming file and row, where it is not of the layout above."""
    source = Path(folder)
    num_glyphs = _num_glyphs(source / "vocab.json")
    path = source / f"{split}_questions.h5"
    columns = _columns(path)
    question = columns["questions"] - len(RESERVED)
    _check_questions(path, question, columns["answers"], num_glyphs)
    images = _pictures(source / f"{split}_features.h5", columns["image_idxs"])
    positions, shapes, sizes = _objects(source / f"{split}_scenes.json", columns["image_idxs"], num_glyphs)
    _, pair_id = np.unique(question[:, [0, 2]], axis=0, return_inverse=True)
    return Scenes(
        images,
        question,
        columns["answers"],
        pair_id.reshape(-1).astype(np.int64),
        question[:, 1] - num_glyphs,
        positions,
        shapes,
        sizes,
    )


def vocabulary(num_glyphs: int) -> dict[str, dict[str, int]]:
    """What ``vocab.json`` holds."""
    words = (*RESERVED, *glyph_names(num_glyphs), *RELATIONS)
    return {
        "question_token_to_idx": {word: index for index, word in enumerate(words)},
        "program_token_to_idx": {},
        "answer_token_to_idx": {"false": 0, "true": 1},
    }


def _num_glyphs(path: Path) -> int:
    words = _json(path)
    tokens = words.get("question_token_to_idx") if isinstance(words, dict) else None
    count = len(tokens) - len(RESERVED) - len(RELATIONS) if isinstance(tokens, dict) else 0
    if count < 3:
        raise BadData(
            f"{path}: question_token_to_idx must hold 7 reserved words, the glyphs and 4 relations."
        )
    if tokens != vocabulary(count)["question_token_to_idx"]:
        raise BadData(
            f"{path}: the words or their order differ from {', '.join(RESERVED)}, glyphs, relations."
        )
    return count


def _columns(path: Path) -> dict[str, Ints]:
    with _opened(path) as file:
        missing = [name for name in ("questions", "answers", "image_idxs") if name not in file]
        if missing:
            raise BadData(f"{path}: it has no data set {', '.join(missing)}.")
        columns = {name: np.asarray(file[name], np.int64) for name in ("questions", "answers", "image_idxs")}
    rows = len(columns["answers"])
    shapes = {"questions": (rows, 3), "answers": (rows,), "image_idxs": (rows,)}
    for name, shape in shapes.items():
        if columns[name].shape != shape:
            raise BadData(f"{path}: {name} has the shape {columns[name].shape}, not {shape}.")
    return columns


def _check_questions(path: Path, question: Ints, answer: Ints, num_glyphs: int) -> None:
    glyphs, relation = question[:, [0, 2]], question[:, 1]
    wrong = ((glyphs < 0) | (glyphs >= num_glyphs)).any(axis=1)
    wrong |= (relation < num_glyphs) | (relation >= num_glyphs + len(RELATIONS)) | ~np.isin(answer, (0, 1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BadData(
            f"{path}: row {row}: question {(question[row] + len(RESERVED)).tolist()}, answer {answer[row]}: not (glyph, "
            f"relation, glyph) with an answer of 0 or 1; {int(wrong.sum())} of {len(wrong)} rows are like that."
        )


def _pictures(path: Path, rows: Ints) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    with _opened(path) as file:
        if "features" not in file:
            raise BadData(f"{path}: it has no data set features.")
        features = file["features"]
        if len(rows) and (rows.min() < 0 or rows.max() >= len(features)):
            raise BadData(f"{path}: image_idxs go to {rows.max()}, but there are {len(features)} pictures.")
        pictures = []
        for row in rows:
            try:
                with Image.open(io.BytesIO(np.asarray(features[row]).tobytes())) as image:
                    picture = np.asarray(image, np.uint8)
            except (UnidentifiedImageError, OSError) as error:
                raise BadData(f"{path}: features, row {row}: no picture: {error}.") from error
            pictures.append(picture if picture.ndim == 3 else picture[:, :, None])
    if len({picture.shape for picture in pictures}) > 1:
        raise BadData(f"{path}: the pictures have different sizes.")
    return np.stack(pictures)


def _placed(scenes: Scenes, num_glyphs: int) -> list[dict[str, Any]]:
    names = glyph_names(num_glyphs)
    return [
        {
            "objects": [
                {"shape": names[g], "pos": [int(x), int(y)], "size": int(s)} for g, (x, y), s in objects
            ]
        }
        for objects in (
            zip(*row, strict=True) for row in zip(scenes.shapes, scenes.positions, scenes.sizes, strict=True)
        )
    ]


def _objects(path: Path, rows: Ints, num_glyphs: int) -> tuple[Ints, Ints, Ints]:
    """(positions, shapes, sizes) of the rows; -1 where the file does not tell."""
    scenes = _json(path) if path.is_file() else [{"objects": []}] * (int(rows.max(initial=0)) + 1)
    names = {name: index for index, name in enumerate(glyph_names(num_glyphs))}
    try:
        lists = [scenes[row]["objects"] for row in rows]
        most = max((len(objects) for objects in lists), default=0)
        shape = (len(rows), most)
        positions, shapes, sizes = (np.full(s, UNKNOWN, np.int64) for s in ((*shape, 2), shape, shape))
        for row, objects in enumerate(lists):
            for k, one in enumerate(objects):
                shapes[row, k] = names[one["shape"]]
                positions[row, k] = one.get("pos", (UNKNOWN, UNKNOWN))
                sizes[row, k] = one.get("size", UNKNOWN)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadData(f"{path}: not a list of scenes with objects of a known shape: {error!r}.") from error
    return positions, shapes, sizes


def _png(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    if picture.shape[2] not in (1, 3):
        raise BadEnv(f"pictures of {picture.shape[2]} channels cannot be PNG files; use another renderer.")
    buffer = io.BytesIO()
    Image.fromarray(picture if picture.shape[2] == 3 else picture[:, :, 0]).save(buffer, "PNG")
    return buffer.getvalue()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadData(f"{path}: cannot be read as JSON: {error}.") from error


def _opened(path: Path) -> Any:
    try:
        return _h5py().File(path, "r")
    except OSError as error:
        raise BadData(f"{path}: cannot be read as HDF5: {error}.") from error


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise BadData("SQOOP's files need h5py, which is not installed: pip install h5py.") from error
    return h5py
