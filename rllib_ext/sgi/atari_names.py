"""``Atari100k/<Game>`` as this package's own workers read it: the game, its actions, and copies of it.

RLlib's stock workers get the same names as Gymnasium environments through the registry; these go past it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envs.atari import AtariCopies
from envs.atari_flags import FLAGS
from envs.atari_games import AtariGame, find_game
from rllib_ext.errors import BadConfig, unknown_name
from rllib_ext.registry import ATARI as PREFIX

FULL_ACTIONS = 18  # of every game with ``full_action_space``
TAKEN = ("protocol", "num_threads", *FLAGS)
OWN = ("clip_rewards", "life_loss")  # of training; an evaluation has the protocol's own


def game_of(env: str) -> AtariGame:
    """The game of an environment's name. Raises BadConfig, or BadEnv with the nearest game."""
    if not isinstance(env, str) or not env.startswith(PREFIX):
        raise BadConfig(f"environment is {env!r}; it must be an Atari game, for example '{PREFIX}Pong'")
    return find_game(env.removeprefix(PREFIX))


def count_actions(env: str, env_config: Mapping[str, Any] | None) -> int:
    """How many actions there are, without starting an emulator."""
    return FULL_ACTIONS if (env_config or {}).get("full_action_space") else game_of(env).actions


def atari_copies(env: str, env_config: Mapping[str, Any] | None, copies: int, purpose: str) -> AtariCopies:
    """Copies of the game with the flags of ``env_config``; an evaluation leaves out those that are of training."""
    given = dict(env_config or {})
    for name in given:
        if name not in TAKEN:
            raise unknown_name(f"key in env_config of {env}", name, TAKEN)
    if purpose == "evaluate":
        given = {name: value for name, value in given.items() if name not in OWN}
    return AtariCopies(game_of(env).name, copies, purpose=purpose, **given)
