"""The language-model configs: every way in, what is derived, and what is refused before a start."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from rllib_ext.best_of_n.config import BestOfNConfig
from rllib_ext.errors import BadConfig
from rllib_ext.functional import staleness
from rllib_ext.llm.config import LLMConfig
from rllib_ext.online_dpo.config import AsyncOnlineDPOConfig
from rllib_ext.ppo_llm.config import AsyncPPOConfig
from rllib_ext.rloo.config import AsyncRLOOConfig

CONFIGS = [AsyncOnlineDPOConfig, AsyncRLOOConfig, AsyncPPOConfig, BestOfNConfig]
every_config = pytest.mark.parametrize("kind", CONFIGS)


def ready(kind: type = AsyncOnlineDPOConfig, **settings: Any) -> LLMConfig:
    return kind().environment("TLDR").training(model="a-folder", **settings)


def values(config: LLMConfig) -> dict[str, Any]:
    """Every knob's value, and the settings of RLlib that a run depends on."""
    knobs = {name: getattr(config, "language_model" if name == "model" else name) for name in config.knobs}
    return knobs | {name: getattr(config, name) for name in ("env", "env_config", "num_env_runners", "seed")}


# ----- every way in


@every_config
def test_defaults_are_those_of_the_table(kind: type) -> None:
    config = kind()
    assert {n: v for n, v in values(config).items() if n in kind.knobs} == {
        name: knob.default for name, knob in kind.knobs.items()
    }
    assert isinstance(config.model, dict), "RLlib's own attribute of that name stays RLlib's"


@every_config
def test_tunes_dictionary_sets_the_same_as_the_methods(kind: type) -> None:
    by_dictionary = kind().update_from_dict(
        {
            "env": "TLDR",
            "env_config": {"data": "x"},
            "model": "a-folder",
            "mode": "sync",
            "minibatches_per_generation": np.int64(4),
            "max_staleness": None,
            "lr": np.float64(1e-4),
            "evaluation_prompts": 16,
            "evaluation_interval": 2,
            "num_env_runners": 3,
            "seed": 5,
            "__trial_info__": object(),
        }
    )
    by_methods = (
        kind()
        .environment("TLDR", env_config={"data": "x"})
        .training(model="a-folder", mode="sync", minibatches_per_generation=4, max_staleness=None, lr=1e-4)
        .evaluation(evaluation_prompts=16, evaluation_interval=2)
        .env_runners(num_env_runners=3)
        .debugging(seed=5)
    )
    assert values(by_dictionary) == values(by_methods)
    assert by_dictionary.evaluation_interval == 2
    assert type(by_dictionary.minibatches_per_generation) is int and type(by_dictionary.lr) is float
    assert not hasattr(by_dictionary, "__trial_info__")


@every_config
def test_no_way_through_a_copy_loses_a_setting(kind: type) -> None:
    config = ready(kind, mode="sync", updates_per_minibatch=2, lr_schedule="constant", max_staleness=7)
    config.env_runners(num_env_runners=2).debugging(seed=3)
    wanted = values(config)
    assert values(kind().update_from_dict(config.to_dict())) == wanted
    assert values(kind.from_dict(config.to_dict())) == wanted
    assert values(kind.from_state(config.get_state())) == wanted
    assert values(pickle.loads(pickle.dumps(config))) == wanted
    copied = config.copy(copy_frozen=False).training(mode="async")
    assert copied.mode == "async" and config.mode == "sync"


def test_a_sweep_may_override_what_a_dictionary_of_a_config_says() -> None:
    merged = {**ready().to_dict(), "model": "another-folder", "temperature": 0.5}
    config = AsyncOnlineDPOConfig().update_from_dict(merged)
    assert (config.language_model, config.temperature) == ("another-folder", 0.5)


@every_config
@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("max_stalenes", "max_staleness"),
        ("mdoel", "model"),
        ("evaluation_promts", "evaluation_prompts"),
        ("updates_per_round", "updates_per_minibatch"),  # derived: not to be set
        ("samplesperprompt", "samples_per_prompt"),
    ],
)
def test_unknown_keys_answer_with_the_nearest(kind: type, wrong: str, nearest: str) -> None:
    for call in (
        lambda: kind().training(gamma=0.9, **{wrong: 1}),
        lambda: kind().update_from_dict({"mode": "sync", wrong: 1}),
    ):
        with pytest.raises(BadConfig, match=rf"unknown setting '{wrong}'\. Did you mean '{nearest}'\?"):
            call()
    with pytest.raises(BadConfig, match=f"unknown setting '{wrong}'"):
        kind().evaluation(**{wrong: 1})


@pytest.mark.parametrize("method", ["training", "copy", "validate", "context_length"])
def test_a_key_never_overwrites_a_method(method: str) -> None:
    with pytest.raises(BadConfig, match=f"unknown setting '{method}'"):
        AsyncOnlineDPOConfig().update_from_dict({method: 1})


def test_a_knob_of_another_method_is_unknown() -> None:
    AsyncRLOOConfig().training(kl_coefficient=0.1)
    for config in (AsyncOnlineDPOConfig(), BestOfNConfig()):
        with pytest.raises(BadConfig, match="unknown setting 'kl_coefficient'"):
            config.training(kl_coefficient=0.1)


def test_a_refused_call_changes_nothing() -> None:
    config = ready(mode="sync")
    before = values(config)
    for wrong in ({"lr": 0.1, "mode": "later"}, {"lr": 0.1, "no_such": 1}, {"lr": [0.1]}, {"model": {}}):
        for call in (config.training, lambda **settings: config.update_from_dict(settings)):
            with pytest.raises(BadConfig):
                call(**wrong)
            assert values(config) == before


def test_a_dictionary_of_layers_is_no_language_model() -> None:
    with pytest.raises(BadConfig, match=r"model is .*; it must be a string"):
        AsyncOnlineDPOConfig().update_from_dict({"model": {"fcnet_hiddens": [64]}})


# ----- derived quantities


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("minibatches", [1, 4])
def test_derived_quantities(minibatches: int, passes: int) -> None:
    settings = {"minibatches_per_generation": minibatches, "updates_per_minibatch": passes}
    config = ready(prompts_per_minibatch=8, max_prompt_tokens=10, max_new_tokens=5, **settings)
    updates = minibatches * passes
    assert config.updates_per_round == updates
    assert config.prompts_per_round == 8 * minibatches
    assert config.staleness_bound == 2 * updates - 1
    assert ready(mode="sync", **settings).staleness_bound == updates - 1
    assert ready(max_staleness=5 * updates, **settings).staleness_bound == 5 * updates
    assert config.context_length == 15 and config.training(max_turns=3).context_length == 10 + 3 * 5 + 2 * 5


@pytest.mark.parametrize(("mode", "ahead"), [("sync", 0), ("async", 1)])
@pytest.mark.parametrize("minibatches", [1, 2, 5])
def test_the_bound_admits_exactly_the_rounds_of_its_mode(mode: str, ahead: int, minibatches: int) -> None:
    config = ready(mode=mode, minibatches_per_generation=minibatches)
    per_round, bound = config.updates_per_round, config.staleness_bound
    for learnt in range(4):
        assert staleness.furthest_round(learnt * per_round, per_round, bound) == learnt + ahead


# ----- refusals of whole configs


@every_config
def test_a_plain_config_is_valid_and_stays_as_it_is(kind: type) -> None:
    config = ready(kind)
    before = values(config)
    config.validate()
    assert values(config) == before


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (AsyncOnlineDPOConfig, {"samples_per_prompt": 1}, "samples_per_prompt is 1"),
        (AsyncRLOOConfig, {"samples_per_prompt": 1}, "samples_per_prompt is 1"),
        (AsyncOnlineDPOConfig, {"staleness_correction": "truncated"}, "staleness_correction is 'truncated'"),
        (BestOfNConfig, {"staleness_correction": "truncated"}, "staleness_correction is 'truncated'"),
        (AsyncOnlineDPOConfig, {"loss": "ipo", "label_smoothing": 0.1}, "label_smoothing is 0.1"),
        (
            AsyncRLOOConfig,
            {"max_staleness": 6, "minibatches_per_generation": 4, "updates_per_minibatch": 2},
            "max_staleness is 6.* allowed: >= 7",
        ),
    ],
)
def test_settings_at_odds_are_refused(kind: type, settings: dict, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        ready(kind, **settings).validate()


def test_the_least_bound_is_allowed() -> None:
    ready(max_staleness=0).validate()
    ready(max_staleness=7, minibatches_per_generation=4, updates_per_minibatch=2).validate()
    ready(AsyncRLOOConfig, staleness_correction="truncated").validate()
    ready(BestOfNConfig, samples_per_prompt=1).validate()


@every_config
def test_workers_and_a_model_are_needed(kind: type) -> None:
    with pytest.raises(BadConfig, match="num_env_runners=0"):
        ready(kind).env_runners(num_env_runners=0).validate()
    with pytest.raises(BadConfig, match="create_local_env_runner=True"):
        ready(kind).env_runners(create_local_env_runner=True).validate()
    with pytest.raises(BadConfig, match="model is not set"):
        kind().environment("TLDR").validate()


def test_minibatches_divide_among_learners() -> None:
    with pytest.raises(BadConfig, match=r"prompts_per_minibatch is 9; .* num_learners \(2\)"):
        ready(prompts_per_minibatch=9).learners(num_learners=2).validate()
    ready(prompts_per_minibatch=8).learners(num_learners=2).validate()


def test_attributes_that_bypass_the_methods_are_checked_too() -> None:
    config = ready()
    config.minibatches_per_generation = 2.0
    config.lr = np.float32(0.25)
    config.validate()
    assert type(config.minibatches_per_generation) is int and type(config.lr) is float
    config.temperature = 0.0
    with pytest.raises(BadConfig, match=r"temperature is 0\.0; it must be a number in"):
        config.validate()
