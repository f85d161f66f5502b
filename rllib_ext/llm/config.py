"""The AlgorithmConfig that every language-model method derives from: RLlib's own surface plus the knobs.

Left out: RLlib settings that have no meaning for a text policy (connectors, vectorisation, catalog models).
The attribute ``language_model`` holds what the knob ``model`` sets, because RLlib keeps a dictionary under
``model``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.from_config import NotProvided

from rllib_ext.errors import BadConfig, unknown_name
from rllib_ext.functional import staleness
from rllib_ext.llm.knobs import EVALUATION, LLM_KNOBS
from rllib_ext.runtime.knobs import Knob, take_knobs

_RENAMED = {"model": "language_model"}


class LLMConfig(AlgorithmConfig):
    """Base of the language-model configs; ``knobs`` is the table that attributes, CLI and validation read."""

    knobs: ClassVar[dict[str, Knob]] = LLM_KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)
        for name, knob in self.knobs.items():
            setattr(self, _RENAMED.get(name, name), knob.default)
        self._set_rllib_defaults()

    def _set_rllib_defaults(self) -> None:
        from rllib_ext.llm.env_runner import VLLMEnvRunner

        self.env_runner_cls = VLLMEnvRunner
        self.create_local_env_runner = False
        self.num_env_runners = 1
        self.num_envs_per_env_runner = 1
        self.validate_env_runners_after_construction = False
        self.merge_env_runner_states = False
        self.broadcast_env_runner_states = False
        self._dont_auto_sync_env_runner_states = True
        self.use_env_runner_state_server = False
        self.min_time_s_per_iteration = None
        self.disable_env_checking = True

    def training(self, *, model: str | dict = NotProvided, **settings: Any) -> LLMConfig:
        """Set knobs and RLlib's own training settings; unknown names answer with the nearest."""
        if model is not NotProvided:
            settings["model"] = model
        self._set(self.knobs, settings, AlgorithmConfig.training)
        return super().training(**settings)

    def evaluation(self, **settings: Any) -> LLMConfig:
        """Set the knobs of evaluations and RLlib's own evaluation settings."""
        self._set(EVALUATION, settings, AlgorithmConfig.evaluation)
        return super().evaluation(**settings)

    def _set(self, knobs: dict[str, Knob], settings: dict[str, Any], of_rllib: Callable) -> None:
        """Take the knobs out of ``settings``; what is left must be parameters of RLlib's own method."""
        taken = take_knobs(knobs, settings)
        parameters = [name for name in inspect.signature(of_rllib).parameters if name != "self"]
        for name in settings:
            if name not in parameters:
                raise unknown_name("setting", name, [*knobs, *parameters])
        for name, value in taken.items():
            setattr(self, _RENAMED.get(name, name), value)

    def update_from_dict(self, config_dict: dict[str, Any]) -> LLMConfig:
        """RLlib's update, except that a key nobody knows is an error instead of a new attribute."""
        plain = dict(config_dict)
        settable = {*self.knobs, *vars(self), "multiagent"}
        for name in plain:
            attribute = self._translate_special_keys(name, warn_deprecated=False)
            if attribute not in settable and not name.startswith("_"):
                raise unknown_name("setting", name, [*self.knobs, "env", "env_config", "num_env_runners"])
        if plain.get("model") == self.model:
            del plain["model"]  # RLlib's own dictionary, as ``to_dict`` writes it
        for name, attribute in _RENAMED.items():
            if name in plain:
                plain.pop(attribute, None)
        self.training(**{name: plain.pop(name) for name in list(plain) if name in self.knobs})
        return super().update_from_dict(plain)

    # ----- derived quantities

    @property
    def updates_per_round(self) -> int:
        """U = N * T, the optimizer updates that one generation round feeds."""
        return self.minibatches_per_generation * self.updates_per_minibatch

    @property
    def prompts_per_round(self) -> int:
        return self.minibatches_per_generation * self.prompts_per_minibatch

    @property
    def most_env_runners(self) -> int:
        """Rollout workers that the run may grow to."""
        return max(self.num_env_runners, self.max_env_runners or 0)

    @property
    def staleness_bound(self) -> int:
        """The largest age that admission control keeps to, in updates."""
        if self.mode == "sync":
            return staleness.minimum_staleness(self.updates_per_round)
        if self.max_staleness is None:
            return staleness.one_step_staleness(self.updates_per_round)
        return self.max_staleness

    @property
    def context_length(self) -> int:
        """Most tokens in one episode's sequence; later turns get room for an observation as long as a
        completion.
        """
        return self.max_prompt_tokens + self.max_new_tokens * (2 * self.max_turns - 1)

    @property
    def run_seed(self) -> int:
        return int(self.seed or 0)

    # ----- validation and defaults for RLlib

    def validate(self) -> None:
        """Refuse what cannot work, by field, value and allowed range, before anything is started."""
        for name, knob in self.knobs.items():
            attribute = _RENAMED.get(name, name)
            value = getattr(self, attribute)
            checked = knob.check(name, value)  # attributes can be set without passing through training()
            if type(checked) is not type(value):
                setattr(self, attribute, checked)
        if not self.language_model:
            raise BadConfig("model is not set: .training(model=<hub name or folder of a causal LM>)")
        self._refuse_at_odds()
        super().validate()

    def _refuse_at_odds(self) -> None:
        """Settings that are allowed each by itself and not together."""
        if not self.in_evaluation and (self.num_env_runners < 1 or self.create_local_env_runner):
            raise BadConfig(
                f"num_env_runners={self.num_env_runners}, create_local_env_runner="
                f"{self.create_local_env_runner}: text is generated in remote rollout workers only; set "
                ".env_runners(num_env_runners=1) or more, and create_local_env_runner=False"
            )
        least = staleness.minimum_staleness(self.updates_per_round)
        if self.max_staleness is not None and self.max_staleness < least:
            raise BadConfig(
                f"max_staleness is {self.max_staleness}, but a round of {self.minibatches_per_generation} "
                f"mini-batches x {self.updates_per_minibatch} passes makes its last samples {least} updates "
                f"old even when it is generated just in time; allowed: >= {least}, or lower "
                "minibatches_per_generation"
            )
        if self.max_env_runners is not None and self.max_env_runners < self.num_env_runners:
            raise BadConfig(
                f"max_env_runners is {self.max_env_runners}, less than num_env_runners ({self.num_env_runners}), which "
                "the run starts with"
            )
        learners = max(1, self.num_learners)
        if self.prompts_per_minibatch % learners:
            raise BadConfig(
                f"prompts_per_minibatch is {self.prompts_per_minibatch}; it must be a multiple of "
                f"num_learners ({learners})"
            )

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        from rllib_ext.llm.rl_module import CausalLMModule

        return RLModuleSpec(
            module_class=CausalLMModule,
            model_config={
                "model": self.language_model,
                "revision": self.revision,
                "dtype": self.dtype,
                "lora_rank": self.lora_rank,
                "lora_alpha": self.lora_alpha,
                "temperature": self.temperature,
                "share_prompts": self.share_prompts,
                "seed": self.run_seed,
            },
        )
