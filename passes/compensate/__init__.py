"""Compensation of approximate multipliers without retraining: weight tuning and corrections.

All of it is free in hardware: weight codes, biases and per-channel scales change, nothing else.
"""

from alwann_c.passes.compensate.coding import recode, table_aware_coding
from alwann_c.passes.compensate.data import (
    LayerData,
    ResidualFactory,
    Rows,
    TapResidual,
    output_gap,
)
from alwann_c.passes.compensate.fit import Coding, Compensation, FitOptions
from alwann_c.passes.compensate.ladder import METHODS, RUNGS, Method, compensate_layer
from alwann_c.passes.compensate.product import (
    ProductData,
    ProductRows,
    compensate_product,
    product_gap,
)
from alwann_c.passes.compensate.sampling import draw_pixels, patches_at, targets_at

__all__ = [
    "METHODS",
    "RUNGS",
    "Coding",
    "Compensation",
    "FitOptions",
    "LayerData",
    "Method",
    "ProductData",
    "ProductRows",
    "ResidualFactory",
    "Rows",
    "TapResidual",
    "compensate_layer",
    "compensate_product",
    "draw_pixels",
    "output_gap",
    "patches_at",
    "product_gap",
    "recode",
    "table_aware_coding",
    "targets_at",
]
