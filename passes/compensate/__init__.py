"""Compensation of approximate multipliers without retraining: weight tuning and corrections.

All of it is free in hardware: weight codes, biases and per-channel scales change, nothing else.
"""

from alwann_c.passes.compensate.ladder import (
    METHODS,
    LayerData,
    Method,
    compensate_layer,
    output_error,
)

__all__ = ["METHODS", "LayerData", "Method", "compensate_layer", "output_error"]
