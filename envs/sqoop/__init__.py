"""SQOOP: pictures of scattered glyphs, yes/no questions about two of them, and pairs that training never asks about."""

from envs.sqoop.environment import SqoopEnv
from envs.sqoop.generator import SqoopGenerator
from envs.sqoop.pairs import Pairs
from envs.sqoop.presets import PRESETS
from envs.sqoop.scenes import Scenes
from envs.sqoop.vocabulary import RELATIONS

__all__ = ["PRESETS", "RELATIONS", "Pairs", "Scenes", "SqoopEnv", "SqoopGenerator"]
