"""The knobs that both games have: the method against drift, and how a run is reported and kept.

``method`` is the one that a comparison sweeps: everything else of a run is the same for all of them. "ER" is Elastic
Reset (arXiv 2312.07551), "SIL" is Seeded Iterated Learning (arXiv 2003.12694).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_ext.errors import BadConfig, unknown_name
from rllib_ext.functional.elastic_schedule import VARIANTS, ElasticSettings
from rllib_ext.runtime.knobs import Knob, refuse_unknown, take_knobs

RESETS = tuple(
    name for name in VARIANTS if name != "none"
)  # ema_only, reset_to_init, reset_to_ema, elastic_reset


def resets(period: str, agents: Mapping[str, str]) -> dict[str, Knob]:
    """Elastic Reset's knobs; ``period`` says where the default comes from, ``agents`` what can be reset."""
    return {
        "reset_every": Knob(
            None, int, f"P: play updates from one reset to the next; None: {period}", 1, 10**9, optional=True
        ),
        "ema_every": Knob(1, int, "Play updates from one averaging to the next.", 1, 10**9),
        "ema_decay": Knob(
            None,
            float,
            "eta: the weight that the OLD average keeps at a tick; None: 0.3 of the initial weights are left at a reset.",
            0.0,
            1.0,
            optional=True,
        ),
        "reset_agents": Knob(
            next(iter(agents)),
            str,
            "Whom a reset puts back: "
            + ", ".join(f"{name!r} ({what})" for name, what in agents.items())
            + ".",
            choices=tuple(agents),
        ),
        "reset_optimizer": Knob(False, bool, "A reset also clears the optimizer of whom it resets (ER: no)."),
        "skip_last_reset_within": Knob(
            1, int, "No reset in so many last play updates: they leave no time to recover.", 1, 10**9
        ),
    }


RUN = {
    "seed": Knob(0, int, "Start weights, data order, messages that are drawn.", 0, 2**63 - 1),
    "checkpoint_every": Knob(
        None, int, "Updates from one checkpoint to the next; None: Tune decides.", 1, 10**9, optional=True
    ),
    "num_cpus": Knob(1.0, float, "CPUs that Tune reserves, and threads that are used.", 0, 4096),
    "num_gpus": Knob(0.0, float, "GPUs that Tune reserves.", 0, 64),
    "run_folder": Knob(None, str, "Folder of the run's own files; None: the Tune trial's.", optional=True),
}


def checked(knobs: Mapping[str, Knob], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob's value: the defaults, over them what was chosen; an unknown name answers with the nearest."""
    settings = dict(chosen)
    method = settings.get("method")
    if isinstance(method, str) and method not in knobs["method"].choices:
        raise unknown_name("method", method, knobs["method"].choices)
    taken = take_knobs(knobs, settings)
    refuse_unknown(knobs, settings)
    return {name: knob.default for name, knob in knobs.items()} | taken


def elastic_settings(values: Mapping[str, Any], play_updates: int) -> ElasticSettings:
    """What the knobs mean for ``Elastic``: all is counted in play updates (``grad_steps``).

    Where P is not given, it is a quarter of the play, so that three resets come before the end and the last quarter is
    left to recover; a reset that would come with the last update never does. Where eta is not given it is
    0.3^(1 / ticks of a period).
    """
    if values["method"] not in RESETS:
        return ElasticSettings(variant="none")
    period = values["reset_every"] or max(1, play_updates // 4)
    ticks = period // values["ema_every"]
    decay = values["ema_decay"]
    if decay is None:
        if ticks == 0:
            raise BadConfig(
                f"ema_every is {values['ema_every']}, more than the {period} updates between two resets: the average "
                "would never move. Average more often, or give ema_decay."
            )
        decay = 0.3 ** (1 / ticks)
    return ElasticSettings(
        variant=values["method"],
        ema_decay=decay,
        ema_unit="grad_steps",
        ema_every=values["ema_every"],
        reset_unit="grad_steps",
        reset_every=period,
        skip_last_reset_within=values["skip_last_reset_within"],
        run_length=play_updates,
        reset_optimizer=values["reset_optimizer"],
    )
