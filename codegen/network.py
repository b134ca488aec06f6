"""A compiled network whose integer layers' tables, weights and corrections are run-time inputs.

Compiled once; the search evaluates a candidate by binding other arrays, never by recompiling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.codegen import cpu
from alwann_c.codegen.lower import lower
from alwann_c.codegen.machine import host_target, use_all_cores
from alwann_c.codegen.parallel_build import compile_lowered
from alwann_c.ir import ops
from alwann_c.ir.rewrite import Rebuilder, bindings

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Operands:
    """Run-time operands of one integer layer (`ops.LAYER_OPERANDS`), as device tensors.

    The table is a prepared one, see `prepared`.
    """

    weight: tvm.runtime.Tensor
    table: tvm.runtime.Tensor
    weight_zero_point: tvm.runtime.Tensor
    offset: tvm.runtime.Tensor
    scale: tvm.runtime.Tensor


@lru_cache(maxsize=64)
def _prepared(table: bytes, signed: bool) -> tvm.runtime.Tensor:
    products = np.frombuffer(table, np.int32).reshape(256, 256)
    return tvm.runtime.tensor(cpu.prepare_table(products, signed))


def prepared(table: npt.NDArray[np.int32], signed: bool) -> tvm.runtime.Tensor:
    """A product table as kernels want it; equal tables share one tensor."""
    return _prepared(np.ascontiguousarray(table, np.int32).tobytes(), signed)


def bind(
    weight: npt.NDArray[np.uint8],
    table: tvm.runtime.Tensor,
    weight_zero_point: npt.NDArray[np.int32],
    offset: npt.NDArray[np.int32],
    scale: npt.NDArray[np.float32],
) -> Operands:
    """Copies a layer's operands to the device; `table` is there already, see `prepared`."""
    tensor = tvm.runtime.tensor
    return Operands(tensor(weight), table, tensor(weight_zero_point), tensor(offset), tensor(scale))


class Lifter(Rebuilder):
    """Turns the constant operands of integer layers into parameters `params`, by layer."""

    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.layers = {
            ops.layer_name(value): value for _, value in bindings(mod) if ops.is_layer(value)
        }
        table = relax.TensorType(cpu.PREPARED_SHAPE, "int32")
        self.params = {
            name: [
                relax.Var(f"layer{i}_{field}", table if field == "table" else call.args[1 + j].ty)
                for j, field in enumerate(ops.LAYER_OPERANDS)
            ]
            for i, (name, call) in enumerate(self.layers.items())
        }

    def visit(self, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        new = self.remap(value)
        if not ops.is_layer(value):
            return new
        residual = list(new.args[1 + len(ops.LAYER_OPERANDS) :])
        args = [new.args[0], *self.params[ops.layer_name(value)], *residual]
        return ops.with_spec(new, ops.conv_spec(new), args)

    def lift(self) -> tvm.IRModule:
        """The module whose `main` takes the operands of every layer after the images."""
        return self.run([param for group in self.params.values() for param in group])

    def defaults(self) -> dict[str, Operands]:
        """The constant operands by layer."""
        return {name: _default(call) for name, call in self.layers.items()}


def _default(call: relax.Call) -> Operands:
    operands = [argument.value for argument in call.args[1 : 1 + len(ops.LAYER_OPERANDS)]]
    place = ops.LAYER_OPERANDS.index("table")
    operands[place] = prepared(operands[place].numpy(), ops.conv_spec(call).signed)
    return Operands(*operands)


class CompiledNetwork:
    """`mod` (quantized, fused) compiled with its layers' operands as inputs.

    Args:
        mod: IRModule of integer layers; its constants become the default bindings.
        target: TVM target; this machine when None.
        batch: images run together.
        strategies: kernels to use instead of those chosen, by layer name.
    """

    def __init__(
        self,
        mod: tvm.IRModule,
        target: tvm.target.Target | None = None,
        *,
        batch: int = 250,
        strategies: Mapping[str, cpu.Strategy] | None = None,
    ) -> None:
        use_all_cores()
        target = target or host_target()
        lifter = Lifter(mod)
        lifted = lifter.lift()
        self.batch = batch
        self.layer_names = list(lifter.layers)
        self.defaults = lifter.defaults()
        executable = compile_lowered(lower(lifted, target, strategies), target, load=True)
        self._vm = relax.VirtualMachine(executable, tvm.cpu())

    def _operands(self, bindings: Mapping[str, Operands]) -> list[tvm.runtime.Tensor]:
        unknown = set(bindings) - set(self.layer_names)
        if unknown:
            raise KeyError(f"no such layer: {', '.join(sorted(unknown))}")
        operands = []
        for name in self.layer_names:
            chosen = bindings.get(name, self.defaults[name])
            operands += [getattr(chosen, field.name) for field in fields(chosen)]
        return operands

    def _batches(self, images: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, len(images), self.batch):
            yield np.ascontiguousarray(images[start : start + self.batch])

    def run(
        self, images: npt.NDArray[np.float32], bindings: Mapping[str, Operands] | None = None
    ) -> npt.NDArray[np.float32]:
        """Outputs [n, classes] for float32 images [n, ...]; layers not bound keep their default."""
        operands = self._operands(bindings or {})
        outputs = []
        for chunk in self._batches(images):
            outputs.append(self._vm["main"](tvm.runtime.tensor(chunk), *operands).numpy())
        return np.concatenate(outputs)
