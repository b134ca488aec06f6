"""Kernels for GPUs (CUDA, OpenCL), and the same arithmetic as plain C."""

from alwann_c.codegen.gpu.conv2d import Tiles, conv2d_primfunc, panels_primfunc, tiles_of
from alwann_c.codegen.gpu.direct import direct_primfunc
from alwann_c.codegen.gpu.elementwise import dequantize_primfunc, quantize_primfunc

__all__ = [
    "Tiles",
    "conv2d_primfunc",
    "dequantize_primfunc",
    "direct_primfunc",
    "panels_primfunc",
    "quantize_primfunc",
    "tiles_of",
]
