"""Tokenizers and models built on the spot: special tokens, exact sizes, and folders that others open."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from rllib_ext.errors import BadConfig, BadData
from rllib_ext.llm.from_scratch import (
    build_causal_lm,
    causal_lm_config,
    count_parameters,
    save_model,
    train_tokenizer,
    word_tokenizer,
)
from rllib_ext.llm.safety import encode_plain, open_tokenizer

TEXTS = ["def add(a, b): return the sum of a and b.", "Return the sum <eos> of <pad> the list."] * 40


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


def test_pad_and_eos_are_two_tokens_and_batches_are_padded_left(tokenizer):
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<pad>", "<eos>")
    assert tokenizer.pad_token_id == 0 and tokenizer.eos_token_id == tokenizer.bos_token_id == 1
    batch = tokenizer(["sum", "the sum of a and b"], padding=True)["input_ids"]
    assert batch[0][0] == tokenizer.pad_token_id and batch[0][-1] != tokenizer.pad_token_id
    assert len(tokenizer) <= 300


def test_training_twice_gives_the_same_ids(tokenizer):
    assert train_tokenizer(iter(TEXTS), 300).get_vocab() == tokenizer.get_vocab()


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back_from_its_ids_and_none_of_them_is_special(text):
    tokenizer = _shared_tokenizer()
    ids = encode_plain(tokenizer, [text])[0]
    assert not {0, 1} & set(ids)
    assert tokenizer.decode(ids) == text


def _shared_tokenizer(cache: list = []):  # noqa: B006 - one tokenizer for all examples of the property
    if not cache:
        cache.append(train_tokenizer(TEXTS, 300))
    return cache[0]


@pytest.mark.parametrize("text", ["stop <eos> here", "<pad>", "<eos><eos>", "a<eos>b<pad>"])
def test_a_special_token_in_a_text_is_spelt_out_but_the_plain_call_would_obey_it(tokenizer, text):
    ids = encode_plain(tokenizer, [text])[0]
    assert not {0, 1} & set(ids) and tokenizer.decode(ids) == text
    assert {0, 1} & set(tokenizer(text)["input_ids"]), "without split_special_tokens the text is obeyed"


def test_that_stays_so_after_saving_and_opening(tokenizer, tmp_path):
    config = causal_lm_config(tokenizer, hidden=32, layers=1, heads=2, max_length=32)
    folder = save_model(build_causal_lm(config, 0), tokenizer, tmp_path / "model")
    opened = open_tokenizer(folder)
    assert opened.padding_side == "left" and opened.get_vocab() == tokenizer.get_vocab()
    assert encode_plain(opened, ["x<eos>"]) == encode_plain(tokenizer, ["x<eos>"])


def test_words_have_the_ids_of_their_places_and_nothing_else_can_be_written():
    tokenizer = word_tokenizer(["note", "falcon", "TL;DR:"])
    assert encode_plain(tokenizer, ["note  falcon\nTL;DR:"]) == [[0, 1, 2]]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, len(tokenizer)) == (3, 4, 5)
    assert tokenizer.decode([1, 0, 4], skip_special_tokens=True) == "falcon note"
    for stranger in ("hawk", "<eos>", "falcon <pad>"):
        with pytest.raises(BadData, match="text 1"):
            encode_plain(tokenizer, ["note", stranger])


@pytest.mark.parametrize("words", [[], ["a", "a"], ["a b"], ["<eos>"], [""]])
def test_a_vocabulary_that_could_not_be_parted_again_is_refused(words):
    with pytest.raises(BadConfig, match="distinct words"):
        word_tokenizer(words)


def test_a_lone_surrogate_is_named_with_its_place(tokenizer):
    with pytest.raises(BadData, match="text 2"):
        encode_plain(tokenizer, ["a", "b", "\ud800"])


def closed_form_llama(v, d, n, i, tied):
    """Embeddings; a layer: four square matrices, three MLP matrices, two norms; final norm."""
    return v * d * (1 if tied else 2) + n * (4 * d * d + 3 * d * i + 2 * d) + d


def closed_form_neox(v, d, n, i):
    """All but the embeddings have a bias; two layer norms a layer and a final one, each of two vectors."""
    return 2 * v * d + n * (4 * (d * d + d) + (2 * d * i + i + d) + 4 * d) + 2 * d


@pytest.mark.parametrize("tied", [False, True])
def test_llama_parameters_are_counted_exactly_without_building(tokenizer, tied):
    config = causal_lm_config(
        tokenizer, hidden=48, layers=2, heads=2, intermediate=80, max_length=64, tie_embeddings=tied
    )
    expected = closed_form_llama(len(tokenizer), 48, 2, 80, tied)
    assert count_parameters(config) == expected == count_parameters(build_causal_lm(config, 0))


def test_gpt_neox_parameters_are_counted_exactly(tokenizer):
    config = causal_lm_config(tokenizer, architecture="gpt_neox", hidden=48, layers=2, heads=2, max_length=64)
    assert count_parameters(config) == closed_form_neox(len(tokenizer), 48, 2, 4 * 48)


def test_the_seed_alone_decides_the_weights_and_global_random_state_is_left_alone(tokenizer):
    config = causal_lm_config(tokenizer, hidden=32, layers=1, heads=2, max_length=32)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, other = build_causal_lm(config, 0), build_causal_lm(config, 1)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(99)
    again = build_causal_lm(config, 0)
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_a_saved_folder_opens_with_the_stock_classes_and_gives_the_same_logits(
    tokenizer, tmp_path, architecture
):
    config = causal_lm_config(
        tokenizer, architecture=architecture, hidden=32, layers=2, heads=2, max_length=32
    )
    model = build_causal_lm(config, 3)
    folder = save_model(model, tokenizer, tmp_path / "a" / "model")
    opened, stock = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([stock("def add(a, b):")["input_ids"]])
    assert torch.equal(opened(ids).logits, model(ids).logits)
    for field in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(opened.config, field) == getattr(tokenizer, field)
        assert getattr(opened.generation_config, field) == getattr(tokenizer, field)
    assert all(value == 0 for key, value in opened.config.to_dict().items() if "dropout" in key)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"], "nothing is left beside it"


def test_saving_over_a_folder_keeps_other_files_and_replaces_the_model(tokenizer, tmp_path):
    config = causal_lm_config(tokenizer, hidden=32, layers=1, heads=2, max_length=32)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    save_model(build_causal_lm(config, 0), tokenizer, tmp_path / "model")
    second = build_causal_lm(config, 1)
    save_model(second, tokenizer, tmp_path / "model")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert torch.equal(opened.lm_head.weight, second.lm_head.weight)
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 33}, "hidden 33 with heads 2"),
        ({"hidden": 6}, "even whole number"),
        ({"layers": 0}, "layers is 0"),
        ({"architecture": "lama"}, "Did you mean 'llama'"),
        ({"architecture": "gpt_neox", "tie_embeddings": True}, "tie_embeddings"),
    ],
)
def test_an_impossible_shape_names_the_field(tokenizer, change, message):
    shape = {"hidden": 32, "layers": 1, "heads": 2, "max_length": 32} | change
    with pytest.raises(BadConfig, match=message):
        causal_lm_config(tokenizer, **shape)


def test_a_vocabulary_smaller_than_the_bytes_is_refused():
    with pytest.raises(BadConfig, match="258"):
        train_tokenizer(TEXTS, 257)
