"""Kernels for GPUs (CUDA, OpenCL), and the same arithmetic as plain C."""

from alwann_c.codegen.gpu.conv2d import Tiles, conv2d_primfunc, panels_primfunc, tiles_of
from alwann_c.codegen.gpu.direct import direct_primfunc
from alwann_c.codegen.gpu.elementwise import dequantize_primfunc, quantize_primfunc
from alwann_c.codegen.gpu.matrix_conv import matrix_primfunc
from alwann_c.codegen.gpu.matrix_operands import MatrixForm, MatrixOperands, matrix_operands
from alwann_c.codegen.gpu.product import matmul_primfunc
from alwann_c.codegen.gpu.units import MatrixUnit, matrix_unit

__all__ = [
    "MatrixForm",
    "MatrixOperands",
    "MatrixUnit",
    "Tiles",
    "conv2d_primfunc",
    "dequantize_primfunc",
    "direct_primfunc",
    "matmul_primfunc",
    "matrix_operands",
    "matrix_primfunc",
    "matrix_unit",
    "panels_primfunc",
    "quantize_primfunc",
    "tiles_of",
]
