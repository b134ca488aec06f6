"""The energy report in `plan.json` as the report reads it, validated. Keys it does not use are
ignored."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Relative = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**18)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class LayerEnergy(_Table):
    """Energy of a layer by origin, pJ per image; its cycles, and how well they use the unit."""

    name: str
    unit: str
    multiplier: str
    macs: Count
    multiplication_pj: Amount
    overhead_pj: Amount = 0.0
    buffer_pj: Amount = 0.0
    dram_pj: Amount = 0.0
    leakage_pj: Amount = 0.0
    total_pj: Amount
    cycles: Count | None = None
    utilisation: Amount | None = None


class UnitEnergy(_Table):
    """Sums over the layers a unit runs; `busy` is its share of the time."""

    name: str
    multiplier: str
    layers: Count
    macs: Count
    busy: Amount
    multiplication_pj: Amount
    total_pj: Amount


class Energy(_Table):
    """`EnergyReport.to_dict()` as far as it is shown."""

    relative_energy: Relative
    total_pj: Amount
    relative_total: Relative
    layers: list[LayerEnergy]
    units: list[UnitEnergy]
    area_um2: Amount | None = None
    images_per_second: Amount | None = None
