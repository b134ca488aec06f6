"""Lowers a module for GPUs and for TVM's `c` target: this package's kernels, TVM's for the rest."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline as cpu_pipeline
from tvm.relax.backend.gpu_generic import pipeline as gpu_pipeline
from tvm.s_tir import dlight

from alwann_c.codegen import gpu
from alwann_c.codegen.device import is_gpu
from alwann_c.codegen.gpu.constants import ExactConstants
from alwann_c.codegen.gpu.emit import Kind
from alwann_c.codegen.kernels import Kernels
from alwann_c.ir import ops
from alwann_c.ir.spec import ConvSpec


class _Kernels(Kernels):
    """Kernels for GPUs and for C."""

    def __init__(self, target: tvm.target.Target) -> None:
        super().__init__()
        self.kind: Kind = target.kind.name
        self.unit = gpu.matrix_unit(self.kind, str(target.attrs.get("arch", "")))

    def _matrix(
        self, builder: relax.BlockBuilder, spec: ConvSpec, call: relax.Call
    ) -> relax.Expr | None:
        """A layer whose table has few terms; None for others, and for run-time operands."""
        args, count = list(call.args), 1 + len(ops.LAYER_OPERANDS)
        if not all(isinstance(arg, tvm.ir.GenericConst) for arg in args[1:5]):
            return None
        made = gpu.matrix_operands(spec, *(arg.value.numpy() for arg in args[1:5]))
        if made is None:
            return None
        constants = [relax.const(array) for array in (made.packed, made.lefts, made.offset)]
        make = lambda: gpu.matrix_primfunc(spec, made.form, self.kind, self.unit)  # noqa: E731
        operands = [args[0], *constants, args[count - 1], *args[count:]]
        return self.call(builder, ("alwann_matrix", spec, made.form), make, operands, call.ty)

    def _layer(self, builder: relax.BlockBuilder, spec: ConvSpec, call: relax.Call) -> relax.Expr:
        args = list(call.args)
        matrix = None if self.kind == "c" else self._matrix(builder, spec, call)
        if matrix is not None:
            return matrix
        tiles = None if self.kind == "c" else gpu.tiles_of(spec)
        if tiles is None:
            make = lambda: gpu.direct_primfunc(spec, self.kind)  # noqa: E731
            return self.call(builder, ("alwann_direct", spec), make, args, call.ty)
        make_panels = lambda: gpu.panels_primfunc(spec, tiles)  # noqa: E731
        shape = relax.TensorType(tiles.panels_shape(spec), "int32")
        panels = builder.emit(
            self.call(builder, ("alwann_panels", spec), make_panels, args[1:3], shape)
        )
        make = lambda: gpu.conv2d_primfunc(spec, tiles, self.kind)  # noqa: E731
        operands = [args[0], panels, *args[3:]]
        return self.call(builder, ("alwann_conv2d", spec), make, operands, call.ty)

    def conv2d(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`alwann.conv2d`."""
        return self._layer(builder, ops.conv_spec(call), call)

    def matmul(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`alwann.matmul`."""
        spec, rank = ops.conv_spec(call), len(call.ty.shape)
        make = lambda: gpu.matmul_primfunc(spec, rank, self.kind)  # noqa: E731
        key = ("alwann_matmul", spec, rank)
        return self.call(builder, key, make, list(call.args), call.ty)

    def quantize(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`alwann.quantize`."""
        code, rank = ops.quantization(call), len(call.ty.shape)
        make = lambda: gpu.quantize_primfunc(code, rank, self.kind)  # noqa: E731
        key = ("alwann_quantize", code, rank)
        return self.call(builder, key, make, list(call.args), call.ty)

    def dequantize(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`alwann.dequantize`."""
        code, rank = ops.quantization(call), len(call.ty.shape)
        make = lambda: gpu.dequantize_primfunc(code, rank, self.kind)  # noqa: E731
        key = ("alwann_dequantize", code, rank)
        return self.call(builder, key, make, list(call.args), call.ty)


def kernel_passes(target: tvm.target.Target) -> list[tvm.transform.Pass]:
    """Every operator becomes a call of a scheduled TIR function; runs inside `with target`.

    Reductions of TVM's operators stay in one thread, in order: another order would round otherwise.
    """
    kind, kernels = target.kind.name, _Kernels(target)
    own = {
        ops.CONV2D: kernels.conv2d,
        ops.MATMUL: kernels.matmul,
        ops.QUANTIZE: kernels.quantize,
        ops.DEQUANTIZE: kernels.dequantize,
    }
    schedule = [] if kind == "c" else [dlight.ApplyDefaultSchedule(dlight.gpu.Fallback())]
    return [
        relax.transform.LegalizeOps({ops.DENSE: kernels.dense}, skip_ops=list(own)),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
        relax.transform.RewriteDataflowReshape(),
        *schedule,
        ExactConstants(kind),
        relax.transform.LegalizeOps(own),
    ]


def lower_portable(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """Module ready for `tvm.compile(..., relax_pipeline=None)` on `cuda`, `opencl` or `c`."""
    finalize = gpu_pipeline.finalize_passes if is_gpu(target) else cpu_pipeline.finalize_passes
    passes = tvm.transform.Sequential(
        [
            *kernel_passes(target),
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
            *finalize(target),
        ],
        name="LowerPortable",
    )
    with target:
        return passes(mod)
