"""The configuration of ContrastiveComm: PPO's settings under RLlib's names, and the knobs of messages."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_ext.contrastive_comm.knobs import KNOBS
from rllib_ext.errors import BadConfig
from rllib_ext.registry import GAMES
from rllib_ext.runtime.knob_options import KnobOptions

FROM_ENVIRONMENT = ("agents", "observation", "actions")


class ContrastiveCommConfig(KnobOptions, PPOConfig):
    """ContrastiveCommConfig().environment("Beacon").training(comm="cacl", message_dim=10)

    Defaults that differ from PPO's, each from the small setting of the specification or the paper: lr 1e-3 (paper 3e-4),
    clip 0.2, 4 epochs, lambda 0.95, entropy 0.01, value 0.5, gradient norm 2 (paper 2500), 64 environments.
    """

    knobs = KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.contrastive_comm.algorithm import ContrastiveComm
        from rllib_ext.contrastive_comm.curriculum import Curriculum
        from rllib_ext.contrastive_comm.runner import CommEnvRunner

        super().__init__(algo_class=algo_class or ContrastiveComm)
        self.lr, self.gamma, self.lambda_ = 1e-3, 0.99, 0.95
        self.clip_param, self.vf_clip_param, self.vf_loss_coeff, self.entropy_coeff = 0.2, 1e6, 0.5, 0.01
        self.num_epochs, self.grad_clip, self.use_kl_loss = 4, 2.0, False
        self.num_env_runners, self.num_envs_per_env_runner = 0, 64
        self.normalize_actions = self.clip_actions = False
        self.env_runners(env_runner_cls=CommEnvRunner)
        self.callbacks(Curriculum)

    def get_default_learner_class(self) -> type:
        from rllib_ext.contrastive_comm.learner import CommLearner

        return CommLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        from rllib_ext.contrastive_comm.module import CommModule

        return RLModuleSpec(module_class=CommModule)

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        """What the module is built from: every knob of its own. Counts of agents and sizes come from the spaces."""
        return super()._model_config_auto_includes | {name: getattr(self, name) for name in self.knobs}

    def get_multi_rl_module_spec(self, **settings: Any) -> Any:
        """RLlib's spec, with the sizes that the environment's spaces say."""
        spec = super().get_multi_rl_module_spec(**settings)
        for one in spec.rl_module_specs.values():
            if one.observation_space is not None:
                agents, width = one.observation_space.shape
                sizes = dict(
                    zip(FROM_ENVIRONMENT, (agents, width, int(one.action_space.nvec.max())), strict=True)
                )
                one.model_config = {**(one.model_config or {}), **sizes}
        return spec

    def validate(self) -> None:
        super().validate()
        if self.env is None:
            raise BadConfig("no environment: call environment(name), for example environment('Beacon')")
        if self.comm_coeff is not None and self.comm.removesuffix("+dial") not in ("cacl", "aecomm"):
            raise BadConfig(
                f"comm_coeff is {self.comm_coeff} with comm={self.comm!r}, which has no message loss; leave it None"
            )
        if self.num_envs_per_env_runner < 2 and "cacl" in self.comm:
            raise BadConfig(
                "num_envs_per_env_runner is 1: a contrast needs two trajectories at least; set 2 or more, 64 by default"
            )
        if self.evaluation_interval and self.evaluation_duration_unit != "episodes":
            raise BadConfig("evaluation_duration_unit must be 'episodes': an evaluation plays whole episodes")
        self._check_curriculum()
        for name in ("use_kl_loss", "use_critic"):
            if getattr(self, name) != (name == "use_critic"):
                raise BadConfig(
                    f"{name}={getattr(self, name)} is not supported; leave it at {name == 'use_critic'}"
                )

    def _check_curriculum(self) -> None:
        """Callbacks of one's own take the place of the one that follows a curriculum, unless they hold it."""
        from rllib_ext.contrastive_comm.curriculum import Curriculum

        held = (
            self.callbacks_class if isinstance(self.callbacks_class, list | tuple) else [self.callbacks_class]
        )
        followed = any(isinstance(cls, type) and issubclass(cls, Curriculum) for cls in held)
        if self.env in GAMES and (self.env_config or {}).get("curriculum") and not followed:
            raise BadConfig(
                f"env_config has curriculum={self.env_config['curriculum']!r}, but no callback follows it; give "
                "callbacks([rllib_ext.contrastive_comm.curriculum.Curriculum, ...]) beside your own"
            )
