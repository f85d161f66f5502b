"""The configuration of EmergentComm: knobs of both games and, in ``mode="ppo"``, PPO's settings under RLlib's names."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from envs.games.sender_receiver import RECEIVER, SENDER
from rllib_ext.emergent_comm.knobs import KNOBS
from rllib_ext.emergent_comm.negotiators import Sizes
from rllib_ext.errors import BadConfig
from rllib_ext.registry import create_environment
from rllib_ext.runtime.knob_options import KnobOptions

AGENTS = {"SenderReceiver": (SENDER, RECEIVER), "Negotiation": ("A", "B")}
DEFAULTS = {"SenderReceiver": (64, 250), "Negotiation": (128, 200)}  # games an update, updates an iteration


class EmergentCommConfig(KnobOptions, PPOConfig):
    """EmergentCommConfig().environment("SenderReceiver", env_config={"bias": 90.0}).training(receiver_lr=2e-4)"""

    knobs = KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.emergent_comm.algorithm import EmergentComm

        super().__init__(algo_class=algo_class or EmergentComm)
        self.num_env_runners, self.normalize_actions, self.clip_actions = 0, False, False
        self.env = "SenderReceiver"

    @property
    def games(self) -> int:
        """Games of an update."""
        return self.games_per_update or DEFAULTS[self.env][0]

    @property
    def updates(self) -> int:
        """Updates of an iteration."""
        return self.updates_per_iteration or DEFAULTS[self.env][1]

    def make_game(self) -> Any:
        """The environment, for its rules."""
        return create_environment(self.env, dict(self.env_config or {}))

    def environment(self, env: Any = None, **settings: Any) -> EmergentCommConfig:
        """RLlib's; every agent of the game gets a module of its own."""
        super().environment(env, **settings) if env is not None else super().environment(**settings)
        agents = AGENTS.get(self.env)
        if agents:
            # Not a set: modules are made in this order, and so is what the seed draws for their first weights.
            self.multi_agent(policies=list(agents), policy_mapping_fn=lambda agent, *_, **__: agent)
        return self

    def get_default_learner_class(self) -> type:
        if self.mode == "ppo":
            from rllib_ext.emergent_comm.ppo_learner import EmergentPPOLearner

            return EmergentPPOLearner
        from rllib_ext.emergent_comm.learner import CircleLearner
        from rllib_ext.emergent_comm.negotiation_learner import NegotiationLearner

        return NegotiationLearner if self.env == "Negotiation" else CircleLearner

    def get_default_rl_module_spec(self) -> Any:
        if self.mode == "ppo":
            return super().get_default_rl_module_spec()
        from rllib_ext.emergent_comm.modules import NegotiatorModule, SenderModule

        return RLModuleSpec(module_class=NegotiatorModule if self.env == "Negotiation" else SenderModule)

    def get_multi_rl_module_spec(self, **settings: Any) -> Any:
        """RLlib's, which has one class for every agent, with the receiver's own put in."""
        spec = super().get_multi_rl_module_spec(**settings)
        if self.mode == "paper" and RECEIVER in spec.rl_module_specs:
            from rllib_ext.emergent_comm.modules import ReceiverModule

            spec.rl_module_specs[RECEIVER].module_class = ReceiverModule
        return spec

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        """What modules are built from."""
        if self.mode == "ppo":
            return super()._model_config_auto_includes
        own: dict[str, Any] = {name: getattr(self, name) for name in self.knobs}
        if self.env == "Negotiation":
            own["sizes"] = asdict(Sizes.of(self.make_game().core))
        return super()._model_config_auto_includes | own

    def validate(self) -> None:
        if self.env not in AGENTS:
            raise BadConfig(
                f"EmergentComm plays {', '.join(AGENTS)}, not {self.env!r}; name one with environment(...)"
            )
        if self.mode == "ppo" and self._env_to_module_connector is None:
            from ray.rllib.connectors.env_to_module import FlattenObservations

            self.env_runners(env_to_module_connector=lambda *_, **__: FlattenObservations(multi_agent=True))
        super().validate()
        game = self.make_game()
        if self.lola != "none" and (self.mode == "ppo" or getattr(game, "channel", None) != "discrete"):
            raise BadConfig(
                f"lola is {self.lola!r}; it is for mode='paper' and SenderReceiver's discrete channel. Set it to 'none'"
            )
        if self.switch_after is not None and (self.mode == "ppo" or self.env != "SenderReceiver"):
            raise BadConfig(
                f"switch_after is {self.switch_after}; it is for mode='paper' and SenderReceiver. Set it to None"
            )
        if self.mode == "paper" and self.num_learners > 1:
            raise BadConfig(f"num_learners is {self.num_learners}; the paper's mode has one: set 0 or 1")
