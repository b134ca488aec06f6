"""Brings quantized ONNX into one form: float operators between DequantizeLinear and QuantizeLinear.

    QLinearConv(x, s_x, z_x, w, s_w, z_w, s_y, z_y, b)
=>
    DequantizeLinear(x), DequantizeLinear(w), b * s_x * s_w -> Conv -> QuantizeLinear(s_y, z_y)

Operators that only move codes (MaxPool, Reshape, …) get a DequantizeLinear before and a
QuantizeLinear behind: the same codes come out. 8-bit graph inputs become float inputs that are
quantized first, 8-bit outputs are dequantized. A zero point that the file leaves out becomes a
0 of the codes' type.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from alwann_c.errors import UnsupportedError
from alwann_c.frontend.onnx_file import where_is
from alwann_c.frontend.onnx_fold import attributes

_MOVING = {
    "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather",
    "Identity", "Split", "Expand", "Concat", "Dropout", "DepthToSpace", "SpaceToDepth",
    "Pad", "Resize", "Upsample",
}  # fmt: skip
_NEAREST = (b"nearest", None)
_BYTES = (TensorProto.UINT8, TensorProto.INT8)
_DYNAMIC = ("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "MatMulInteger16")
Scale = tuple[str, str]
"""Names of a tensor's scale and zero point."""


class _Rewriter:
    def __init__(self, label: str, model: onnx.ModelProto) -> None:
        self.label, self.model = label, model
        self.nodes: list[onnx.NodeProto] = []
        self.codes: dict[str, Scale] = {}
        self.types: dict[str, int] = {}
        self.zeros: dict[tuple[str, int], str] = {}
        self.constants = {t.name: t for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and "value" in attributes(node):
                self.constants[node.output[0]] = attributes(node)["value"]
        self.known = set(self.constants)
        self.added = 0

    def fresh(self, stem: str) -> str:
        self.added += 1
        return f"{stem}__q{self.added}"

    def constant(self, stem: str, value: np.ndarray) -> str:
        name = self.fresh(stem)
        self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def type_of(self, name: str) -> int:
        """Element type of codes; 0 where it is not known."""
        found = self.constants.get(name)
        return self.types.get(name, 0) if found is None else found.data_type

    def whole(self, scale: Scale, kind: int) -> Scale:
        """The scale with its zero point: 0 of the type `kind` where the file leaves it out."""
        if scale[1] or not kind:
            return scale
        if (scale[0], kind) not in self.zeros:
            found = self.constants.get(scale[0])
            shape = () if found is None else tuple(found.dims)
            value = np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind))
            self.zeros[scale[0], kind] = self.constant("zero", value)
        return scale[0], self.zeros[scale[0], kind]

    def dequantized(self, name: str, scale: Scale, axis: int | None = None) -> str:
        """Name of the float value of codes."""
        output = self.fresh(name)
        extra = {} if axis is None else {"axis": axis}
        inputs = [name, *(part for part in self.whole(scale, self.type_of(name)) if part)]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [output], output, **extra))
        return output

    def quantized(self, value: str, scale: Scale, output: str, kind: int) -> None:
        """Stores a float value as codes under the name `output`; of type `kind` where the scale
        has no zero point that says so."""
        scale = self.whole(scale, kind)
        inputs = [value, *(part for part in scale if part)]
        made = helper.make_node("QuantizeLinear", inputs, [output], f"{output}__store")
        self.nodes.append(made)
        self.codes[output], self.types[output] = scale, self.type_of(scale[1]) or kind

    def emit(self, node: onnx.NodeProto, op: str, inputs: list[str], drop: tuple[str, ...]) -> str:
        """The float operator of a quantized node; returns its output's name."""
        output = self.fresh(node.output[0])
        made = helper.make_node(op, inputs, [output], node.name or node.output[0])
        made.attribute.extend(a for a in node.attribute if a.name not in drop)
        self.nodes.append(made)
        return output

    def bias(self, name: str, x_scale: str, w_scale: str) -> str:
        """A bias in accumulator units as a float constant."""
        wanted = (name, x_scale, w_scale)
        if any(part not in self.constants for part in wanted):
            raise UnsupportedError(f"{self.label}: bias '{name}' is not constant; export it so")
        bias, x, w = (
            np.asarray(numpy_helper.to_array(self.constants[part]), np.float64) for part in wanted
        )
        return self.constant(name, np.asarray(bias * x.reshape(-1) * w.reshape(-1), np.float32))

    def layer(self, node: onnx.NodeProto, op: str, axis: int, bias: int | None, out: int) -> None:
        """QLinearConv, QLinearMatMul, QGemm: `axis` of the weight's output channels."""
        names = [*node.input, *[""] * (9 - len(node.input))]
        data = self.dequantized(names[0], (names[1], names[2]))
        weight = self.dequantized(names[3], (names[4], names[5]), axis)
        inputs = [data, weight]
        if bias is not None and names[bias]:
            inputs.append(self.bias(names[bias], names[1], names[4]))
        if not names[out]:
            self.emit(node, op, inputs, ())
            self.nodes[-1].output[0] = node.output[0]
            return
        result = self.emit(node, op, inputs, ())
        kind = self.type_of(names[0])
        self.quantized(result, (names[out], names[out + 1]), node.output[0], kind)

    def plain(self, node: onnx.NodeProto, op: str, operands: int) -> None:
        """Operators of com.microsoft with 1 or 2 (codes, scale, zero point) operands."""
        names = [*node.input, *[""] * (3 * operands + 2 - len(node.input))]
        if attributes(node).get("channels_last"):
            raise UnsupportedError(
                f"{self.label}: operator {node.op_type} of node '{where_is(node)}' is laid out "
                "channels last; quantize the model without layout optimisation"
            )
        inputs = [
            self.dequantized(names[3 * i], (names[3 * i + 1], names[3 * i + 2]))
            for i in range(operands)
        ]
        result = self.emit(node, op, inputs, ("channels_last", "opset"))
        scale = (names[3 * operands], names[3 * operands + 1])
        self.quantized(result, scale, node.output[0], self.type_of(names[0]))

    def concat(self, node: onnx.NodeProto) -> None:
        """QLinearConcat(s_y, z_y, x1, s1, z1, …)."""
        parts = [
            self.dequantized(node.input[i], (node.input[i + 1], node.input[i + 2]))
            for i in range(2, len(node.input), 3)
        ]
        result = self.emit(node, "Concat", parts, ())
        scale = (node.input[0], node.input[1])
        self.quantized(result, scale, node.output[0], self.type_of(node.input[2]))

    def moving(self, node: onnx.NodeProto) -> bool:
        """Whether the node only moves codes; then it is wrapped."""
        if node.op_type not in _MOVING or not node.input or node.input[0] not in self.codes:
            return False
        mode = attributes(node).get("mode")
        if node.op_type in ("Resize", "Upsample") and mode not in _NEAREST:
            return False
        scale = self.codes[node.input[0]]
        outputs = [self.fresh(output) for output in node.output]
        wrapped = onnx.NodeProto()
        wrapped.CopyFrom(node)
        moved = len(node.input) if node.op_type == "Concat" else 1
        for i in range(moved):
            if node.input[i] not in self.codes:
                return False
            wrapped.input[i] = self.dequantized(node.input[i], self.codes[node.input[i]])
        if node.op_type == "Pad" and mode in (b"constant", None):
            self.fill(wrapped, scale, self.type_of(node.input[0]))
        del wrapped.output[:]
        wrapped.output.extend(outputs)
        self.nodes.append(wrapped)
        for value, output in zip(outputs, node.output, strict=True):
            self.quantized(value, scale, output, self.type_of(node.input[0]))
        return True

    def fill(self, pad: onnx.NodeProto, scale: Scale, kind: int) -> None:
        """Turns the code that a Pad fills with, 0 where it names none, into its real value."""
        code = pad.input[2] if len(pad.input) > 2 else ""
        if not code:
            code = self.constant("fill", np.zeros((), helper.tensor_dtype_to_np_dtype(kind)))
        inputs = [*pad.input[:2], self.dequantized(code, scale), *pad.input[3:]]
        del pad.input[:]
        pad.input.extend(inputs)

    def store(self, node: onnx.NodeProto) -> None:
        """A QuantizeLinear of the file. What it makes of a constant is folded, not moved."""
        scale = (node.input[1], ([*node.input, ""])[2])
        stated = attributes(node).get("output_dtype", 0)
        kind = self.type_of(scale[1]) if scale[1] else stated or TensorProto.UINT8
        if stated and (stated not in _BYTES or kind not in (0, stated)):
            types = {number: name for name, number in TensorProto.DataType.items()}
            zero = f" and a zero point of type {types.get(kind)}" if kind != stated else ""
            raise UnsupportedError(
                f"{self.label}: operator QuantizeLinear of node '{where_is(node)}' has output_dtype "
                f"{types.get(stated, stated)}{zero}; quantize to UINT8 or INT8"
            )
        scale = self.whole(scale, kind)
        self.keep(node, scale)
        if node.input[0] not in self.known:
            self.codes[node.output[0]], self.types[node.output[0]] = scale, kind

    def read(self, node: onnx.NodeProto) -> None:
        """A DequantizeLinear of the file."""
        scale = (node.input[1], ([*node.input, ""])[2])
        self.keep(node, self.whole(scale, self.type_of(node.input[0])))

    def keep(self, node: onnx.NodeProto, scale: Scale) -> None:
        """The node with its scale and zero point made explicit."""
        kept = onnx.NodeProto()
        kept.CopyFrom(node)
        kept.domain = ""
        del kept.input[1:]
        kept.input.extend(part for part in scale if part)
        self.nodes.append(kept)

    def visit(self, node: onnx.NodeProto) -> None:
        if node.op_type in _DYNAMIC:
            raise UnsupportedError(
                f"{self.label}: operator {node.op_type} of node '{where_is(node)}' takes its scale "
                "from the data at run time; quantize statically (quantize_static)"
            )
        if all(not name or name in self.known for name in node.input):
            self.known.update(node.output)
        if node.op_type in _TABLE:
            _TABLE[node.op_type](self, node)
        elif not self.moving(node):
            kept = onnx.NodeProto()
            kept.CopyFrom(node)
            self.nodes.append(kept)


_TABLE: dict[str, Callable[[_Rewriter, onnx.NodeProto], None]] = {
    "QLinearConv": lambda r, n: r.layer(n, "Conv", 0, 8, 6),
    "QLinearMatMul": lambda r, n: r.layer(n, "MatMul", -1, None, 6),
    "QGemm": lambda r, n: r.layer(n, "Gemm", 0 if attributes(n).get("transB") else 1, 6, 7),
    "QLinearAdd": lambda r, n: r.plain(n, "Add", 2),
    "QLinearMul": lambda r, n: r.plain(n, "Mul", 2),
    "QLinearSigmoid": lambda r, n: r.plain(n, "Sigmoid", 1),
    "QLinearLeakyRelu": lambda r, n: r.plain(n, "LeakyRelu", 1),
    "QLinearSoftmax": lambda r, n: r.plain(n, "Softmax", 1),
    "QLinearGlobalAveragePool": lambda r, n: r.plain(n, "GlobalAveragePool", 1),
    "QLinearAveragePool": lambda r, n: r.plain(n, "AveragePool", 1),
    "QLinearConcat": lambda r, n: r.concat(n),
    "QuantizeLinear": lambda r, n: r.store(n),
    "DequantizeLinear": lambda r, n: r.read(n),
}
"""Quantized operator -> how it is taken apart."""

QUANTIZED_OPERATORS = frozenset((*_TABLE, *_DYNAMIC))


def _input_scale(model: onnx.ModelProto, name: str) -> Scale | None:
    """Scale and zero point by which the first reader of an 8-bit input decodes it."""
    for node in model.graph.node:
        if not node.input or name not in node.input:
            continue
        first = node.input[0] == name
        if first and node.op_type in _TABLE and node.op_type != "QuantizeLinear":
            return (node.input[1], ([*node.input, ""])[2])
    return None


def _float_ends(rewriter: _Rewriter, model: onnx.ModelProto) -> None:
    """Inputs: float values, quantized first. To be called before the nodes are visited."""
    for value in model.graph.input:
        tensor = value.type.tensor_type
        scale = _input_scale(model, value.name)
        if tensor.elem_type not in _BYTES or scale is None or value.name in rewriter.constants:
            continue
        codes = rewriter.fresh(value.name)
        for node in model.graph.node:
            for i, name in enumerate(node.input):
                if name == value.name:
                    node.input[i] = codes
        kind, tensor.elem_type = tensor.elem_type, TensorProto.FLOAT
        rewriter.quantized(value.name, scale, codes, kind)


def uniform_quantization(label: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with quantized operators taken apart; see the module. `model` is not changed.

    Raises UnsupportedError for dynamic quantization.
    """
    if not any(node.op_type in QUANTIZED_OPERATORS for node in model.graph.node):
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    rewriter = _Rewriter(label, changed)
    _float_ends(rewriter, changed)
    for node in changed.graph.node:
        rewriter.visit(node)
    for value in changed.graph.output:
        if value.name in rewriter.codes:
            output = rewriter.dequantized(value.name, rewriter.codes[value.name])
            value.name, value.type.tensor_type.elem_type = output, TensorProto.FLOAT
    del changed.graph.node[:]
    changed.graph.node.extend(rewriter.nodes)
    if all(entry.domain not in ("", "ai.onnx") for entry in changed.opset_import):
        changed.opset_import.append(helper.make_opsetid("", 13))
    return changed
