"""Lowers a module to TIR: the kernels of this package for heavy operators, TVM's for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline as cpu_pipeline

from alwann_c.codegen import cpu
from alwann_c.codegen.kernels import Kernels
from alwann_c.ir import ops
from alwann_c.ir.spec import ConvSpec

_TABLE = 1 + ops.LAYER_OPERANDS.index("table")

Legalizer = Callable[[relax.BlockBuilder, relax.Call], relax.Expr]


class _Kernels(Kernels):
    """Kernels for CPUs."""

    def __init__(
        self, target: tvm.target.Target, strategies: Mapping[str, cpu.Strategy] | None = None
    ) -> None:
        super().__init__()
        self.target = target
        self.strategies = strategies or {}
        self._tables: dict[tuple[bytes, bool], tvm.ir.GenericConst] = {}

    def conv2d(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`alwann.conv2d` -> kernel of this package, shared by layers of equal shape."""
        spec = ops.conv_spec(call)
        shared = cpu.kernel_spec(spec)
        strategy = self.strategies.get(ops.layer_name(call))
        make = lambda: cpu.conv2d_primfunc(  # noqa: E731
            shared, self.target, strategy=strategy, constants=True
        )
        args, count = list(call.args), 1 + len(ops.LAYER_OPERANDS)
        args[_TABLE] = self._prepared(args[_TABLE], spec.signed)
        numbers = relax.const(cpu.epilogue_constants(spec.epilogue))
        args = [*args[:count], numbers, *args[count:]]
        return self.call(builder, ("alwann_conv2d_", shared, strategy), make, args, call.ty)

    def matmul(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`alwann.matmul` -> table look-ups."""
        spec, rank, args = ops.conv_spec(call), len(call.ty.shape), list(call.args)
        args[_TABLE] = self._prepared(args[_TABLE], spec.signed)
        make = lambda: cpu.matmul_primfunc(spec, rank)  # noqa: E731
        return self.call(builder, ("alwann_matmul_", spec, rank), make, args, call.ty)

    def _prepared(self, table: relax.Expr, signed: bool) -> relax.Expr:
        """A constant table as kernels want it, made once; run-time tables come prepared."""
        if not isinstance(table, tvm.ir.GenericConst):
            return table
        products = table.value.numpy()
        key = (products.tobytes(), signed)
        if key not in self._tables:
            self._tables[key] = relax.const(cpu.prepare_table(products, signed))
        return self._tables[key]

    def quantize(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`alwann.quantize` -> elementwise kernel."""
        code, rank = ops.quantization(call), len(call.ty.shape)
        make = lambda: cpu.quantize_primfunc(code, rank)  # noqa: E731
        return self.call(builder, ("alwann_quantize_", code, rank), make, call.args, call.ty)

    def dequantize(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`alwann.dequantize` -> elementwise kernel."""
        code, rank = ops.quantization(call), len(call.ty.shape)
        make = lambda: cpu.dequantize_primfunc(code, rank)  # noqa: E731
        return self.call(builder, ("alwann_dequantize_", code, rank), make, call.args, call.ty)

    def float_conv2d(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`relax.nn.conv2d` in NHWC/HWIO -> float kernel; any other layout -> TVM's."""
        attrs = call.attrs
        shape, weight = ops.static_shape(call.args[0]), ops.static_shape(call.args[1])
        layouts = (str(attrs.data_layout), str(attrs.kernel_layout))
        static = None not in shape[1:] and None not in weight
        if layouts != ("NHWC", "HWIO") or not static:
            legalize = tvm.ir.Op.get("relax.nn.conv2d").get_attr("FLegalize")
            return legalize(builder, call)
        height, width, channels, out_channels = (int(n) for n in (*shape[1:], weight[3]))  # type: ignore[arg-type]
        pair: Any = lambda values: tuple(int(v) for v in values)  # noqa: E731
        spec = ConvSpec(
            height,
            width,
            channels,
            out_channels,
            kernel=pair(weight[:2]),
            strides=pair(attrs.strides),
            padding=pair(attrs.padding),
            dilation=pair(attrs.dilation),
            groups=int(attrs.groups),
        )
        make = lambda: cpu.float_conv2d_primfunc(spec, self.target)  # noqa: E731
        return self.call(builder, ("float_conv2d_", spec), make, call.args, call.ty)


def lower(
    mod: tvm.IRModule,
    target: tvm.target.Target,
    strategies: Mapping[str, cpu.Strategy] | None = None,
) -> tvm.IRModule:
    """Module ready for `parallel_build.compile_lowered`, every operator a scheduled TIR function.

    Tables of integer layers are constants [256, 256], or parameters of `cpu.PREPARED_SHAPE`.
    `strategies` overrides, by layer name, what `cpu.choose_strategy` chooses.
    """
    kernels = _Kernels(target, strategies)
    own: dict[str, Legalizer] = {
        ops.CONV2D: kernels.conv2d,
        ops.MATMUL: kernels.matmul,
        ops.QUANTIZE: kernels.quantize,
        ops.DEQUANTIZE: kernels.dequantize,
        "relax.nn.conv2d": kernels.float_conv2d,
    }
    with target:
        passes = tvm.transform.Sequential(
            [
                relax.transform.LegalizeOps({ops.DENSE: kernels.dense}, skip_ops=list(own)),
                # everything that is not ours: TVM's operators, fused and scheduled
                relax.transform.AnnotateTIROpPattern(),
                relax.transform.FoldConstant(),
                relax.transform.FuseOps(),
                relax.transform.FuseTIR(),
                relax.transform.DeadCodeElimination(),
                relax.transform.RewriteDataflowReshape(),
                cpu.ScheduleRemaining(),
                # the kernels of this package
                relax.transform.LegalizeOps(own),
                relax.transform.ToNonDataflow(),
                relax.transform.RemovePurityChecking(),
                relax.transform.CallTIRRewrite(),
                *cpu_pipeline.finalize_passes(target),
            ],
            name="Lower",
        )
        return passes(mod)
