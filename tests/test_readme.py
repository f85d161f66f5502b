"""The example in the README is run as it stands, on a small model in place of the placeholder."""

from __future__ import annotations

import re
from pathlib import Path

from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_readme_example_trains(ray_session, tmp_path, monkeypatch):
    """A user's own environment and reward, in at most twenty lines, trained for its twenty updates."""
    example = re.search(
        r"<!-- example: tested -->\n```python\n(.*?)```", README.read_text(), re.DOTALL
    ).group(1)
    assert len([line for line in example.splitlines() if line.strip()]) <= 20
    tokenizer = train_tokenizer(["Say red: RED", "Say blue: blue", "GREEN grey"] * 4, 300)
    shape = causal_lm_config(tokenizer, hidden=64, layers=2, heads=2, max_length=768)
    save_model(build_causal_lm(shape, 0), tokenizer, tmp_path / "model")
    assert 'model="<hub name or folder>"' in example
    small = example.replace('model="<hub name or folder>"', f'model={str(tmp_path / "model")!r}, engine="hf"')
    small = small.replace(
        "config.build_algo()", f"config.training(run_folder={str(tmp_path / 'run')!r}).build_algo()"
    )
    script = tmp_path / "readme_example.py"
    script.write_text(small)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict = {"__name__": "__main__"}
    exec(compile(small, str(script), "exec"), names)
    try:
        assert names["algorithm"].counters["updates"] == 20
    finally:
        names["algorithm"].stop()
