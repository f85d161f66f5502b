"""The knobs of Elastic Reset, one table for every algorithm that it is put on.

Defaults are those of the paper's IMDB configuration (arXiv 2312.07551, ``elasticreset17``) unless a line says otherwise.
What a setting does exactly: ``rllib_ext/functional/elastic_schedule.py``.
"""

from __future__ import annotations

from rllib_ext.functional.elastic_schedule import EMA_UNITS, RESET_UNITS, VARIANTS
from rllib_ext.functional.kl_control import CONTROLLERS
from rllib_ext.runtime.knobs import Knob

#: Names of value functions in RLlib's default modules and in this package's.
CRITIC = r"(^|\.)(critic|critic_encoder|vf|value_head)(\.|$)"

RESET_KNOBS = {
    "variant": Knob(
        "elastic_reset", str, "What a reset does: 'elastic_reset' (weights to the average, average to the initial "
        "weights), 'reset_to_ema' (the average stays), 'reset_to_init' (weights to the initial ones), 'ema_only' (no "
        "reset; the average is evaluated), 'none' (the base algorithm).", choices=tuple(VARIANTS),
    ),
    "reset_every": Knob(
        17, int, "P: ticks of reset_unit from one reset to the next. None: never, which trains bit for bit as the base "
        "algorithm does.", 1, 10**12, optional=True,
    ),
    "reset_unit": Knob(
        "iteration", str, "What reset_every counts: 'iteration' (a training step, or generation round, that updated), "
        "'env_steps' (of language models: completions) or 'grad_steps'. A reset waits for the end of its iteration.",
        choices=RESET_UNITS,
    ),
    "reset_offset": Knob(
        None, int, "Tick after which the first reset comes; None: after reset_every; 0: after the very first tick, as "
        "the IMDB runs do (P = 17 then resets after 1, 18, 35).", 0, 10**12, optional=True,
    ),
    "ema_decay": Knob(
        0.995, float, "eta, the weight that the OLD average keeps at every tick: higher is slower, 1 never moves. (Some "
        "libraries call 1 - eta their rate.) er/init_weight_fraction reports eta^ticks.", 0.0, 1.0,
    ),
    "ema_unit": Knob(
        "iteration", str, "What averages: every 'iteration' (IMDB), 'inner_epoch' (a pass over the batch; StackLLaMA) or "
        "'grad_steps'.", choices=EMA_UNITS,
    ),
    "ema_every": Knob(1, int, "Ticks of ema_unit from one averaging to the next (Lewis game: 100).", 1, 10**9),
    "reset_ema_to": Knob(
        None, str, "Where a reset puts the average; None: as the variant says. 'none' makes elastic_reset the variant "
        "reset_to_ema, 'init' the other way.", choices=("init", "none", None), optional=True,
    ),
    "ema_reset_every": Knob(
        None, int, "Period of the average's own resets, ticks of reset_unit; None: with those of the weights.", 1, 10**12,
        optional=True,
    ),
    "module_ids": Knob(
        None, str, "Modules that take part, names with commas between; None: every module that is trained.", optional=True
    ),
    "param_filter": Knob(
        None, str, "Regular expression; parameters whose name it is found in are averaged and reset. None: all that are "
        "trained but the critic. Frozen ones (a base model under LoRA) never take part.", optional=True,
    ),
    "critic_filter": Knob(CRITIC, str, "Regular expression of the critic's parameter names."),
    "reset_optimizer": Knob(False, bool, "Forget the optimizer's moments at a reset (the paper does not)."),
    "reset_critic": Knob(False, bool, "Put the critic back to where it began at a reset (the paper does not)."),
    "skip_last_reset_within": Knob(
        0, int, "No reset in so many last ticks of run_length: they leave no time to recover.", 0, 10**12
    ),
    "run_length": Knob(
        None, int, "Length of the run in reset_unit, for skip_last_reset_within. None: what total_updates says, where "
        "there is one.", 1, 10**12, optional=True,
    ),
    "recovery": Knob(
        None, int, "Ticks of reset_unit after a reset in which er/recovering is 1, so that schedulers do not judge the "
        "trial. None: half of reset_every.", 0, 10**12, optional=True,
    ),
    "evaluate_with": Knob(
        None, str, "Weights that evaluations use: 'online' or 'ema'. None: 'ema' for the variant ema_only, else "
        "'online'.",
        choices=("online", "ema", None), optional=True,
    ),
    "export": Knob(
        "online", str, "Weights that an export writes: 'online', 'ema', or 'best_pre_reset', the online weights before "
        "the reset with the best mean return so far.", choices=("online", "ema", "best_pre_reset"),
    ),
    "kl_anchor": Knob(
        "init", str, "Reference policy of the KL penalty: 'init', the initial weights, or 'ema', the average (what the "
        "released IMDB code does).", choices=("init", "ema"),
    ),
}  # fmt: skip

PENALTY_KNOBS = {
    "kl_beta": Knob(
        0.0, float, "beta: reward lost per nat of KL to the reference policy, a step: r - beta (log pi - log pi_ref). "
        "Not RLlib's kl_coeff, which is about one update's old and new policy.", 0.0, 1e6,
    ),
    "kl_controller": Knob(
        "fixed", str, "How beta follows the measured KL: 'fixed'; 'trl', at most 20 % in kl_beta_horizon episodes; "
        "'rl4lms', at most 2 % an iteration.", choices=CONTROLLERS,
    ),
    "kl_beta_target": Knob(
        None, float, "KL that the controller steers to, nats: an episode ('trl'; TRL: 6) or a step ('rl4lms'; IMDB: 0.5 "
        "to 1). None: beta stays.", 1e-9, 1e9, optional=True,
    ),
    "kl_beta_horizon": Knob(10_000.0, float, "Episodes in which the 'trl' rule may change beta by 20 %.", 1.0, 1e12),
}  # fmt: skip

# What each row of the ablation sets. The penalty's weight is a sweep's to set beside them.
PRESETS: dict[str, dict[str, object]] = {
    "kl_penalty": {"variant": "none"},
    "ema_only": {"variant": "ema_only", "evaluate_with": "ema", "export": "ema"},
    "reset_to_init": {"variant": "reset_to_init"},
    "reset_to_ema": {"variant": "reset_to_ema"},
    "elastic_reset": {"variant": "elastic_reset"},
    "elastic_reset_optimizer": {"variant": "elastic_reset", "reset_optimizer": True},
    "elastic_reset_critic": {"variant": "elastic_reset", "reset_critic": True},
    "elastic_reset_both": {"variant": "elastic_reset", "reset_optimizer": True, "reset_critic": True},
}
