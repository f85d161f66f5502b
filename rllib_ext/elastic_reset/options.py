"""What every AlgorithmConfig with Elastic Reset has: its knobs as attributes, presets, validation."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from rllib_ext.elastic_reset.knobs import PRESETS
from rllib_ext.elastic_reset.settings import elastic_settings
from rllib_ext.errors import unknown_name
from rllib_ext.runtime.knobs import Knob, take_knobs


class ElasticResetOptions:
    """A mixin for configs. ``preset`` sets a row of the ablation; all else is ``training(...)``, as with any setting."""

    def preset(self, name: str, **settings: Any) -> Any:
        """Settings of a member of PRESETS, and more that go with them."""
        if name not in PRESETS:
            raise unknown_name("preset", name, PRESETS)
        return self.training(**{**PRESETS[name], **settings})


class RLlibElasticResetOptions(ElasticResetOptions):
    """The same over a config of RLlib's own, which knows no knobs."""

    knobs: ClassVar[dict[str, Knob]]

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)
        for name, knob in self.knobs.items():
            setattr(self, name, knob.default)

    def training(self, **settings: Any) -> Any:
        """Elastic Reset's knobs and RLlib's own training settings; unknown names answer with the nearest."""
        if isinstance(settings.get("module_ids"), list | tuple | set):
            settings["module_ids"] = ",".join(settings["module_ids"])
        taken = take_knobs(self.knobs, settings)
        known = {name for cls in type(self).__mro__ if "training" in vars(cls)
                 for name in inspect.signature(vars(cls)["training"]).parameters}  # fmt: skip
        for name in settings:
            if name not in known:
                raise unknown_name("setting", name, [*self.knobs, *sorted(known - {"self", "kwargs"})])
        for name, value in taken.items():
            setattr(self, name, value)
        return super().training(**settings)

    def update_from_dict(self, config_dict: dict[str, Any]) -> Any:
        """RLlib's update, with the knobs checked as ``training`` checks them."""
        plain = dict(config_dict)
        self.training(**{name: plain.pop(name) for name in list(plain) if name in self.knobs})
        return super().update_from_dict(plain)

    def validate(self) -> None:
        for name, knob in self.knobs.items():
            setattr(self, name, knob.check(name, getattr(self, name)))
        elastic_settings(self)
        super().validate()
