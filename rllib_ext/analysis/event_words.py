"""What the events of a run mean to a person: one sentence each, and whether it was trouble or routine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_ext.analysis.plain_text import one_line

#: What happened and what the run did about it, for every kind of trouble that it can meet and survive.
TROUBLE: dict[str, str] = {
    "worker_died": "A rollout worker was lost; the others went on.",
    "worker_replaced": "A new worker took the place of a lost one, with the current weights.",
    "worker_timeout": "A worker missed its deadline and was given up.",
    "prompts_requeued": "Prompts of a lost worker went back to the queue, each exactly once.",
    "weight_digest_mismatch": "A worker served other weights than were published; they were sent again.",
    "nonfinite_update_skipped": "A loss or gradient was not a finite number; the update was skipped.",
    "reward_failure": "The reward failed on some samples; they count as unscored and were not learnt from.",
    "stale_dropped": "Samples older than max_staleness were dropped instead of learnt from.",
    "empty_iteration": "An iteration came without new samples; nothing was updated.",
    "checkpoint_failed": "A checkpoint could not be written; the last good one stays.",
    "checkpoint_corrupt": "A checkpoint did not verify; the newest one that does was used.",
}
ROUTINE = frozenset(
    {
        "checkpoint_saved",
        "checkpoint_restored",
        "run_started",
        "run_finished",
        "run_resumed",
        "evaluation",
        "worker_joined",
        "plateau_left",
    }
)


def is_trouble(event: object) -> bool:
    """Whether an event belongs under "what went wrong": every kind that is not known to be routine does."""
    return str(event) not in ROUTINE


def meaning(event: object) -> str:
    return TROUBLE.get(str(event), "")


def detail_of(row: Mapping[str, Any], limit: int = 300) -> str:
    """The detail and whatever else an event carries, on one harmless line."""
    rest = {key: value for key, value in row.items() if key not in ("time", "event", "detail")}
    parts = [str(row.get("detail") or ""), *(f"{key}={value}" for key, value in rest.items())]
    return one_line("; ".join(part for part in parts if part), limit)
