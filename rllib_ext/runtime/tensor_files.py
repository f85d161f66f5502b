"""One group of tensors as one safetensors file, with a header that is checked before any library touches the
data.

The format (https://github.com/huggingface/safetensors, "Format"): eight bytes of little-endian header length
N, N bytes of JSON ``{name: {"dtype", "shape", "data_offsets": [begin, end]}}``, then the data. The library
writes and reads the tensors. The header is checked here first, because a file from elsewhere may announce a
header of a gigabyte, tensors that overlap, or shapes whose product overflows; the check costs memory in
proportion to the *header* alone.

A tensor's ``spec`` is its type and shape as one word, ``BF16[64,256]``; the manifest records it.

Left out: sparse, quantised and distributed tensors (gather or densify them first), and sub-byte and
complex128 types, which the library does not read back into torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save_file

from rllib_ext.runtime.json_values import NotStorable, decode
from rllib_ext.runtime.storage import fsync, os_error_in

MAX_HEADER_BYTES = 8 * 2**20
MAX_TENSORS = 40_000
_MAX_ELEMENTS = 2**60

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Writes and flushes one group, and returns the specs of what was written.

    Tensors that share memory (tied embeddings) are written once each and come back independent: who ties
    them ties them again. Non-contiguous and conjugated tensors are laid out first; GPU tensors are copied to
    the host.
    """
    ready = _storable(tensors, path.stem)
    try:
        save_file(ready, path)
    except SafetensorError as error:
        raise os_error_in(error) from error
    with open(path, "rb") as stream:
        if int.from_bytes(stream.read(8), "little") > MAX_HEADER_BYTES:
            raise NotStorable(
                f"group {path.stem!r} has too many or too long names. Split it or shorten them."
            )
    fsync(path)
    return {name: spec_of(tensor) for name, tensor in ready.items()}


def read_tensors(data: bytes, specs: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """The tensors of a file whose header was checked, in the order of ``specs``, which they must match."""
    try:
        tensors = load_safetensors(data)
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ValueError(f"safetensors cannot read it: {error}") from error
    if {name: spec_of(tensor) for name, tensor in tensors.items()} != dict(specs):
        raise ValueError("its tensors differ in name, type or shape from those that were saved")
    return {name: tensors[name] for name in specs}


def spec_of(tensor: torch.Tensor) -> str:
    """Type and shape of a tensor in one word."""
    return _spec(_NAMES[tensor.dtype], tensor.shape)


def read_specs(stream: BinaryIO, size: int) -> dict[str, str]:
    """The specs in the header of a safetensors file of ``size`` bytes; ``ValueError`` says what is wrong
    with it.

    Demanded beyond the format's text: the tensors fill the data without a gap or an overlap, so that every
    byte of the file belongs to something that was checked.
    """
    head = stream.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length > size - 8:
        raise ValueError(f"its header is said to have {length} bytes, the file has {size}")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header of {length} bytes is above the limit of {MAX_HEADER_BYTES}")
    raw = stream.read(length)
    if len(raw) != length or raw[:1] != b"{":
        raise ValueError("its header is not a JSON object")
    if raw.count(b"{") > MAX_TENSORS + 2 or raw.count(b"[") > 2 * (MAX_TENSORS + 2):
        raise ValueError(f"its header describes more than {MAX_TENSORS} tensors")
    header = decode(raw)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its __metadata__ is not a table of strings")
    spans = sorted(_entry(name, entry) for name, entry in header.items())
    position = 0
    for begin, end, name, _ in spans:
        if begin != position:
            raise ValueError(f"tensor {_shown(name)} begins at byte {begin} of the data, expected {position}")
        position = end
    if position != size - 8 - length:
        raise ValueError(f"its tensors cover {position} bytes of {size - 8 - length}")
    return {name: spec for _, _, name, spec in spans}


def _entry(name: str, entry: Any) -> tuple[int, int, str, str]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {_shown(name)} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"tensor {_shown(name)} has the unknown type {_shown(dtype)}")
    if not _naturals(shape) or len(shape) > 64 or math.prod(max(dim, 1) for dim in shape) > _MAX_ELEMENTS:
        raise ValueError(f"tensor {_shown(name)} has an impossible shape")
    if not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {_shown(name)} has impossible offsets")
    begin, end = offsets
    if end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"tensor {_shown(name)} needs another number of bytes than its offsets span")
    return begin, end, name, _spec(dtype, shape)


def _spec(dtype: str, shape: Iterable[int]) -> str:
    return f"{dtype}[{','.join(map(str, shape))}]"


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _storable(tensors: Mapping[str, torch.Tensor], group: str) -> dict[str, torch.Tensor]:
    if len(tensors) > MAX_TENSORS:
        raise NotStorable(
            f"group {group!r} has {len(tensors)} tensors, the limit is {MAX_TENSORS}. Split it."
        )
    ready: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = _plain_tensor(name, tensor, group)
        storage = plain.untyped_storage().data_ptr()
        ready[name] = plain.clone() if storage in seen else plain
        seen.add(storage)
    return ready


def _plain_tensor(name: Any, tensor: Any, group: str) -> torch.Tensor:
    where = f"tensor {name!r} of group {group!r}"
    if not isinstance(name, str) or name == "__metadata__":
        raise NotStorable(f"{where} has a name that safetensors cannot hold. Use another string.")
    if not isinstance(tensor, torch.Tensor):
        raise NotStorable(
            f"{where} is a {type(tensor).__qualname__}, not a tensor. Put it in the JSON state."
        )
    plain = tensor.detach()
    if (
        type(plain) is not torch.Tensor
        or plain.layout != torch.strided
        or plain.is_quantized
        or plain.is_meta
    ):
        raise NotStorable(
            f"{where} is not a dense tensor with data. Gather, densify or materialise it first."
        )
    if plain.dtype not in _NAMES:
        raise NotStorable(f"{where} has type {plain.dtype}, known are {', '.join(DTYPES)}. Cast it first.")
    return plain.resolve_conj().resolve_neg().cpu().contiguous()


def _shown(value: object) -> str:
    return ascii(value)[:80]
