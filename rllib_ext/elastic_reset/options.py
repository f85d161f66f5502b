"""What every AlgorithmConfig with Elastic Reset has: its knobs as attributes, presets, validation."""

from __future__ import annotations

from typing import Any

from rllib_ext.elastic_reset.knobs import PRESETS
from rllib_ext.elastic_reset.settings import elastic_settings
from rllib_ext.errors import unknown_name
from rllib_ext.runtime.knob_options import KnobOptions


class ElasticResetOptions:
    """A mixin for configs. ``preset`` sets a row of the ablation; all else is ``training(...)``, as with any setting."""

    def preset(self, name: str, **settings: Any) -> Any:
        """Settings of a member of PRESETS, and more that go with them."""
        if name not in PRESETS:
            raise unknown_name("preset", name, PRESETS)
        return self.training(**{**PRESETS[name], **settings})


class RLlibElasticResetOptions(ElasticResetOptions, KnobOptions):
    """The same over a config of RLlib's own, which knows no knobs."""

    def training(self, **settings: Any) -> Any:
        """Elastic Reset's knobs and RLlib's own training settings; ``module_ids`` may be a list."""
        if isinstance(settings.get("module_ids"), list | tuple | set):
            settings["module_ids"] = ",".join(settings["module_ids"])
        return super().training(**settings)

    def validate(self) -> None:
        for name, knob in self.knobs.items():
            setattr(self, name, knob.check(name, getattr(self, name)))
        elastic_settings(self)
        super().validate()
