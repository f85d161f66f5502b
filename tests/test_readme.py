"""The examples in the README are run as they stand, on a small model and a small game in place of the placeholders."""

from __future__ import annotations

import importlib
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


GAME = '''
import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv


class MyGame(ParallelEnv):
    metadata = {"name": "my_game_v0"}

    def __init__(self):
        self.possible_agents = ["a", "b"]
        self.agents = []
        self.spaces = {agent: (Box(0.0, 1.0, (1,), np.float32), Discrete(2)) for agent in self.possible_agents}

    def observation_space(self, agent):
        return self.spaces[agent][0]

    def action_space(self, agent):
        return self.spaces[agent][1]

    def see(self):
        """Only a sees which action pays; b has to be told."""
        return {"a": np.array([self.paid], np.float32), "b": np.zeros(1, np.float32)}

    def reset(self, seed=None, options=None):
        if seed is not None or not hasattr(self, "random"):
            self.random = np.random.default_rng(seed)
        self.time, self.paid, self.agents = 0, int(self.random.integers(2)), list(self.possible_agents)
        return self.see(), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.time += 1
        rewards = {agent: float(actions[agent] == self.paid) for agent in self.agents}
        over = dict.fromkeys(self.agents, self.time == 4)
        infos = {agent: {} for agent in self.agents}
        self.agents = [] if self.time == 4 else self.agents
        return self.see(), rewards, over, dict.fromkeys(over, False), infos
'''


def test_a_users_own_game_trains_in_ten_lines(ray_session, tmp_path, monkeypatch, capsys):
    """As it stands, on a game of which the README knows nothing; what is printed is a return for every iteration."""
    pattern = r"<!-- example of several agents: tested -->\n```python\n(.*?)```"
    example = re.search(pattern, README.read_text(), re.DOTALL).group(1)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    (tmp_path / "my_game.py").write_text(GAME)
    monkeypatch.syspath_prepend(str(tmp_path))
    # Ray's workers import from where a driver began; this session began elsewhere, so the module goes with the pickle.
    ray_session.cloudpickle.register_pickle_by_value(importlib.import_module("my_game"))
    names: dict = {"__name__": "__main__"}
    exec(compile(example, "readme_example", "exec"), names)
    try:
        printed = [float(line) for line in capsys.readouterr().out.splitlines()]
        assert len(printed) == 20 and all(0 <= value <= 8 for value in printed)
        assert names["algorithm"].env_steps() == 20 * 32 * 16
    finally:
        names["algorithm"].stop()
