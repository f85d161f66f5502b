"""The Lewis drift game: a speaker, a listener, and a language that a formula defines."""

from envs.lewis.game import LewisDrift
from envs.lewis.objects import Sets, all_objects, canonical, divide

__all__ = ["LewisDrift", "Sets", "all_objects", "canonical", "divide"]
