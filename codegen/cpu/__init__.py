"""Kernels for CPUs."""

from alwann_c.codegen.cpu.conv2d import conv2d_primfunc, kernel_spec
from alwann_c.codegen.cpu.elementwise import dequantize_primfunc, quantize_primfunc
from alwann_c.codegen.cpu.epilogue import epilogue_constants
from alwann_c.codegen.cpu.float_conv2d import float_conv2d_primfunc
from alwann_c.codegen.cpu.pipeline import TIR_PIPELINE
from alwann_c.codegen.cpu.product import matmul_primfunc
from alwann_c.codegen.cpu.schedule import ScheduleRemaining
from alwann_c.codegen.cpu.strategy import (
    ByPixels,
    ByTable,
    Dot,
    Gather,
    Panels,
    Permute,
    Strategy,
    choose_strategy,
)
from alwann_c.codegen.cpu.table import PREPARED_SHAPE, prepare_table

__all__ = [
    "PREPARED_SHAPE",
    "TIR_PIPELINE",
    "ByPixels",
    "ByTable",
    "Dot",
    "Gather",
    "Panels",
    "Permute",
    "ScheduleRemaining",
    "Strategy",
    "choose_strategy",
    "conv2d_primfunc",
    "dequantize_primfunc",
    "epilogue_constants",
    "float_conv2d_primfunc",
    "kernel_spec",
    "matmul_primfunc",
    "prepare_table",
    "quantize_primfunc",
]
