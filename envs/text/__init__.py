"""Text environments: a prompt, a completion, a reward, in one turn or several.

Names are imported when they are first used, so that reading one of them loads neither the libraries nor the
data of the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.text.base import Step, TextEnv
    from envs.text.controlled import ControlledTLDR
    from envs.text.docstrings import Docstrings
    from envs.text.gsm8k import GSM8K
    from envs.text.rewards import CallableReward, Limits, Reward
    from envs.text.sentiment import Sentiment
    from envs.text.stack_exchange import StackExchange
    from envs.text.task import Sample, Task
    from envs.text.tldr import TLDR
    from envs.text.verifiers import NumberMatch, RougeL

__all__ = [
    "GSM8K",
    "TLDR",
    "CallableReward",
    "ControlledTLDR",
    "Docstrings",
    "Limits",
    "NumberMatch",
    "Reward",
    "RougeL",
    "Sample",
    "Sentiment",
    "StackExchange",
    "Step",
    "Task",
    "TextEnv",
]

_HOMES = {
    "CallableReward": "rewards",
    "ControlledTLDR": "controlled",
    "Docstrings": "docstrings",
    "GSM8K": "gsm8k",
    "Limits": "rewards",
    "NumberMatch": "verifiers",
    "Reward": "rewards",
    "RougeL": "verifiers",
    "Sample": "task",
    "Sentiment": "sentiment",
    "StackExchange": "stack_exchange",
    "Step": "base",
    "TLDR": "tldr",
    "Task": "task",
    "TextEnv": "base",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
