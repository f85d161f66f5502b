"""LewisDrift: a speaker describes an object, a listener rebuilds it; a small world in which language drifts.

| | |
|---|---|
| agents | "speaker" and "listener"; AEC, the speaker speaks first |
| action | speaker: MultiDiscrete([p t] * p), the message's symbols; listener: MultiDiscrete([t] * p), the object |
| observation | speaker: MultiDiscrete([t] * p), the object; listener: MultiDiscrete([p t + 1] * p), the message; before |
| | the speaker has spoken every entry is p t, a symbol that no message has |
| reward | both: the share of properties that the listener got right, or with ``reward="all"`` 1 if all are, else 0 |
| episode end | after the listener's action, both terminated; never truncated |
| splits | "labelled", "played", "held_out": disjoint, together all t^p objects (``objects.py``) |

Language has drifted where the speaker's symbols are no longer the canonical ones while the listener still understands.

Arguments
    split               one of the above
    properties, types   p, 1 or more, and t, 2 or more
    labelled, played    sizes of the first two sets
    seed                which objects are in which set, 0 or more
    reward              "share" or "all"
    render_mode         None or "ansi"

``reset(options={"index": i})`` plays object i of the split. ``infos`` hold "index"; after the end also "object" and
"message", for metrics.

Source: Lu et al. 2020 (arXiv 2003.12694), p = t = 5, 10 labelled and 30 played objects; Elastic Reset was developed
on it. Left out: noise on the channel.

Version 0: as above.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete

from envs.errors import BadEnv
from envs.lewis.objects import Ints, divide
from envs.signalling import ItemGame

REWARDS = ("share", "all")


class LewisDrift(ItemGame[Ints, Ints]):
    """The Lewis game; the module is the documentation page."""

    metadata = {"name": "lewis_drift_v0", "render_modes": ["ansi"], "is_parallelizable": False}
    sender, receiver, items = "speaker", "listener", "objects"

    def __init__(
        self,
        split: str = "played",
        *,
        properties: int = 5,
        types: int = 5,
        labelled: int = 10,
        played: int = 30,
        seed: int = 0,
        reward: str = "share",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        sets = divide(properties, types, labelled, played, seed)
        objects = {"labelled": sets.labelled_NP, "played": sets.played_NP, "held_out": sets.held_out_NP}
        if split not in objects or reward not in REWARDS:
            raise BadEnv(
                f"split = {split!r} must be one of {', '.join(objects)}, reward = {reward!r} one of "
                f"{', '.join(REWARDS)}."
            )
        self.objects_NP, self.reward = objects[split], reward
        self.silence = properties * types
        symbols, values = MultiDiscrete([self.silence] * properties), MultiDiscrete([types] * properties)
        heard = MultiDiscrete([self.silence + 1] * properties)
        self._observation_spaces = {"speaker": values, "listener": heard}
        self._action_spaces = {"speaker": symbols, "listener": MultiDiscrete([types] * properties)}

    @property
    def num_items(self) -> int:
        """How many objects the split has."""
        return len(self.objects_NP)

    def observation_space(self, agent: str) -> MultiDiscrete:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> MultiDiscrete:
        return self._action_spaces[agent]

    def observe(self, agent: str) -> Ints:
        """The object for the speaker, the message for the listener."""
        seen: Ints = self._object_P if agent == "speaker" else self._message_P
        return seen.copy()

    def _begin(self, index: int) -> None:
        self._object_P = self.objects_NP[index]
        self._message_P = np.full_like(self._object_P, self.silence)

    def _checked(self, agent: str, action: Any) -> Ints:
        space, chosen = self._action_spaces[agent], np.asarray(action)
        if chosen.dtype.kind not in "iu" or not space.contains(chosen.astype(space.dtype)):
            raise BadEnv(f"the {agent}'s action is {action!r}; it must be in {space}.")
        return chosen.astype(np.int64)

    def _say(self, message: Ints) -> None:
        self._message_P = message

    def _answer(self, action: Ints) -> tuple[float, Mapping[str, Any]]:
        right_P = action == self._object_P
        value = float(right_P.mean() if self.reward == "share" else right_P.all())
        return value, {"object": self._object_P.tolist(), "message": self._message_P.tolist()}

    def render(self) -> str | None:
        """Object and message as text."""
        if self.render_mode is None:
            return None
        spoken = (
            [] if self.agent_selection == "speaker" and not any(self.terminations.values()) else ["message"]
        )
        return "  ".join(
            [f"object {self._object_P.tolist()}", *(f"{word} {self._message_P.tolist()}" for word in spoken)]
        )
