"""TensorFlow Lite models, float and full int8 -> Relax.

Images come in as [n, c, h, w] like those of every other model; the network's own layout begins with
a transposition. A tensor of codes keeps the scale and zero point that the file gives it:

    CONV_2D(q, w, b) -> q'    =>    quantize(conv2d(dequantize(q), W) + b)    by q' 's scale
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.imported import (
    CONSTANT_OUTPUT,
    Imported,
    ImportOptions,
    digest,
    fixed_value,
    known_inputs,
)
from alwann_c.frontend.integers import BYTES, Integer, store
from alwann_c.frontend.reasons import reason
from alwann_c.frontend.relax_graph import Graph, build_graph
from alwann_c.frontend.relay_context import Constant, Context, Value
from alwann_c.frontend.relay_ops import OPERATORS
from alwann_c.frontend.tflite_file import Network, Operator, Tensor, read_tflite
from alwann_c.frontend.tflite_layers import real_values
from alwann_c.frontend.tflite_ops import TFLITE_OPERATORS, Call

Array = npt.NDArray[Any]
_ACTIVATIONS = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH"}
_REMEDY = "convert without it, or give the ONNX of the network"
_FOLDED = {
    *("SHAPE", "STRIDED_SLICE", "PACK", "CONCATENATION", "GATHER", "CAST"),
    *("MUL", "ADD", "SUB", "DEQUANTIZE"),
}
"""Operators computed at once where all they read is constant."""


def _users(network: Network) -> dict[int, list[Operator]]:
    users: dict[int, list[Operator]] = {}
    for operator in network.operators:
        for number in operator.inputs:
            users.setdefault(number, []).append(operator)
    return users


def undilated(network: Network) -> Network:
    """SPACE_TO_BATCH_ND, convolution, BATCH_TO_SPACE_ND as the dilated convolution they mean.

    Others of these stay, and are refused: they mix images.
    """
    users = _users(network)
    made = {number: op for op in network.operators for number in op.outputs}
    gone: set[int] = set()
    changed: dict[int, Operator] = {}
    for last in network.operators:
        conv = made.get(last.inputs[0]) if last.name == "BATCH_TO_SPACE_ND" else None
        if conv is None or conv.name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        first = made.get(conv.inputs[0])
        if first is None or first.name != "SPACE_TO_BATCH_ND":
            continue
        alone = all(len(users.get(op.outputs[0], [])) == 1 for op in (first, conv))
        arrays = [network.tensors[n].data for op in (first, last) for n in op.inputs[1:3]]
        if not alone or any(array is None or array.size not in (2, 4) for array in arrays):
            continue
        block, pads, back, crops = (np.asarray(array).reshape(-1).tolist() for array in arrays)
        plain = all(conv.options[key] == 1 for key in ("stride_h", "stride_w"))
        if block != back or not plain or conv.options["padding"] != 1 or len(pads) != len(crops):
            continue
        padding = [pad - crop for pad, crop in zip(pads, crops, strict=True)]
        if len(padding) != 4 or min(padding) < 0:
            continue
        top, bottom, left, right = padding
        options = {
            **conv.options,
            "dilation_h": block[0],
            "dilation_w": block[1],
            "explicit": [top, left, bottom, right],
        }
        gone |= {first.number, conv.number}
        changed[last.number] = replace(
            conv,
            inputs=(first.inputs[0], *conv.inputs[1:]),
            outputs=last.outputs,
            options=options,
        )
    kept = [changed.get(op.number, op) for op in network.operators if op.number not in gone]
    return replace(network, operators=kept)


class _Converter:
    def __init__(
        self, label: str, network: Network, graph: Graph, fixed: Mapping[int, Array]
    ) -> None:
        self.label, self.network, self.context = label, network, Context(graph)
        self.values: dict[int, Value] = {}
        self.fixed = fixed

    def stored(self, real: relax.Expr, tensor: Tensor) -> Value:
        """Real values in the code of a tensor; as they are where it has none."""
        if tensor.dtype not in BYTES or tensor.scale is None or tensor.zero is None:
            return real
        return store(self.context.graph, real, tensor.scale, tensor.zero, tensor.dtype)

    def operand(self, number: int, *, raw: bool) -> Value:
        """Value of a tensor; `raw` keeps the codes of a constant."""
        if number == -1:
            return None
        tensor = self.network.tensors[number]
        if number in self.values:
            return self.values[number]
        data = self.fixed.get(number, tensor.data)
        if data is None:
            raise ValueError(f"tensor '{tensor.name}' is read before it is made")
        if raw or tensor.scale is None:
            return Constant(data, tensor.name)
        return Constant(real_values(tensor, data), tensor.name)

    def run(self, operator: Operator) -> None:
        """Adds the results of an operator."""
        tensors = self.network.tensors
        result = tensors[operator.outputs[0]]
        where = (
            f"{self.label}: operator {operator.name} number {operator.number}, output "
            f"'{result.name}' (version {operator.version})"
        )
        converter = TFLITE_OPERATORS.get(operator.name)
        split = operator.name in ("SPLIT", "SPLIT_V", "UNPACK")
        if converter is None and not split:
            raise UnsupportedError(f"{where} is not supported; {_REMEDY}")
        try:
            if split:
                self.divide(operator)
                return
            assert converter is not None
            if len(operator.outputs) != 1:
                raise ValueError(f"{len(operator.outputs)} outputs")
            layer = operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
            weights = layer or operator.name == "TRANSPOSE_CONV"
            values = [self.operand(n, raw=weights and i > 0) for i, n in enumerate(operator.inputs)]
            described = [None if n == -1 else tensors[n] for n in operator.inputs]
            call = Call(self.context, operator, values, described, result)
            self.values[operator.outputs[0]] = self.finished(call, converter)
        except InputError:
            raise
        except Exception as e:
            raise UnsupportedError(f"{where} cannot be taken: {reason(e, _REMEDY)}") from e

    def finished(self, call: Call, converter: Any) -> Value:
        """What a converter makes, its fused activation applied, stored as the file says."""
        computed = all(value is None or isinstance(value, Constant) for value in call.values)
        if computed and call.operator.name not in _FOLDED:
            raise ValueError("it computes on constants alone; fold them before")
        if any(t is not None and t.dtype == "int16" for t in call.tensors):
            raise ValueError("activations of 16 bits; quantize them to 8")
        call = replace(call, values=[self.plain(v) for v in call.values])
        made = converter(call)
        if isinstance(made, Constant):
            self.context.budget.spend(made.value)
            return made
        real = self.context.real(made)
        activation = int(call.options.get("activation", 0))
        if activation:
            if activation not in _ACTIVATIONS:
                raise ValueError(f"fused activation {activation}")
            then = replace(call, values=[real])
            real = self.context.real(TFLITE_OPERATORS[_ACTIVATIONS[activation]](then))
        return self.stored(real, call.result)

    def plain(self, value: Value) -> Value:
        """Real values of codes."""
        return value.real if isinstance(value, Integer) else value

    def divide(self, operator: Operator) -> None:
        """SPLIT(axis, x), SPLIT_V(x, sizes, axis)."""
        tensors = self.network.tensors
        if operator.name == "UNPACK":
            raise ValueError("it takes a tensor apart by rows; export with slices")
        places = (1, 0) if operator.name == "SPLIT" else (0, 2)
        data, along = (self.operand(operator.inputs[place], raw=False) for place in places)
        axis = int(np.asarray(along.value).reshape(()))
        sizes = self.context.sizes(data)
        extents = [tensors[n].shape[axis] for n in operator.outputs]
        if sum(extents) != sizes[axis]:
            raise ValueError("parts that do not fill their axis")
        edges = np.cumsum(extents)[:-1].tolist()
        parts = OPERATORS["split"](
            self.context, [self.plain(data)], {"indices_or_sections": edges, "axis": axis}
        )
        for number, part in zip(operator.outputs, parts, strict=True):
            self.values[number] = self.stored(self.context.real(part), tensors[number])


def _output(label: str, network: Network, name: str | None) -> int:
    if name is None:
        return network.outputs[0]
    known = {tensor.name: i for i, tensor in enumerate(network.tensors)}
    named = [network.tensors[number].name for number in network.outputs]
    if name.isdecimal() and int(name) < len(network.outputs):
        return network.outputs[int(name)]
    if name not in known:
        raise InputError(f"{label}: it has no output '{name}'; it has: {', '.join(named)[:300]}")
    return known[name]


def _input(path: Path, network: Network, options: ImportOptions) -> tuple[int, dict[int, Array]]:
    """Number of the image input, and values of the others."""
    names = {network.tensors[number].name: number for number in network.inputs}
    known_inputs(str(path), options.fixed, names)
    fixed = {}
    for name, value in options.fixed.items():
        tensor = network.tensors[names[name]]
        shape = [extent or None for extent in tensor.shape]
        fixed[names[name]] = fixed_value(str(path), name, value, tensor.dtype, shape)
    left = [number for number in network.inputs if number not in fixed]
    if len(left) != 1:
        listed = ", ".join(network.tensors[number].name for number in left) or "none"
        raise UnsupportedError(
            f"{path}: exactly one input is supported; it has: {listed}; give the others fixed "
            "values (fixed={'name': array})"
        )
    return left[0], fixed


def _shape(path: Path, tensor: Tensor, options: ImportOptions) -> list[int]:
    """Extents of the input as images come in: [n, c, h, w]; 0 for an open batch."""
    if tensor.dtype not in ("float32", *BYTES) or not tensor.shape:
        raise UnsupportedError(
            f"{path}: input '{tensor.name}' is {tensor.dtype}; float32, int8 or uint8 is taken"
        )
    if tensor.dtype in BYTES and tensor.scale is None:
        raise UnsupportedError(f"{path}: input '{tensor.name}' holds codes of unknown scale")
    batch, *rest = tensor.shape
    rest = [rest[2], rest[0], rest[1]] if len(rest) == 3 else rest
    if options.input_shape is not None:
        asked = list(options.input_shape)
        if len(asked) != len(rest) or any(
            e not in (0, a) for e, a in zip(rest, asked, strict=True)
        ):
            raise InputError(f"{path}: input '{tensor.name}' has sizes {rest} (c, h, w)")
        rest = asked
    if 0 in rest:
        raise UnsupportedError(
            f"{path}: input '{tensor.name}' has open sizes beside the batch; give them "
            "(input_shape=(c, h, w), --input-shape c,h,w)"
        )
    return [batch, *rest]


def import_tflite(path: Path, options: ImportOptions) -> Imported:
    """The network of a TensorFlow Lite file.

    Raises InputError (not such a file) or UnsupportedError (operator, number, output).
    """
    label = str(path)
    network = undilated(read_tflite(path))
    number, fixed = _input(path, network, options)
    output = _output(label, network, options.output)
    tensor = network.tensors[number]

    def body(graph: Graph, source: relax.Var) -> relax.Expr:
        converter = _Converter(label, network, graph, fixed)
        real: relax.Expr = source
        if len(tensor.shape) == 4:
            real = graph.emit(relax.op.permute_dims(source, [0, 2, 3, 1]))
        converter.values[number] = converter.stored(real, tensor)
        for operator in network.operators:
            if output in converter.values:
                break
            converter.run(operator)
        result = converter.values.get(output)
        if result is None or isinstance(result, Constant):
            raise UnsupportedError(f"{label}: {CONSTANT_OUTPUT}")
        return converter.context.real(result)

    module = build_graph(label, tensor.name, _shape(path, tensor, options), body)
    name = network.tensors[output].name
    return Imported(module, tensor.name, name, digest((path,)), (path,))
