"""What a Tune user types: the registered name and a dictionary."""

from __future__ import annotations


def test_a_registered_name_trains_in_tune_from_a_plain_dictionary(ray_session, tmp_path):
    """``tune.Tuner("AsyncOnlineDPO", param_space=...)`` trains two iterations, writes the run's files, checkpoints."""
    from ray import tune
    from ray.tune import CheckpointConfig, RunConfig

    import rllib_ext

    rllib_ext.register()
    space = {
        "env": "ControlledTLDR",
        "env_config": {"size": 64},
        "model": _controlled_model(tmp_path),
        "engine": "hf",
        "mode": tune.grid_search(["async"]),
        "num_cpus_per_env_runner": 0.5,
        "prompts_per_minibatch": 8,
        "max_prompt_tokens": 40,
        "max_new_tokens": 8,
        "temperature": 1.0,
        "missing_eos": "keep",
        "evaluation_interval": None,
        "seed": 1,
    }
    tuner = tune.Tuner(
        "AsyncOnlineDPO",
        param_space=space,
        run_config=RunConfig(
            name="two",
            storage_path=str(tmp_path / "results"),
            stop={"training_iteration": 2},
            checkpoint_config=CheckpointConfig(checkpoint_at_end=True),
            verbose=0,
        ),
    )
    (result,) = tuner.fit()
    assert result.error is None
    assert result.metrics["num_updates_lifetime"] >= 1
    assert result.metrics["training_iteration"] == 2
    assert result.checkpoint is not None


def _controlled_model(folder) -> str:
    from envs.text.controlled import vocabulary
    from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer

    tokenizer = word_tokenizer(vocabulary())
    config = causal_lm_config(tokenizer, hidden=64, layers=2, heads=2, max_length=64)
    save_model(build_causal_lm(config, 0), tokenizer, folder / "model")
    return str(folder / "model")
