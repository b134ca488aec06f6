"""Small libraries and targets for the tests of `alwann_c.targets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_folder import NEEDED, SHARED

from alwann_c.targets import Library, Multiplier, Target, exact_products


@pytest.fixture
def evoapprox() -> Path:
    """Folder of the EvoApproxLib tables; skips where it is absent."""
    folder = SHARED / "evoapprox"
    if not folder.is_dir():
        pytest.skip(NEEDED)
    return folder


@pytest.fixture
def library() -> Library:
    """Exact (1 mW, 100 um2), `half` (0.5, 60) and `tenth` (0.1, 20); signed `sexact` (2, 120)."""
    exact = exact_products(False)
    multipliers = [
        Multiplier("exact", exact, power_mw=1.0, area_um2=100.0, library="small"),
        Multiplier("half", exact & ~7, power_mw=0.5, area_um2=60.0, library="small"),
        Multiplier("tenth", exact & ~255, power_mw=0.1, area_um2=20.0, library="small"),
        Multiplier("sexact", exact_products(True), signed=True, power_mw=2.0, area_um2=120.0),
    ]
    return Library("small", "MIT", None, {m.name: m for m in multipliers})


@pytest.fixture
def make_target() -> Any:
    """Builds a target from keyword arguments over a minimal description."""

    def make(**fields: Any) -> Target:
        document = {
            "name": "test",
            "architecture": "power-gated",
            "clock_mhz": 100.0,
            "unit": [{"name": "u", "count": 2, "rows": 4, "columns": 4}],
        }
        return Target.model_validate(document | fields)

    return make


@pytest.fixture
def write_library(tmp_path: Path) -> Any:
    """Writes a library of one exact unsigned multiplier; arguments replace its TOML lines."""

    def write(*, head: str = "", data: bytes | None = None, **lines: str | None) -> Path:
        fields: dict[str, str | None] = {
            "name": '"m"',
            "table": '"m.bin"',
            "signed": "false",
            "bits": "8",
        }
        entry = {key: value for key, value in (fields | lines).items() if value is not None}
        text = "".join(f"{key} = {value}\n" for key, value in entry.items())
        head = head or 'schema = 1\nname = "lib"\nlicense = "MIT"\n'
        (tmp_path / "library.toml").write_text(f"{head}[[multiplier]]\n{text}", encoding="utf-8")
        exact = exact_products(False).astype("<u2").tobytes()
        (tmp_path / "m.bin").write_bytes(exact if data is None else data)
        np.save(tmp_path / "m.npy", exact_products(False))
        return tmp_path

    return write
