"""The flags of the Atari protocols, resolved and checked; `envs.atari` has the table and what they mean."""

from __future__ import annotations

from typing import Any

from envs.errors import BadEnv
from envs.grid.arguments import choice, flag, real, whole

SHARED = {"fire_reset": False, "frame_skip": 4, "max_frames": 108_000, "full_action_space": False}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "100k": {"sticky": 0.0, "noop_max": 30, "life_loss": "terminal", **SHARED},
    "standard": {"sticky": 0.25, "noop_max": 0, "life_loss": "ignore", **SHARED},
}
PURPOSES: dict[str, dict[str, Any]] = {
    "train": {"clip_rewards": True},
    "evaluate": {"clip_rewards": False, "life_loss": "ignore"},
}
LIFE_LOSS = ("terminal", "ignore")
FLAGS = (
    "sticky",
    "noop_max",
    "fire_reset",
    "life_loss",
    "clip_rewards",
    "frame_skip",
    "max_frames",
    "full_action_space",
)


def resolve_flags(protocol: str = "100k", purpose: str = "train", **single: Any) -> dict[str, Any]:
    """Every flag of a protocol for a purpose; those of ``single`` that are not None replace it. Raises BadEnv."""
    choice("protocol", protocol, tuple(PROTOCOLS))
    choice("purpose", purpose, tuple(PURPOSES))
    flags = {**PROTOCOLS[protocol], **PURPOSES[purpose]}
    for name, value in single.items():
        if name not in flags:
            raise BadEnv(f"unknown flag {name!r} of an Atari game. Known: {', '.join(sorted(flags))}.")
        if value is not None:
            flags[name] = value
    flags["sticky"] = real("sticky", flags["sticky"], 0.0, 1.0)
    flags["noop_max"] = whole("noop_max", flags["noop_max"], 0, 1000)
    flags["frame_skip"] = whole("frame_skip", flags["frame_skip"], 1, 60)
    flags["max_frames"] = whole("max_frames", flags["max_frames"], flags["frame_skip"])
    flags["life_loss"] = choice("life_loss", flags["life_loss"], LIFE_LOSS)
    for name in ("fire_reset", "clip_rewards", "full_action_space"):
        flags[name] = flag(name, flags[name])
    return {"protocol": protocol, "purpose": purpose, **flags}
