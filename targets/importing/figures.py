"""Figures published in the comments of a circuit's source, as EvoApproxLib writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEADER = 64 << 10
"""Characters from the start of a file that are looked through."""

_COMMENT = re.compile(
    r"//([^\n]*)|/\*(.*?)(?:\*/|\Z)|^[ \t]*#(?!\s*(?:include|define|pragma))([^\n]*)", re.S | re.M
)
_FIGURE = re.compile(
    r"(?<![A-Za-z%])(?P<name>PDK45_PWR|PDK45_AREA|PDK45_DELAY|MAE|WCE"
    r"|(?:Power|Area|Delay)[ \t]*\(45\))[ \t]*=[ \t]*(?P<value>\d{1,12}(?:\.\d{1,9})?)(?![\d.]*[ \t]*%)"
)
_FIELDS = {
    "PDK45_PWR": ("power_mw", 1.0),
    "PDK45_AREA": ("area_um2", 1.0),
    "PDK45_DELAY": ("delay_ns", 1.0),
    "Power(45)": ("power_mw", 1e-3),
    "Area(45)": ("area_um2", 1.0),
    "Delay(45)": ("delay_ns", 1.0),
    "MAE": ("mae", 1.0),
    "WCE": ("wce", 1.0),
}
_LIBRARY = re.compile(r"\b(EvoApproxLib|EvoApprox8b)\b", re.I)


@dataclass(frozen=True)
class Published:
    """What a file says of its circuit; None where it says nothing.

    `mae_step` and `wce_step` are one unit of the last digit given: figures are rounded.
    """

    power_mw: float | None = None
    area_um2: float | None = None
    delay_ns: float | None = None
    mae: float | None = None
    wce: float | None = None
    mae_step: float = 0.0
    wce_step: float = 0.0
    source: str = ""

    @property
    def any_cost(self) -> bool:
        """True if power, area or delay is given."""
        return any(v is not None for v in (self.power_mw, self.area_um2, self.delay_ns))

    def contradictions(self, mae: float, wce: float, tolerance: float) -> list[str]:
        """What is wrong with the published errors, given those of the table."""
        found = []
        for name, published, step, actual in (
            ("MAE", self.mae, self.mae_step, mae),
            ("WCE", self.wce, self.wce_step, wce),
        ):
            if published is None:
                continue
            if abs(published - actual) > max(0.51 * step, tolerance * max(published, actual)):
                found.append(f"{name} {published:g} is published, but the circuit has {actual:.6g}")
        return found


def published_figures(text: str) -> Published:
    """Figures in the comments of Verilog, BLIF or C text; power of EvoApprox8b is in microwatts."""
    comments = "\n".join(
        part for groups in _COMMENT.findall(text[:MAX_HEADER]) for part in groups if part
    )
    found: dict[str, float] = {}
    for match in _FIGURE.finditer(comments):
        field, scale = _FIELDS[re.sub(r"\s", "", match["name"])]
        if field in found:
            continue
        found[field] = float(match["value"]) * scale
        if field in ("mae", "wce"):
            found[f"{field}_step"] = _step(match["value"])
    library = _LIBRARY.search(comments)
    return Published(**found, source=library[1] if library else "file header")


def _step(digits: str) -> float:
    """Worth of the last digit."""
    return float(10.0 ** -len(digits.partition(".")[2]))
