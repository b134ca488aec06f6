"""`operands.json` as the report reads it, validated. Keys it does not use are ignored."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Figure = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Histogram = Annotated[
    list[Annotated[int, Field(ge=0, le=10**15)]], Field(min_length=256, max_length=256)
]


class _Table(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ErrorFigures(_Table):
    """Error of one product: mean, mean absolute value, deviation; `product` is the mean of |a w|."""

    mean: Figure
    absolute: Size
    deviation: Size
    product: Size


class OutputError(_Table):
    """Error of the layer's output without and with compensation, relative, root mean square."""

    before: Size
    after: Size


class WeightChanges(_Table):
    """How far tuning moved the weight codes; steps in codes."""

    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    mean_step: Size
    largest_step: Annotated[int, Field(ge=0, le=255)]


class LayerOperands(_Table):
    """Operands of a layer: counts by code, from `first_code` up."""

    name: str
    multiplier: str
    zero_point: int
    activations: Histogram
    weights: Histogram
    weight_changes: WeightChanges
    product_error: ErrorFigures
    output_error: OutputError


class Operands(_Table):
    """`operands.json`."""

    version: Literal[1]
    images: Annotated[int, Field(ge=0)]
    first_code: int
    layers: list[LayerOperands]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.first_code not in (-128, 0):
            raise ValueError(f"first_code: {self.first_code} is neither 0 nor -128")
        return self
