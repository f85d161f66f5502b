"""A config of RLlib's own with a table of knobs: attributes, checks, and ``training(...)`` that knows both."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from rllib_ext.errors import unknown_name
from rllib_ext.runtime.knobs import Knob, take_knobs


class KnobOptions:
    """Put it before the AlgorithmConfig class; a config names its ``knobs``."""

    knobs: ClassVar[dict[str, Knob]]

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)  # type: ignore[call-arg]
        for name, knob in self.knobs.items():
            setattr(self, name, knob.default)

    def training(self, **settings: Any) -> Any:
        """The knobs and RLlib's own training settings; unknown names answer with the nearest."""
        taken = take_knobs(self.knobs, settings)
        known = {name for cls in type(self).__mro__ if "training" in vars(cls)
                 for name in inspect.signature(vars(cls)["training"]).parameters}  # fmt: skip
        for name in settings:
            if name not in known:
                raise unknown_name("setting", name, [*self.knobs, *sorted(known - {"self", "kwargs"})])
        for name, value in taken.items():
            setattr(self, name, value)
        return super().training(**settings)  # type: ignore[misc]

    def update_from_dict(self, config_dict: dict[str, Any]) -> Any:
        """RLlib's update, with the knobs checked as ``training`` checks them."""
        plain = dict(config_dict)
        self.training(**{name: plain.pop(name) for name in list(plain) if name in self.knobs})
        return super().update_from_dict(plain)  # type: ignore[misc]

    def validate(self) -> None:
        for name, knob in self.knobs.items():
            setattr(self, name, knob.check(name, getattr(self, name)))
        super().validate()  # type: ignore[misc]
