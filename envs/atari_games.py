"""The 26 games of the Atari 100k benchmark: names, action counts, reference scores.

The set is that of Kaiser et al. 2020 (SimPLe, arXiv 1903.00374); the columns of scores are those that the authors of SGI
(Schwarzer et al. 2021, arXiv 2106.04799) normalise and compare with in their public code:

    random, human   the two ends of the human-normalised score, (score - random) / (human - random)
    der             data-efficient Rainbow, 100k steps
    spr             SPR, 100k steps
    nature_dqn      DQN after 200M frames (Mnih et al. 2015)
    offline_dqn     the behaviour that the DQN Replay data set was recorded from

Action counts (minimal set) and starting lives are those of ale-py 0.12; ``lives`` is what the emulator says right after
the ROM is loaded. Left out: games beyond the 26, which have no place in the aggregates.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

from envs.errors import BadEnv


class AtariGame(NamedTuple):
    """One game; see the module for the columns."""

    name: str
    rom: str
    random: float
    human: float
    der: float
    spr: float
    nature_dqn: float
    offline_dqn: float
    actions: int
    lives: int


ATARI_100K = (
    AtariGame("Alien", "alien", 227.8, 7127.7, 739.9, 919.6, 3069.0, 2766.8, 18, 3),
    AtariGame("Amidar", "amidar", 5.8, 1719.5, 188.6, 159.6, 739.5, 1557.0, 10, 0),
    AtariGame("Assault", "assault", 222.4, 742.0, 431.2, 699.5, 3359.0, 1946.1, 7, 4),
    AtariGame("Asterix", "asterix", 210.0, 8503.3, 470.8, 983.5, 6012.0, 4131.8, 9, 3),
    AtariGame("BankHeist", "bank_heist", 14.2, 753.1, 51.0, 370.1, 429.7, 907.7, 18, 4),
    AtariGame("BattleZone", "battle_zone", 2360.0, 37187.5, 10124.6, 14472.0, 26300.0, 26459.0, 18, 5),
    AtariGame("Boxing", "boxing", 0.1, 12.1, 0.2, 30.5, 71.8, 84.1, 18, 0),
    AtariGame("Breakout", "breakout", 1.7, 30.5, 1.9, 15.6, 401.2, 157.9, 4, 5),
    AtariGame("ChopperCommand", "chopper_command", 811.0, 7387.8, 861.8, 1130.0, 6687.0, 3678.1, 18, 3),
    AtariGame("CrazyClimber", "crazy_climber", 10780.5, 35829.4, 16185.3, 36659.8, 114103.0, 118080.2, 9, 5),
    AtariGame("DemonAttack", "demon_attack", 152.1, 1971.0, 508.0, 636.4, 9711.0, 6517.0, 6, 1),
    AtariGame("Freeway", "freeway", 0.0, 29.6, 27.9, 24.6, 30.3, 26.8, 3, 0),
    AtariGame("Frostbite", "frostbite", 65.2, 4334.7, 866.8, 1811.0, 328.3, 1643.6, 18, 4),
    AtariGame("Gopher", "gopher", 257.6, 2412.5, 349.5, 593.4, 8520.0, 8241.0, 8, 3),
    AtariGame("Hero", "hero", 1027.0, 30826.4, 6857.0, 5602.8, 19950.0, 16233.5, 18, 4),
    AtariGame("Jamesbond", "jamesbond", 29.0, 302.8, 301.6, 378.7, 576.7, 777.7, 18, 6),
    AtariGame("Kangaroo", "kangaroo", 52.0, 3035.0, 779.3, 3876.0, 6740.0, 14125.1, 18, 3),
    AtariGame("Krull", "krull", 1598.0, 2665.5, 2851.5, 3810.3, 3805.0, 7238.5, 18, 3),
    AtariGame("KungFuMaster", "kung_fu_master", 258.5, 22736.3, 14346.1, 14135.8, 23270.0, 26637.9, 14, 4),
    AtariGame("MsPacman", "ms_pacman", 307.3, 6951.6, 1204.1, 1205.3, 2311.0, 4171.5, 9, 3),
    AtariGame("Pong", "pong", -20.7, 14.6, -19.3, -3.8, 18.9, 18.3, 6, 0),
    AtariGame("PrivateEye", "private_eye", 24.9, 69571.3, 97.8, 20.2, 1788.0, 1415.2, 18, 0),
    AtariGame("Qbert", "qbert", 163.9, 13455.0, 1152.9, 791.8, 10596.0, 12275.1, 6, 4),
    AtariGame("RoadRunner", "road_runner", 11.5, 7845.0, 9600.0, 13062.4, 18257.0, 47880.5, 18, 3),
    AtariGame("Seaquest", "seaquest", 68.4, 42054.7, 354.1, 603.8, 5286.0, 3233.5, 18, 4),
    AtariGame("UpNDown", "up_n_down", 533.4, 11693.2, 2877.4, 7307.8, 8456.0, 15677.9, 6, 5),
)
NAMES = tuple(game.name for game in ATARI_100K)


def find_game(name: str) -> AtariGame:
    """The game of a name such as "MsPacman"; the ROM's id, "ms_pacman", and other capitals are understood too.

    Raises BadEnv with the nearest right name.
    """
    plain = {game.name.lower(): game for game in ATARI_100K}
    asked = str(name).replace("_", "").lower()
    if asked in plain:
        return plain[asked]
    near = difflib.get_close_matches(asked, plain, n=1, cutoff=0.4)
    hint = f" Did you mean {plain[near[0]].name!r}?" if near else ""
    raise BadEnv(f"unknown Atari 100k game {name!r}.{hint} Known: {', '.join(NAMES)}.")
