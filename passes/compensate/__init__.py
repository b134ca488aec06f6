"""Compensation of approximate multipliers without retraining: weight tuning and corrections.

All of it is free in hardware: weight codes, biases and per-channel scales change, nothing else.
"""

from alwann_c.passes.compensate.data import LayerData, ResidualFactory, TapResidual
from alwann_c.passes.compensate.ladder import METHODS, Compensation, Method, compensate_layer

__all__ = [
    "METHODS",
    "Compensation",
    "LayerData",
    "Method",
    "ResidualFactory",
    "TapResidual",
    "compensate_layer",
]
