"""SQOOP: systematic generalization. Models, and the supervised algorithm that trains and examines them."""

from rllib_ext.sqoop.algorithm import SQOOP
from rllib_ext.sqoop.config import SQOOPConfig
from rllib_ext.sqoop.encoders import build_encoder

__all__ = ["SQOOP", "SQOOPConfig", "build_encoder"]
