"""Weight snapshots: bit-exact copies, and a digest that no torn, swapped or renamed push survives."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_ext.llm.weights import digest_of, pack, unpack

WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
DTYPES = [
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]
quick = settings(max_examples=80, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def random_tensor(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 3).to(dtype)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and bits(left) == bits(right)


# ----- there and back


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 5), (1,), (), (0,), (4, 0, 2), (9000,)], ids=str)
def test_there_and_back_bit_for_bit(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    state = {"a": random_tensor(shape, dtype), "b": random_tensor(shape, dtype, 1)}
    snapshot = pickle.loads(pickle.dumps(pack(3, state)))
    back = unpack(snapshot)
    assert list(back) == ["a", "b"] and all(same(back[name], state[name]) for name in state)
    assert snapshot.version == 3 and snapshot.digest == digest_of(snapshot.arrays)
    assert snapshot.num_bytes == sum(t.numel() * t.element_size() for t in state.values())


def test_non_finite_values_travel_too() -> None:
    state = {"a": torch.tensor([float("nan"), float("inf"), -0.0, 0.0]), "b": torch.tensor([2**62 + 1])}
    back = unpack(pack(0, state))
    assert all(same(back[name], state[name]) for name in state)
    assert pack(0, {"a": torch.tensor([0.0])}).digest != pack(0, {"a": torch.tensor([-0.0])}).digest


def test_tied_tensors_travel_once_and_arrive_tied() -> None:
    table = random_tensor((6, 4), torch.bfloat16)
    snapshot = pack(0, {"embed": table, "norm": torch.ones(4), "head": table})
    assert set(snapshot.arrays) == {"embed", "norm"} and snapshot.aliases == {"head": "embed"}
    back = unpack(snapshot)
    assert same(back["head"], table) and back["head"].data_ptr() == back["embed"].data_ptr()


def test_what_only_shares_memory_is_not_tied() -> None:
    square = random_tensor((4, 4), torch.float32)
    state = {
        "w": square,
        "transposed": square.t(),
        "flat": square.reshape(-1),
        "words": square.view(torch.int32),
    }
    back = unpack(pack(0, state))
    assert all(same(back[name], state[name].contiguous()) for name in state)


def test_empty_tensors_are_never_tied() -> None:
    state = {"a": torch.zeros(0, 3), "b": torch.zeros(0, 3)}
    assert pack(0, state).aliases == {}


def test_a_snapshot_outlives_what_it_was_taken_of() -> None:
    layer = torch.nn.Linear(8, 8)
    snapshot = pack(1, layer.state_dict())
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(1.0)
    assert all(same(tensor, before[name]) for name, tensor in unpack(snapshot).items())
    assert digest_of(snapshot.arrays) == snapshot.digest != pack(1, layer.state_dict()).digest


def test_gradients_and_views_are_left_behind() -> None:
    parameter = torch.nn.Parameter(random_tensor((4, 6), torch.float32))
    back = unpack(pack(0, {"w": parameter, "column": parameter[:, 2]}))
    assert not back["w"].requires_grad and same(back["column"], parameter.detach()[:, 2].contiguous())


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_load_without_a_warning() -> None:
    """As they come out of the object store: not writable, and torch would warn of that."""
    source, target = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    snapshot = pack(0, source.state_dict())
    for array in snapshot.arrays.values():
        array.setflags(write=False)
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # otherwise the warning would come only once in a process
    try:
        with pytest.raises(UserWarning), warnings.catch_warnings():
            torch.from_numpy(snapshot.arrays["weight"])
        tensors = unpack(snapshot)
    finally:
        torch.set_warn_always(always)
    target.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        target.weight.mul_(2.0)
    assert same(unpack(snapshot)["weight"], source.state_dict()["weight"]), "loading copied"


# ----- the digest


@quick
@given(
    seeds,
    st.sampled_from([np.float32, np.uint16, np.int64, np.uint8]),
    st.integers(1, 3 * 8191 + 5),
    st.data(),
)
def test_any_single_changed_word_shows(seed: int, dtype: type, size: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 256, size * np.dtype(dtype).itemsize, dtype=np.uint8).view(dtype)
    before = digest_of({"w": array})
    words = array.view(WORDS[array.itemsize])
    bit = data.draw(st.integers(0, 8 * array.itemsize - 1))
    words[data.draw(st.integers(0, size - 1))] ^= words.dtype.type(1 << bit)
    assert digest_of({"w": array}) != before


@quick
@given(seeds, st.sampled_from([np.float32, np.uint16, np.int64]), st.integers(2, 3 * 8191), st.data())
def test_any_two_swapped_words_show(seed: int, dtype: type, size: int, data: st.DataObject) -> None:
    array = np.arange(size, dtype=np.uint64).astype(dtype)
    np.random.default_rng(seed).shuffle(array)
    before = digest_of({"w": array})
    one = data.draw(st.integers(0, size - 2))
    # Any other one, and often one around a row of the sums away, where weights could meet.
    other = data.draw(st.integers(one + 1, size - 1) | st.sampled_from([one + 8189, one + 8190, one + 8191]))
    if other < size and array[one] != array[other]:
        array[[one, other]] = array[[other, one]]
        assert digest_of({"w": array}) != before


@pytest.mark.parametrize("width", [1, 2, 64, 8189, 8190, 8191, 8192, 8193, 16382])
@pytest.mark.parametrize("rows", [(0, 1), (1, 2), (0, 3), (2, 3)])
def test_swapped_rows_show(width: int, rows: tuple[int, int]) -> None:
    array = np.random.default_rng(width).standard_normal((4, width), dtype=np.float32)
    swapped = array.copy()
    swapped[list(rows)] = array[list(rows[::-1])]
    assert digest_of({"w": swapped}) != digest_of({"w": array})


def test_top_bits_that_change_places_show() -> None:
    """In words of 64 bits an even difference of weights would shift the top bit out of the sum."""
    array = np.zeros(100, np.int64)
    array[3] = np.iinfo(np.int64).min
    moved = np.roll(array, 2)
    assert digest_of({"w": moved}) != digest_of({"w": array})


@pytest.mark.parametrize("change", ["name", "dtype", "shape", "order of names", "missing", "swapped names"])
def test_the_digest_covers_names_types_and_shapes(change: str) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32), "b": np.arange(6, 12, dtype=np.float32)}
    changed = {
        "name": {"a2": arrays["a"], "b": arrays["b"]},
        "dtype": {"a": arrays["a"].view(np.int32), "b": arrays["b"]},
        "shape": {"a": arrays["a"].reshape(2, 3), "b": arrays["b"]},
        "order of names": dict(reversed(arrays.items())),
        "missing": {"a": arrays["a"]},
        "swapped names": {"a": arrays["b"], "b": arrays["a"]},
    }[change]
    assert (digest_of(changed) == digest_of(arrays)) == (change == "order of names")


def test_the_digest_reads_values_not_memory_layout() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert digest_of({"w": np.asfortranarray(array)}) == digest_of({"w": array})


@pytest.mark.fault("A6")
def test_a_torn_push_shows() -> None:
    """Half of the tensors new, half old, each of them whole."""
    old = {f"layer{i}": random_tensor((5, 5), torch.float32, i) for i in range(4)}
    new = {name: tensor + 1e-3 for name, tensor in old.items()}
    torn = {name: (new if number < 2 else old)[name] for number, name in enumerate(old)}
    assert len({pack(0, state).digest for state in (old, new, torn)}) == 3
