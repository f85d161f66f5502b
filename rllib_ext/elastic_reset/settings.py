"""From a config's knobs to what the learner runs on, with what is allowed each by itself and not together."""

from __future__ import annotations

import re
from typing import Any

from rllib_ext.errors import BadConfig
from rllib_ext.functional.elastic_schedule import ElasticSettings

_OTHER_WAY = {("elastic_reset", "none"): "reset_to_ema", ("reset_to_ema", "init"): "elastic_reset"}
_SAME = {("elastic_reset", "init"), ("reset_to_ema", "none")}


def elastic_settings(config: Any) -> ElasticSettings:
    """The schedule of ``config``, an AlgorithmConfig with the knobs of Elastic Reset. BadConfig where it is none."""
    refuse_at_odds(config)
    names = (
        "ema_decay", "ema_unit", "ema_every", "reset_every", "reset_unit", "reset_offset", "ema_reset_every",
        "skip_last_reset_within", "reset_optimizer", "reset_critic",
    )  # fmt: skip
    try:
        return ElasticSettings(
            variant=variant_of(config),
            run_length=run_length(config),
            **{name: getattr(config, name) for name in names},
        )
    except ValueError as error:
        raise BadConfig(str(error).removeprefix("ElasticSettings: ")) from error


def variant_of(config: Any) -> str:
    """The variant, as ``reset_ema_to`` leaves it."""
    if config.reset_ema_to is None or (config.variant, config.reset_ema_to) in _SAME:
        return config.variant
    if (config.variant, config.reset_ema_to) not in _OTHER_WAY:
        raise BadConfig(
            f"reset_ema_to is {config.reset_ema_to!r} with variant={config.variant!r}, which has no reset to "
            "the average; leave reset_ema_to at None, or choose variant='elastic_reset'"
        )
    return _OTHER_WAY[config.variant, config.reset_ema_to]


def run_length(config: Any) -> int | None:
    """Length of the run in ``reset_unit``: the knob, or what a language-model run's ``total_updates`` comes to."""
    if config.run_length is not None:
        return config.run_length
    total = getattr(config, "total_updates", None)
    if total is None or config.reset_unit == "env_steps":
        return None
    return total if config.reset_unit == "grad_steps" else -(-total // config.updates_per_round)


def recovery_ticks(config: Any) -> int:
    """Ticks after a reset in which a trial is not judged."""
    if config.recovery is not None:
        return config.recovery
    return (config.reset_every or 0) // 2


def evaluated_weights(config: Any) -> str:
    """ "online" or "ema"."""
    return config.evaluate_with or ("ema" if config.variant == "ema_only" else "online")


def refuse_at_odds(config: Any) -> None:
    """Settings that name something which is not there."""
    for name in ("param_filter", "critic_filter"):
        try:
            re.compile(getattr(config, name) or "")
        except re.error as error:
            raise BadConfig(
                f"{name} is {getattr(config, name)!r}, no regular expression: {error}. Correct it"
            ) from error
    if config.variant == "none":
        for name, value in (("kl_anchor", config.kl_anchor), ("export", config.export),
                            ("evaluate_with", config.evaluate_with)):  # fmt: skip
            if value == "ema":
                raise BadConfig(
                    f"{name} is 'ema', but variant='none' keeps no average; choose variant='ema_only' or another"
                )
    controller = getattr(config, "kl_controller", "fixed")
    if controller != "fixed" and config.kl_beta_target is None:
        raise BadConfig(
            f"kl_controller is {controller!r} without a target; set kl_beta_target, in nats, or kl_controller='fixed'"
        )
