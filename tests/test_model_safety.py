"""Model folders from outside: what could run code, or leads elsewhere, is refused before a loader sees it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, LlamaModel

from rllib_ext.errors import BadConfig, Untrusted
from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer
from rllib_ext.llm.safety import (
    check_model_folder,
    encode_plain,
    open_causal_lm,
    open_tokenizer,
    require_pinned,
)


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    tokenizer = word_tokenizer(["a", "b"])
    config = causal_lm_config(tokenizer, hidden=32, layers=1, heads=2, max_length=16)
    return save_model(build_causal_lm(config, 0), tokenizer, tmp_path_factory.mktemp("honest") / "model")


@pytest.fixture
def folder(honest, tmp_path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "model"))


def put(folder: Path, file: str, **values) -> None:
    path = folder / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))


def with_code(folder: Path) -> None:
    """Code whose import would leave a trace."""
    trace = json.dumps(str(folder / "ran"))
    (folder / "modeling_evil.py").write_text(f"open({trace}, 'w').close()\nclass Evil: pass\n")


def test_an_honest_folder_opens(honest):
    assert check_model_folder(honest) == honest
    model = open_causal_lm(str(honest))
    assert isinstance(model, LlamaForCausalLM) and not model.training
    assert model.dtype == torch.float32 and open_causal_lm(honest, "bfloat16").dtype == torch.bfloat16
    assert open_tokenizer(honest).eos_token == "<eos>"


@pytest.mark.fault("G6")
@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}}),
        ("config.json", {"auto_map": {"AutoConfig": "other/repo--modeling_evil.Evil"}}),
        ("config.json", {"text_config": {"inner": [{"auto_map": {}}]}}),
        ("config.json", {"attn_implementation": "someone/kernel"}),
        ("config.json", {"_attn_implementation_internal": "someone/kernel"}),
        ("config.json", {"_experts_implementation_internal": "x"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["modeling_evil.Evil", None]}}),
        ("generation_config.json", {"custom_pipelines": {"p": {"impl": "modeling_evil.Evil"}}}),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "modeling_evil.Evil"}}),
    ],
)
def test_keys_that_lead_to_code_are_refused_and_nothing_runs(folder, file, values):
    with_code(folder)
    put(folder, file, **values)
    for opening in (check_model_folder, open_causal_lm, open_tokenizer):
        with pytest.raises(Untrusted, match="remote code is never run"):
            opening(folder)
    assert not (folder / "ran").exists()


def test_labels_and_harmless_private_keys_are_no_reason_to_refuse(folder):
    put(folder, "config.json", _name_or_path="x/y", id2label={"0": "auto_map"}, label2id={"_private": 0})
    assert check_model_folder(folder) == folder


@pytest.mark.fault("G6")
@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt"])
def test_pickled_weights_alone_are_refused_with_a_remedy(folder, pickle):
    torch.save({}, folder / pickle)
    check_model_folder(folder)  # beside safetensors they are never read
    (folder / "model.safetensors").unlink()
    for opening in (check_model_folder, open_causal_lm):
        with pytest.raises(Untrusted, match=r"only pickled weights.*save_pretrained"):
            opening(folder)
    assert open_tokenizer(folder).eos_token == "<eos>", "the tokenizer needs no weights"


def test_a_folder_without_any_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(Untrusted, match="no safetensors weights but none"):
        open_causal_lm(folder)


@pytest.mark.fault("G6")
@pytest.mark.fault("G5")
@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "sub/x.safetensors"])
def test_an_index_that_leaves_the_folder_is_refused(folder, shard):
    put(folder, "model.safetensors.index.json", weight_map={"lm_head.weight": shard})
    with pytest.raises(Untrusted, match="outside the model's folder"):
        open_causal_lm(folder)


@pytest.mark.fault("G6")
def test_an_adapter_is_refused_because_it_names_another_model(folder):
    put(folder, "adapter_config.json", base_model_name_or_path="someone/else")
    with pytest.raises(Untrusted, match="adapter"):
        open_causal_lm(folder)
    (folder / "config.json").unlink()
    with pytest.raises(BadConfig, match="merge the adapter"):
        open_causal_lm(folder)


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "a/b/c", "~/none-such", "../up"])
def test_a_missing_folder_says_so(name):
    for opening in (open_causal_lm, open_tokenizer):
        with pytest.raises(BadConfig, match="does not exist"):
            opening(name)


def test_a_file_or_an_empty_folder_is_no_model(folder, tmp_path):
    with pytest.raises(BadConfig, match="is a file"):
        open_causal_lm(folder / "config.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadConfig, match=r"no config\.json"):
        open_causal_lm(tmp_path / "empty")


@pytest.mark.parametrize("text", ["{", "[]", "\x00", '"x"'])
def test_a_damaged_config_is_named(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(BadConfig, match=r"config\.json"):
        open_causal_lm(folder)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"model_type": "no-such-type"}),
        ("config.json", {"hidden_size": "wide"}),
    ],
)
def test_what_transformers_cannot_open_is_a_bad_config(folder, file, values):
    put(folder, file, **values)
    with pytest.raises(BadConfig, match="cannot be opened"):
        open_causal_lm(folder)


@pytest.mark.fault("B5")
def test_weights_that_are_torn_or_not_all_there_are_never_filled_with_noise(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadConfig, match=r"lacks 1 parameters.*lm_head\.weight"):
        open_causal_lm(folder)
    put(folder, "config.json", hidden_size=64, head_dim=32)
    with pytest.raises(BadConfig, match="in the shape that its config says"):
        open_causal_lm(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadConfig, match="cannot be opened"):
        open_causal_lm(folder)


def test_dropout_of_an_opened_model_is_off_even_in_training_mode(folder):
    put(folder, "config.json", attention_dropout=0.9)
    model = open_causal_lm(folder).train()
    ids = torch.tensor([[0, 1, 0, 1]])
    assert torch.equal(model(ids).logits, model(ids).logits)
    assert model.config.attention_dropout == 0.0


def test_an_architecture_that_vllm_has_taken_over_in_this_process_says_so(folder, monkeypatch):
    """What vLLM's Transformers backend does to GPT-NeoX: its constructor then needs vLLM's own set-up."""

    def taken_over(self, *args, **kwargs):
        raise AssertionError("Current vLLM config is not set")

    monkeypatch.setattr(LlamaModel, "__init__", taken_over)
    with pytest.raises(BadConfig, match="a process without vLLM"):
        open_causal_lm(folder)


@pytest.mark.parametrize("pad", [None, "<eos>"])
def test_a_tokenizer_without_a_pad_of_its_own_gets_one(folder, pad):
    put(folder, "tokenizer_config.json", pad_token=pad)
    tokenizer = open_tokenizer(folder)
    assert tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id
    assert encode_plain(tokenizer, ["a b"]) == [[0, 1]]


def test_a_tokenizer_without_eos_is_refused_where_eos_is_needed(folder):
    put(folder, "tokenizer_config.json", eos_token=None)
    with pytest.raises(BadConfig, match="no EOS"):
        open_tokenizer(folder)
    assert open_tokenizer(folder, need_eos=False).eos_token_id is None


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """A hub with one repository: copies what is asked for into the layout of the cache."""

    def __init__(self, repository: Path, cache: Path) -> None:
        self.repository, self.cache, self.calls = repository, cache, []

    def snapshot_download(self, name, *, revision, allow_patterns, ignore_patterns):
        self.calls.append((name, revision))
        assert ignore_patterns == ["*/*"]
        target = self.cache / "snapshots" / COMMIT
        target.mkdir(parents=True, exist_ok=True)
        for path in self.repository.iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                shutil.copy(path, target)
        return str(target)


@pytest.fixture
def hub(folder, tmp_path, monkeypatch) -> Hub:
    hub = Hub(folder, tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


@pytest.mark.fault("G6")
def test_a_hub_model_is_fetched_at_one_commit_without_code_or_pickles(hub, folder):
    with_code(folder)
    torch.save({}, folder / "pytorch_model.bin")
    found = check_model_folder("owner/model", "main")
    assert hub.calls == [("owner/model", "main"), ("owner/model", COMMIT)]
    assert found.name == COMMIT and not [*found.glob("*.py"), *found.glob("*.bin")]
    assert isinstance(open_causal_lm("owner/model"), LlamaForCausalLM)


@pytest.mark.fault("G6")
def test_a_hub_model_with_code_is_refused_before_its_weights_are_fetched(hub, folder):
    put(folder, "config.json", auto_map={"AutoModel": "modeling_evil.Evil"})
    with pytest.raises(Untrusted):
        open_causal_lm("owner/model")
    assert len(hub.calls) == 1


def test_a_hub_model_that_cannot_be_fetched_is_a_bad_config():
    with pytest.raises(BadConfig, match=r"no folder 'owner/no-such-model' here.*check name"):
        open_causal_lm("owner/no-such-model")


@pytest.mark.fault("G6")
def test_only_a_commit_pins_a_hub_model(folder):
    require_pinned(folder, None)
    require_pinned("owner/model", COMMIT)
    for revision in (None, "main", COMMIT[:7]):
        with pytest.raises(Untrusted, match="40-digit commit"):
            require_pinned("owner/model", revision)
