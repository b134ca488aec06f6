"""Names of layers."""

from __future__ import annotations

import re

_WEIGHT_SUFFIX = re.compile(r"([._/]?(weight|weights|kernel|w|W))?(_quantized)?$")


def layer_stem(weight: str, otherwise: str) -> str:
    """A layer's name, from that of its weight; `otherwise` where that says nothing."""
    name = _WEIGHT_SUFFIX.sub("", weight)
    return name if re.search(r"[A-Za-z]", name) else otherwise
