"""When Elastic Reset averages and when it resets: the settings of one run, and the variants of the ablation.

Source: Elastic Reset (arXiv 2312.07551) and its released code, whose three tasks count differently: IMDB averages once
an iteration and resets after the 1st, 18th and 35th; StackLLaMA averages once an inner epoch and resets every 260
batches; the Lewis game averages every 100 steps. Hence units, periods and phase are settings here.

Left out: a warm-up or bias correction of the average; the method has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from rllib_ext.functional.arguments import require_range

__all__ = ["EMA_UNITS", "RESET_UNITS", "VARIANTS", "ElasticSettings", "count_by"]

RESET_UNITS = ("iteration", "env_steps", "grad_steps")
EMA_UNITS = ("iteration", "inner_epoch", "grad_steps")

# Each is one combination of what a reset does: (online weights go to, average goes to).
VARIANTS: dict[str, tuple[str, str]] = {
    "none": ("none", "none"),  # the base algorithm; no average is kept
    "ema_only": ("none", "none"),  # the average is kept, and is what is evaluated
    "reset_to_init": ("init", "none"),
    "reset_to_ema": ("ema", "none"),
    "elastic_reset": ("ema", "init"),
}


@dataclass(frozen=True)
class ElasticSettings:
    """Counted in ``reset_unit`` unless a line says ``ema_unit``.

    variant: a key of VARIANTS. ema_decay: eta, the weight that the OLD average keeps at a tick (1 never moves, 0
    follows at once); some libraries call 1 - eta their rate. reset_every: P; None for never. reset_offset: the tick
    after which the first reset comes, None for P, and 0 for the very first one as IMDB does (P = 17 then resets after
    ticks 1, 18, 35). ema_every: ticks of ``ema_unit`` from one averaging to the next. ema_reset_every: period of the
    average's own resets; None for together with those of the online weights. skip_last_reset_within: no reset in so
    many last ticks of ``run_length``, which leave no time to recover. reset_optimizer, reset_critic: whether they go
    back to where they began too.
    """

    variant: str = "elastic_reset"
    ema_decay: float = 0.995
    ema_unit: str = "iteration"
    ema_every: int = 1
    reset_every: int | None = 17
    reset_unit: str = "iteration"
    reset_offset: int | None = None
    ema_reset_every: int | None = None
    skip_last_reset_within: int = 0
    run_length: int | None = None
    reset_optimizer: bool = False
    reset_critic: bool = False

    def __post_init__(self) -> None:
        where = "ElasticSettings"
        for name, allowed in (
            ("variant", tuple(VARIANTS)),
            ("ema_unit", EMA_UNITS),
            ("reset_unit", RESET_UNITS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{where}: {name} is {getattr(self, name)!r}; choose one of {', '.join(allowed)}."
                )
        require_range(where, "ema_decay", self.ema_decay, low=0.0, high=1.0)
        require_range(where, "skip_last_reset_within", self.skip_last_reset_within, low=0)
        for name, lowest in (
            ("ema_every", 1),
            ("reset_every", 1),
            ("reset_offset", 0),
            ("ema_reset_every", 1),
            ("run_length", 1),
        ):
            value = getattr(self, name)
            if value is not None:
                require_range(where, name, value, low=lowest)
        if self.skip_last_reset_within and self.run_length is None:
            raise ValueError(
                f"{where}: skip_last_reset_within is {self.skip_last_reset_within} without a run_length, so the last "
                "ticks are not known; give run_length in the unit of reset_unit."
            )

    @property
    def keeps_average(self) -> bool:
        return self.variant != "none"

    @property
    def online_to(self) -> str:
        """Where a reset puts the online weights: "ema", "init", or "none" where they stay."""
        return VARIANTS[self.variant][0] if self.reset_every is not None else "none"

    @property
    def average_to(self) -> str:
        """Where a reset puts the average: "init", or "none" where it stays."""
        return VARIANTS[self.variant][1] if self.average_period is not None else "none"

    @property
    def average_period(self) -> int | None:
        return self.reset_every if self.ema_reset_every is None else self.ema_reset_every

    def resets_by(self, ticks: int) -> int:
        """Resets of the online weights that are due in the first ``ticks`` ticks."""
        return self._by(ticks, self.reset_every) if self.online_to != "none" else 0

    def average_resets_by(self, ticks: int) -> int:
        return self._by(ticks, self.average_period) if self.average_to != "none" else 0

    def _by(self, ticks: int, period: int | None) -> int:
        if self.run_length is not None and self.skip_last_reset_within:
            ticks = min(ticks, self.run_length - self.skip_last_reset_within)
        return count_by(ticks, period, self.reset_offset)


def count_by(ticks: int, period: int | None, offset: int | None = None) -> int:
    """How many resets come within ``ticks`` ticks: at o, o + P, o + 2 P, ... with o = max(1, offset), or P for None.

    A function of the number alone, so that a unit which advances in large steps (environment steps) is reset once at
    the step that passes the mark, and so that a resumed run needs no memory of past marks.
    """
    if period is None:
        return 0
    first = period if offset is None else max(1, offset)
    return 0 if ticks < first else 1 + (ticks - first) // period
