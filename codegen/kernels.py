"""What legalizing to kernels has in common for every backend: each kernel is added once, a dense layer
is a 1 x 1 convolution of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax

from alwann_c.ir import ops


class Kernels:
    """Kernels of a module, by what they are made from."""

    def __init__(self) -> None:
        self._added: dict[tuple[Any, ...], tvm.ir.GlobalVar] = {}

    def call(
        self,
        builder: relax.BlockBuilder,
        key: tuple[Any, ...],
        make: Callable[[], Any],
        args: Sequence[relax.Expr],
        out_type: Any,
    ) -> relax.Expr:
        """A call of the kernel `make()`; equal keys (a name first) share one."""
        if key not in self._added:
            self._added[key] = builder.add_func(make(), f"{key[0]}{len(self._added)}")
        return relax.call_tir(self._added[key], list(args), out_ty=out_type)

    def dense(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """`alwann.dense` -> `alwann.conv2d` 1 x 1 of an image of `spec.height` rows."""
        spec = ops.conv_spec(call)
        batch = call.args[0].ty.shape[0]
        rows = (batch, spec.height, spec.width)
        image = builder.emit(relax.op.reshape(call.args[0], (*rows, spec.in_channels)))
        args = [image, *call.args[1:]]
        if len(args) > 1 + len(ops.LAYER_OPERANDS):
            residual = relax.op.reshape(args[-1], (*rows, spec.out_channels))
            args[-1] = builder.emit(residual)
        gemm = builder.emit(ops.conv2d(ops.layer_name(call), spec, args))
        return relax.op.reshape(gemm, call.ty.shape)
