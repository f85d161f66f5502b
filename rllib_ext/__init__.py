"""Published reinforcement-learning methods as ordinary RLlib algorithms, environments and Tune sweeps.

``rllib_ext.register()`` makes every public name known to Tune, RLlib and gymnasium; each algorithm ``X`` and
its ``XConfig`` are attributes of this package. Attributes are looked up on first use: importing the package
alone brings in neither torch nor Ray nor vLLM and has no side effect.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used (PEP 562)."""
    from rllib_ext.registry import exports

    public = exports()
    if name in public:
        module, _, attribute = public[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    import difflib

    nearest = difflib.get_close_matches(name, public, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{hint}")


def __dir__() -> list[str]:
    from rllib_ext.registry import exports

    return sorted(["__version__", *exports()])
