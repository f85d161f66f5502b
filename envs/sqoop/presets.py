"""Named arguments of `SqoopGenerator`.

"mini"      8 bitmaps of 3 x 3 in 24 x 24 pixels, five objects, no leak by counting: seconds instead of hours, and the
            differences between models that the paper is about are still there
"paper"     the released generator with its peculiarities (`envs.sqoop.paper`); its font, Arial, must be named
            (``font=``), else the letters are those of Pillow's own
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "mini": {
        "num_glyphs": 8,
        "image_size": 24,
        "num_objects": 5,
        "glyph_size": 3,
        "min_sep": 2,
        "renderer": "bitmap",
        "restrict_positive": True,
        "cell_balance": "exact",
        "above_is_visual": True,
    },
    "paper": {"parity": "paper"},
}
