"""Vega-Lite drawn: as SVG, PNG and PDF, and as the script that makes the report interactive."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from typing import Any

from alwann_c.report.markup import Html

Spec = dict[str, Any]


def to_svg(spec: Spec) -> Html:
    """The picture as an SVG element, always the same for a specification. Nothing is fetched.

    Vega counts the ids of clip paths per process; here they are counted per picture, and named
    after it, so that several can stand in one page.
    """
    return _svg(json.dumps(spec, sort_keys=True))


@lru_cache(maxsize=16)
def _svg(spec: str) -> Html:
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    name = hashlib.sha256(spec.encode()).hexdigest()[:8]
    numbers: dict[str, int] = {}

    def own(found: re.Match[str]) -> str:
        return f"{found[1]}c{name}-{numbers.setdefault(found[2], len(numbers))}"

    return Html(re.sub(r"""( id="|url\(['"]?#)(clip\d+)""", own, drawn))


def to_png(spec: Spec, scale: float) -> bytes:
    """The picture as PNG, `scale` pixels per point."""
    import vl_convert

    content: bytes = vl_convert.vegalite_to_png(spec, scale=scale, allowed_base_urls=[])
    return content


def to_pdf(spec: Spec) -> bytes:
    """The picture as PDF."""
    import vl_convert

    content: bytes = vl_convert.vegalite_to_pdf(spec, allowed_base_urls=[])
    return content


@lru_cache(maxsize=1)
def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that needs nothing else (0.9 MB)."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
