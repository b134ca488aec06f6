"""One integer layer compiled on its own: what compensation measures its effect with."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.codegen.lower import lower
from alwann_c.codegen.machine import host_target, use_all_cores
from alwann_c.codegen.network import Operands
from alwann_c.ir import ops
from alwann_c.ir.spec import ConvSpec, Epilogue


def _layer_module(spec: ConvSpec) -> tvm.IRModule:
    batch, channels = tvm.tirx.Var("N", "int64"), spec.out_channels
    group_width = spec.in_channels // spec.groups
    shapes = {
        "x": ((batch, spec.height, spec.width, spec.in_channels), "uint8"),
        "weight": ((*spec.kernel, group_width, channels), "uint8"),
        "table": ((256, 256), "int32"),
        "weight_zero_point": ((channels,), "int32"),
        "offset": ((channels,), "int32"),
        "scale": ((channels,), "float32"),
    }
    params = [relax.Var(name, relax.TensorType(*kind)) for name, kind in shapes.items()]
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            output = builder.emit_output(ops.conv2d("layer", spec, params))
        builder.emit_func_output(output)
    return builder.get()


class LayerKernel:
    """Runs `scale * acc` of one layer, without its epilogue, on given codes."""

    def __init__(self, spec: ConvSpec, target: tvm.target.Target | None = None) -> None:
        use_all_cores()
        target = target or host_target()
        self.spec = dataclasses.replace(spec, epilogue=Epilogue())
        executable = tvm.compile(
            lower(_layer_module(self.spec), target), target, relax_pipeline=None
        )
        self._vm = relax.VirtualMachine(executable, tvm.cpu())

    def run(self, codes: npt.NDArray[np.uint8], operands: Operands) -> npt.NDArray[np.float32]:
        """float32 [b, out_h, out_w, n] for codes [b, h, w, c] (or [b, k] of a dense layer)."""
        shape = (len(codes), self.spec.height, self.spec.width, self.spec.in_channels)
        given = [getattr(operands, field.name) for field in dataclasses.fields(operands)]
        result = self._vm["main"](tvm.runtime.tensor(codes.reshape(shape)), *given)
        return np.asarray(result.numpy())
