"""The IMDB sweep: the released values, grids of valid settings, the reward's formula, and its smoke run."""

from __future__ import annotations

import json
import math

import pytest

from envs.text import Sample, Task
from rllib_ext.elastic_reset.llm import ElasticResetAsyncPPOConfig
from rllib_ext.elastic_reset.settings import elastic_settings
from tuned_configs import elastic_reset_imdb as sweep
from tuned_configs._positive import PositiveProbability


@pytest.mark.parametrize("method", sweep.SWEEPS)
def test_every_trial_of_every_method_is_a_valid_config(method: str) -> None:
    space = sweep.space(sweep.arguments(["--method", method, "--model", "somewhere"]))
    grids = {
        name: value["grid_search"]
        for name, value in space.items()
        if isinstance(value, dict) and "grid_search" in value
    }
    assert grids.pop("seed") == [1, 2, 3, 4, 5] and "kl_beta" in grids
    for name, values in grids.items():
        for value in values:
            fixed = {key: options[0] for key, options in grids.items()} | {name: value}
            settings = {k: v for k, v in {**space, **fixed}.items() if k in ElasticResetAsyncPPOConfig.knobs}
            config = ElasticResetAsyncPPOConfig().environment("Sentiment").training(**settings)
            config.validate()
            assert elastic_settings(config).variant == ("none" if method == "kl_penalty" else method)


def test_the_released_values_reset_after_iterations_1_18_and_35() -> None:
    space = sweep.space(sweep.arguments(["--fixed"]))
    settings = {k: v for k, v in space.items() if k in ElasticResetAsyncPPOConfig.knobs}
    config = ElasticResetAsyncPPOConfig().training(**settings)
    schedule = elastic_settings(config)
    ends = range(1, config.total_updates // config.updates_per_round + 1)
    assert len(ends) == 50
    assert [n for n in ends if schedule.resets_by(n) > schedule.resets_by(n - 1)] == [1, 18, 35]
    assert (config.kl_beta, config.kl_controller, config.kl_beta_target, config.ema_decay) == (
        0.001,
        "rl4lms",
        1.0,
        0.995,
    )


def test_the_reward_is_the_softmax_of_the_positive_class(monkeypatch) -> None:
    reward = PositiveProbability("nowhere")
    for model, logits in zip(reward._classes, ([1.0, None, 900.0], [2.0, 1.0, -900.0]), strict=True):
        monkeypatch.setattr(model, "score", lambda samples, logits=logits: logits)
    samples = [Sample(Task(id=str(i), prompt="a"), "b") for i in range(3)]
    found = reward.score(samples)
    assert found[0] == pytest.approx(math.exp(2) / (math.exp(1) + math.exp(2)))
    assert found[1] is None and found[2] == pytest.approx(0.0)


def test_dry_run_prints_the_space(capsys) -> None:
    assert sweep.main(["--dry-run", "--smoke", "--model", "m"]) == 0
    space = json.loads(capsys.readouterr().out)
    assert space["reset_offset"] == 0 and space["seed"] == {"grid_search": [1]}


@pytest.mark.slow
def test_the_smoke_run_trains_resets_and_draws_its_frontier(ray_session, tmp_path, capsys) -> None:
    from envs.text.lexicon import POSITIVE
    from rllib_ext.cli import main
    from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, train_tokenizer

    texts = [
        f"the film was {word} and long , I saw it {n} times" for n, word in enumerate(sorted(POSITIVE)[:80])
    ]
    data = tmp_path / "reviews.jsonl"
    data.write_text(
        "".join(json.dumps({"text": text, "label": n % 2}) + "\n" for n, text in enumerate(texts))
    )
    tokenizer = train_tokenizer(texts, 300)
    config = causal_lm_config(tokenizer, architecture="llama", hidden=32, layers=2, heads=2, max_length=128)
    save_model(build_causal_lm(config, 0), tokenizer, tmp_path / "model")
    words = [
        "--smoke",
        "--model",
        str(tmp_path / "model"),
        "--data",
        str(data),
        "--storage-path",
        str(tmp_path),
    ]
    assert sweep.main([*words, "--name", "sweep", "--set", '{"num_cpus_per_env_runner": 0.5}']) == 0
    assert "ppl_reference" in capsys.readouterr().out
    assert main(["plot", str(tmp_path / "sweep")]) == 0
