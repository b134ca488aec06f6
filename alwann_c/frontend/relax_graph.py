"""Building a Relax `main` node by node: what the frontends without an importer of TVM share.

The batch is a symbol where every image provably keeps to itself (`free_batch`), else the file's.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.codegen.machine import without_native_warnings
from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.free_batch import batch_problem
from alwann_c.frontend.onnx_file import MAX_ELEMENTS
from alwann_c.passes.layers import LAYER_NAMES, WEIGHT_CODES, constant

Array = npt.NDArray[Any]
MAX_CONSTANT_BYTES = 4 << 30
"""Of a network's constants in float32: many operators may read one weight of the file."""


class Graph:
    """`main` under construction. `given`: the batch in the file; `batch`: the extent used for it.

    Every layer with a constant weight is emitted through `layer`, so that its name and the codes
    its weight was stored as reach the passes.
    """

    def __init__(self, builder: relax.BlockBuilder, given: int, batch: Any) -> None:
        self._builder, self.given, self.batch = builder, given, batch
        self.names: list[str] = []
        self._held = 0
        self.codes: dict[str, list[Any]] = {}

    def emit(self, expr: relax.Expr) -> relax.Var:
        """Appends an operation. Raises ValueError when its result or all constants are too large."""
        for part in getattr(expr, "args", ()):
            value = constant(part)
            self._held += 0 if value is None else value.nbytes
        if self._held > MAX_CONSTANT_BYTES:
            raise ValueError(f"constants of more than {MAX_CONSTANT_BYTES} bytes by then")
        var = self._builder.emit(self._builder.normalize(expr))
        shape = getattr(var.ty, "shape", None)
        fixed = [int(e) for e in shape or [] if isinstance(e, tvm.tirx.IntImm)]
        if math.prod(fixed) > MAX_ELEMENTS:
            raise ValueError(f"a result of {math.prod(fixed)} elements; at most {MAX_ELEMENTS}")
        return var

    def layer(
        self, name: str, expr: relax.Expr, codes: tuple[Array, Array] | None = None
    ) -> relax.Var:
        """Appends a convolution or product with a constant weight.

        `codes`: scale and zero point (of unsigned codes) per output channel of its weight.
        """
        unique = name if name not in self.names else f"{name}_{len(self.names)}"
        self.names.append(unique)
        if codes is not None:
            scale, zero = codes
            self.codes[unique] = [
                tvm.runtime.tensor(np.ascontiguousarray(scale, np.float32)),
                tvm.runtime.tensor(np.ascontiguousarray(zero, np.int32)),
            ]
        return self.emit(expr)

    def extents(self, shape: Sequence[Any], wanted: Sequence[int]) -> list[Any]:
        """Extents of a reshape from `shape`; one of `wanted` may be -1.

        A first axis that counts images goes on counting them, whatever number the file has there.
        Raises ValueError when the sizes do not fit.
        """
        rest = [int(e) for e in shape if isinstance(e, tvm.tirx.IntImm | int)]
        free = len(rest) < len(shape)
        images = self.given if free else 1
        total = math.prod(rest) * images
        known = math.prod(extent for extent in wanted if extent != -1)
        missing = list(wanted).count(-1)
        if missing > 1 or known < 1 or total % known or (not missing and known != total):
            raise ValueError(f"{total} elements do not fit shape {list(wanted)}")
        filled = [total // known if extent == -1 else int(extent) for extent in wanted]
        if free:
            if filled[0] % images:
                raise ValueError(f"shape {list(wanted)} mixes images of a batch")
            return [self.batch * (filled[0] // images), *filled[1:]]
        return filled


Body = Callable[[Graph, relax.Var], relax.Expr]
"""Gets the graph and its input; emits the network and returns its output."""


def _once(name: str, shape: Sequence[int], batch: Any, body: Body) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    var = relax.Var(name, relax.TensorType([batch, *shape[1:]], "float32"))
    graph = Graph(builder, shape[0], batch)
    with builder.function("main", [var]):
        with builder.dataflow():
            output = builder.emit_output(body(graph, var))
        builder.emit_func_output(output)
    module = builder.get()
    main = module.get_global_var("main")
    function = module[main].with_attr(LAYER_NAMES, graph.names)
    if graph.codes:
        function = function.with_attr(WEIGHT_CODES, graph.codes)
    module.update_func(main, function)
    return module


def _attempt(name: str, shape: Sequence[int], batch: Any, body: Body) -> tvm.IRModule | InputError:
    found: tvm.IRModule | InputError
    with without_native_warnings():
        try:
            found = _once(name, shape, batch, body)
        except InputError as e:
            found = type(e)(str(e))  # without the frames that hold half-built blocks
        gc.collect()  # which write a warning when they go
    return found


def build_graph(label: str, name: str, shape: Sequence[int], body: Body) -> tvm.IRModule:
    """The module of a network whose input is float32 `shape`, the file's batch first (0: any).

    Raises UnsupportedError when the file's batch is above 1 and cannot be freed.
    """
    if not shape or any(extent < 1 for extent in shape[1:]) or math.prod(shape) > MAX_ELEMENTS:
        raise UnsupportedError(
            f"{label}: input '{name}' has shape {list(shape)[:8]}; give it a batch and fixed sizes "
            f"of at most {MAX_ELEMENTS} elements"
        )
    fixed = shape[0]
    shape = [fixed or 1, *shape[1:]]
    found, mixed = _attempt(name, shape, tvm.tirx.Var("N", "int64"), body), False
    if isinstance(found, tvm.IRModule):
        problem = batch_problem(found)
        if problem is None:
            return found
        found, mixed = UnsupportedError(f"{label}: images of a batch are mixed by {problem}"), True
    if fixed > 1:
        raise UnsupportedError(f"{found}; its batch is fixed at {fixed}: export it with batch 1")
    single = _attempt(name, shape, 1, body)
    if isinstance(single, InputError):
        raise (single if mixed else found) from None
    return single
