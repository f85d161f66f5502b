"""Settings of PPO for language models."""

from __future__ import annotations

from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_ext.errors import BadConfig
from rllib_ext.llm.config import LLMConfig
from rllib_ext.runtime.knobs import Knob

# Defaults are those of N+ (arXiv 2403.17031, its table of hyper-parameters) unless a line names another source.
PPO_KNOBS = {
    # Shared knobs whose default is another one here.
    "samples_per_prompt": Knob(
        1, int, "K: completions a prompt, each a sample of its own (N+ and Async RLHF: 1).", 1, 1024
    ),
    "adam_eps": Knob(1e-5, float, "AdamW epsilon.", 0, 1),
    # The critic.
    "value_model": Knob(
        None, str, "Folder of a reward model (as written by run_reward_model) that the critic begins as: all weights, "
        "head and bias. None: the policy's backbone under a head of zeros.", optional=True,
    ),
    "value_revision": Knob(None, str, "Hub revision of value_model.", optional=True),
    "value_lr": Knob(None, float, "Base learning rate of the critic; None: lr.", 0, 1, optional=True),
    "value_coef": Knob(0.1, float, "Weight of the value loss in the sum.", 0.0, 1e3),
    "value_clip": Knob(
        0.2, float, "How far a value may move in one batch before its loss is flat, in units of the reward; None: plain "
        "squared error.", 1e-9, 1e9, optional=True,
    ),
    # The reward of a token.
    "kl_coef": Knob(
        0.05, float, "kappa: reward lost per nat of KL to the reference policy; higher stays closer.", 0.0, 1e3
    ),
    "kl_estimator": Knob(
        "k1", str, "Estimate of the KL a token: 'k1' log-ratio, signed; 'k2' half its square; 'k3' at least 0, low "
        "variance.", choices=("k1", "k2", "k3"),
    ),
    "kl_after_eos": Knob(
        False, bool, "Penalise the padding after EOS too, up to max_new_tokens (the paper's 'unconditional KL' ablation: "
        "shorter answers are punished). The learner computes it, at two more forward passes.",
    ),
    "whiten_rewards": Knob(
        False, bool, "Divide token rewards by their standard deviation, their mean kept (the paper's ablation: shorter, "
        "less preferred answers).",
    ),
    # Advantages and loss.
    "gamma": Knob(1.0, float, "Discount a token.", 0.0, 1.0),
    "gae_lambda": Knob(
        0.95, float, "Trace decay of advantage estimation: 0 trusts the critic, 1 the sampled rewards.", 0.0, 1.0
    ),
    "whiten_advantages": Knob(True, bool, "Shift and scale advantages to mean 0, variance 1 over the tokens of a "
                              "mini-batch."),
    "clip": Knob(0.2, float, "How far a token's probability ratio may move before its loss is flat.", 0.0, 1.0),
    "old_logps": Knob(
        "behaviour", str, "Denominator of the ratio: 'behaviour', what the engine sampled with (N+), or 'recompute', the "
        "learner's own policy at the start of the round, for engines that round differently (decoupled PPO, AReaL, arXiv "
        "2505.24298, where staleness_correction is on).", choices=("behaviour", "recompute"),
    ),
}  # fmt: skip


class AsyncPPOConfig(LLMConfig):
    """``AsyncPPOConfig().environment("TLDR").training(model="sft-folder", value_model="reward-model-folder")``.

    With adapters (``lora_rank``) they are the policy's alone; the critic trains all its weights.
    """

    knobs = LLMConfig.knobs | PPO_KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.ppo_llm.algorithm import AsyncPPO

        super().__init__(algo_class=algo_class or AsyncPPO)

    @property
    def response_length(self) -> int:
        """R, the fixed length that a completion can reach: a score is paid after the last token if that is below R."""
        return self.context_length - self.max_prompt_tokens

    def get_default_learner_class(self) -> type:
        from rllib_ext.ppo_llm.learner import PPOLearner

        return PPOLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        from rllib_ext.ppo_llm.rl_module import PPOModule

        spec = super().get_default_rl_module_spec()
        spec.module_class = PPOModule
        spec.model_config |= {"value_model": self.value_model, "value_revision": self.value_revision}
        return spec

    def validate(self) -> None:
        super().validate()
        if self.kl_after_eos and self.max_turns > 1:
            raise BadConfig(
                f"kl_after_eos is True with max_turns={self.max_turns}; what follows EOS there is the environment's. "
                "Set kl_after_eos=False"
            )
