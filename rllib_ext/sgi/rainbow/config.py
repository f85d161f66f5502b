"""The configuration of SGIRainbow: the knobs, and RLlib's settings with the defaults of the published finetuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_ext.errors import BadConfig
from rllib_ext.runtime.knob_options import KnobOptions
from rllib_ext.sgi.atari_names import atari_copies, count_actions, game_of
from rllib_ext.sgi.rainbow.knobs import KNOBS

STEPS = 100_000  # of the benchmark: what an evaluation at the end waits for
ENCODER, HIDDEN = "M", 512
PRETRAINED_RATES = {"encoder": 1e-6, "first_layers": 3e-5}
BUILDS = (
    "noisy", "sigma_0", "atoms", "v_max", "spr_weight", "spr_tau", "target_tau", "augmentation", "shift_pad",
    "intensity_scale", "freeze_encoder",
)  # fmt: skip


class SGIRainbowConfig(KnobOptions, AlgorithmConfig):
    """SGIRainbowConfig().environment("Atari100k/Pong").from_pretrained(folder).training(updates_per_step=2)

    One copy of the game and one update's worth of learner in this process are the published setting. An evaluation, of
    100 games that each copy plays from its start, comes after 100 iterations of 1,000 steps.
    """

    knobs = KNOBS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_ext.sgi.rainbow.algorithm import SGIRainbow
        from rllib_ext.sgi.runner import AtariRunner

        super().__init__(algo_class=algo_class or SGIRainbow)
        self.lr, self.gamma, self.grad_clip = 1e-4, 0.99, None
        self.train_batch_size_per_learner = 32
        self.num_env_runners, self.num_envs_per_env_runner = 0, 1
        self.evaluation_interval, self.evaluation_duration = STEPS // self.steps_per_iteration, 100
        self.evaluation_duration_unit = "episodes"
        self.env_runners(env_runner_cls=AtariRunner)

    def from_pretrained(self, folder: str | Path) -> SGIRainbowConfig:
        """Begin with the networks of a pretrained folder; encoder and width are its own."""
        return self.training(pretrained=str(folder))

    # ----- what depends on something else

    @property
    def _card(self) -> Any:
        from rllib_ext.sgi.rainbow.transfer import card_of

        return None if self.pretrained is None else card_of(self.pretrained)

    @property
    def encoder_size(self) -> str:
        """`encoder`, with None resolved."""
        card = None if self.encoder else self._card
        return self.encoder or (card.encoder if card else ENCODER)

    @property
    def hidden_width(self) -> int:
        """`hidden`, with None resolved."""
        card = None if self.hidden else self._card
        return self.hidden or (card.hidden if card else HIDDEN)

    def rate_of(self, group: str) -> float:
        """Adam's rate of a group of parameters: encoder, first_layers or rest."""
        given = getattr(self, f"{group}_lr", None)
        if given is not None:
            return given
        return self.lr if self.pretrained is None else PRETRAINED_RATES.get(group, self.lr)

    @property
    def window(self) -> int:
        """Steps that a window of replay has behind its first."""
        return max(self.n_step, self.n_step_last or 1, self.spr_steps if self.spr_weight else 1)

    # ----- RLlib

    def get_default_learner_class(self) -> type:
        from rllib_ext.sgi.rainbow.learner import RainbowLearner

        return RainbowLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        from rllib_ext.sgi.rainbow.module import RainbowModule

        return RLModuleSpec(module_class=RainbowModule)

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        """What the module is built from."""
        own = {name: getattr(self, name) for name in BUILDS}
        resolved = {"encoder": self.encoder_size, "hidden": self.hidden_width}
        return super()._model_config_auto_includes | own | resolved

    def validate(self) -> None:
        super().validate()
        if self.env is None:
            raise BadConfig(
                "no environment: call environment(name), for example environment('Atari100k/Pong')"
            )
        game_of(self.env)
        if not isinstance(self.lr, float | int):
            raise BadConfig(f"lr is {self.lr!r}; it must be one number: schedules are not supported here")
        if self.num_learners > 1:
            raise BadConfig(
                f"num_learners is {self.num_learners}; a batch of {self.train_batch_size_per_learner} rows needs one "
                "learner (0: in this process, 1: in one of its own)"
            )
        if self.evaluation_interval and self.evaluation_duration_unit != "episodes":
            raise BadConfig("evaluation_duration_unit must be 'episodes': an evaluation plays whole games")
        if self.freeze_encoder and self.reset_every is not None:
            raise BadConfig("freeze_encoder with reset_every: a reset shrinks the encoder; leave one of them")
        if self.gamma_last is not None and self.gamma >= 1:
            raise BadConfig(f"gamma is {self.gamma} with gamma_last={self.gamma_last}; both must be below 1")
        self._check_pretrained()

    def _check_pretrained(self) -> None:
        """What does not fit is told before anything is started."""
        if self.pretrained is None:
            return
        from rllib_ext.sgi.pretrained import load_pretrained

        pretrained = load_pretrained(self.pretrained)
        actions = count_actions(self.env, self.env_config)
        pretrained.require(encoder=self.encoder, hidden=self.hidden, actions=actions)
        meanings = pretrained.card.action_meanings
        if meanings:
            copies = atari_copies(self.env, self.env_config, 1, "train")
            copies.close()
            pretrained.require(action_meanings=copies.action_meanings)
