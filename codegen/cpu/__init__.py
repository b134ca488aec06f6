"""Kernels for CPUs."""

from alwann_c.codegen.cpu.conv2d import conv2d_primfunc
from alwann_c.codegen.cpu.elementwise import dequantize_primfunc, quantize_primfunc
from alwann_c.codegen.cpu.float_conv2d import float_conv2d_primfunc
from alwann_c.codegen.cpu.schedule import ScheduleRemaining
from alwann_c.codegen.cpu.strategy import Gather, Panels, Permute, Strategy, choose_strategy

__all__ = [
    "Gather",
    "Panels",
    "Permute",
    "ScheduleRemaining",
    "Strategy",
    "choose_strategy",
    "conv2d_primfunc",
    "dequantize_primfunc",
    "float_conv2d_primfunc",
    "quantize_primfunc",
]
