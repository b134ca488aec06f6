"""Tiny networks, data sets and libraries the tests are built from: small, seeded, classifying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from alwann_c.dataset import load_dataset
from alwann_c.ir.ops import op_name
from alwann_c.ir.rewrite import bindings
from alwann_c.ir.spec import ConvSpec, Quantization
from alwann_c.model import Model, load
from alwann_c.passes.quantize import LayerCodes, layer_codes
from alwann_c.quantized import QuantizedModel, quantize
from alwann_c.targets import Library, Multiplier, Target, exact_products

Float32 = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Shortcut = Literal["slice", "pool"]

IMAGE = (3, 8, 8)
CLASSES = 4
OPSET = 17


class Net:
    """Builds an ONNX graph node by node; every method returns the name of its output."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, npt.NDArray[Any]] = {}

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.weights[name] = value
        return name

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        output = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], output, **attributes))
        return output

    def conv(
        self,
        name: str,
        x: str,
        channels: tuple[int, int],
        *,
        kernel: int = 3,
        bias: bool = False,
        groups: int = 1,
        pads: Sequence[int] | None = None,
        **attributes: Any,
    ) -> str:
        shape = (channels[1], channels[0] // groups, kernel, kernel)
        spread = 1.4 / np.sqrt(np.prod(shape[1:]))
        inputs = [
            x,
            self.constant(
                f"{name}.weight", self.random.normal(0, spread, shape).astype(np.float32)
            ),
        ]
        if bias:
            drawn = self.random.normal(0, 0.3, channels[1]).astype(np.float32)
            inputs.append(self.constant(f"{name}.bias", drawn))
        pads = [kernel // 2] * 4 if pads is None else list(pads)
        return self.node("Conv", inputs, pads=pads, group=groups, **attributes)

    def batch_norm(self, name: str, x: str, channels: int) -> str:
        draw = self.random
        values = {
            "gamma": draw.uniform(0.5, 1.5, channels),
            "beta": draw.normal(0, 0.3, channels),
            "mean": draw.normal(0, 0.3, channels),
            "var": draw.uniform(0.5, 1.5, channels),
        }
        names = [
            self.constant(f"{name}.{key}", value.astype(np.float32))
            for key, value in values.items()
        ]
        return self.node("BatchNormalization", [x, *names])

    def block(self, name: str, x: str, channels: tuple[int, int], **options: Any) -> str:
        """Convolution and batch normalisation."""
        return self.batch_norm(f"{name}.bn", self.conv(name, x, channels, **options), channels[1])

    def shortcut(self, x: str, kind: Shortcut) -> str:
        """Option A: every second pixel (or their mean), 8 further channels of zeros."""
        if kind == "slice":
            wanted = {"starts": [0, 0], "ends": [8, 8], "axes": [2, 3], "steps": [2, 2]}
            names = [
                self.constant(f"slice.{key}", np.array(value)) for key, value in wanted.items()
            ]
            small = self.node("Slice", [x, *names])
        else:
            small = self.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
        pads = self.constant("pad.pads", np.array([0, 4, 0, 0, 0, 4, 0, 0]))
        return self.node("Pad", [small, pads])

    def model(
        self,
        output: str,
        *,
        image: Sequence[int] = IMAGE,
        classes: int = CLASSES,
        batch: str | int = "N",
        opset: int = OPSET,
    ) -> onnx.ModelProto:
        """The checked model with input `image` [batch, *image] and output [batch, classes]."""
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *image])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, classes])],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )
        onnx.checker.check_model(model)
        return model


def residual_net(
    *,
    conv_bias: bool = False,
    shortcut: Shortcut = "slice",
    normalised: bool = False,
    softmax: bool = False,
    batch: str | int = "N",
    seed: int = 3,
) -> onnx.ModelProto:
    """Stem, an identity block, a stride-2 block with option-A shortcut, pooling, dense: 6 layers.

    With `normalised` it takes pixels 0..255 and begins with Sub, Div and Mul by constants.
    """
    net = Net(seed)
    x = "image"
    if normalised:
        middle = net.constant("in.middle", np.full((1, 3, 1, 1), 127.5, np.float32))
        span = net.constant("in.span", np.array(255.0, np.float32))
        gain = net.constant("in.gain", np.array([3.0, 4.0, 3.5], np.float32).reshape(3, 1, 1))
        x = net.node("Mul", [net.node("Div", [net.node("Sub", [x, middle]), span]), gain])
    stem = net.node("Relu", [net.block("stem", x, (3, 8), bias=conv_bias)])
    inner = net.node("Relu", [net.block("a1", stem, (8, 8), bias=conv_bias)])
    first = net.node("Relu", [net.node("Add", [net.block("a2", inner, (8, 8)), stem])])
    down = net.node("Relu", [net.block("b1", first, (8, 16), strides=[2, 2], bias=conv_bias)])
    side = net.shortcut(first, shortcut)
    second = net.node("Relu", [net.node("Add", [side, net.block("b2", down, (16, 16))])])
    flat = net.node("Flatten", [net.node("GlobalAveragePool", [second])])
    return _with_head(net, flat, 16, softmax=softmax, batch=batch)


def images_for(normalised: bool, count: int, seed: int) -> Float32:
    """Random smooth images [count, *IMAGE]: pixels 0..255, or values around zero."""
    random = np.random.default_rng(seed)
    coarse = random.normal(0, 1, (count, 3, 2, 2)).repeat(4, axis=2).repeat(4, axis=3)
    values = coarse + 0.4 * random.normal(0, 1, (count, *IMAGE))
    if normalised:
        return np.clip(np.rint(values * 50 + 127.5), 0, 255).astype(np.float32)
    return values.astype(np.float32)


def run_onnx(model: onnx.ModelProto | Path, images: Float32) -> Float32:
    """Output of ONNX Runtime, the independent judge of float inference."""
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    step = 1 if entry.shape[0] == 1 else len(images)
    parts = [images[i : i + step] for i in range(0, len(images), step)]
    return np.concatenate([session.run(None, {entry.name: part})[0] for part in parts])


@dataclass(frozen=True)
class TinyData:
    """A data set file and what it holds, prepared."""

    path: Path
    images: Float32
    labels: npt.NDArray[np.int64]


def write_data(folder: Path, name: str, model: Path, *, count: int, seed: int) -> TinyData:
    """`name`.toml and .npz in NCHW; the labels are what the float network says."""
    normalised = "in.gain" in {t.name for t in onnx.load(str(model)).graph.initializer}
    images = images_for(normalised, count, seed)
    labels = run_onnx(model, images).argmax(axis=1).astype(np.int64)
    np.savez(folder / f"{name}.npz", images=images, labels=labels)
    path = folder / f"{name}.toml"
    path.write_text(f'file = "{name}.npz"\nlayout = "NCHW"\n', encoding="utf-8")
    return TinyData(path, images, labels)


def random_table(seed: int, *, signed: bool = False, error: int = 300) -> Int32:
    """An asymmetric product table; in particular M(a, 0) != 0 and M(0, w) != 0."""
    noise = np.random.default_rng(seed).integers(-error, error + 1, (256, 256))
    low, high = (-(1 << 15), (1 << 15) - 1) if signed else (0, (1 << 16) - 1)
    table: Int32 = np.clip(exact_products(signed) + noise, low, high).astype(np.int32)
    return table


def random_multiplier(
    seed: int, *, signed: bool = False, error: int = 300, power_mw: float | None = None
) -> Multiplier:
    """A multiplier with `random_table`."""
    table = random_table(seed, signed=signed, error=error)
    return Multiplier(f"random{seed}", table, signed=signed, power_mw=power_mw)


def truncated(bits: int, *, power_mw: float, name: str = "") -> Multiplier:
    """The exact unsigned product with its lowest `bits` bits cleared."""
    table = exact_products(False) & ~((1 << bits) - 1)
    return Multiplier(
        name or f"cut{bits}", table, power_mw=power_mw, area_um2=100 * power_mw, library="tiny"
    )


def small_net(*, seed: int = 5, batch: str | int = "N") -> onnx.ModelProto:
    """Three layers, quick to compile: two strided convolutions of 6 channels, pooling, dense."""
    net = Net(seed)
    first = net.node("Relu", [net.block("c1", "image", (3, 6), bias=True, strides=[2, 2])])
    second = net.node("Relu", [net.block("c2", first, (6, 6))])
    flat = net.node("Flatten", [net.node("GlobalAveragePool", [second])])
    return _with_head(net, flat, 6, batch=batch)


def _with_head(
    net: Net, flat: str, features: int, *, softmax: bool = False, batch: str | int = "N"
) -> onnx.ModelProto:
    """Ends in a Gemm whose outputs have about the same spread over random images."""
    shape = (CLASSES, features)
    weight = net.constant("fc.weight", net.random.normal(0, 1, shape).astype(np.float32))
    bias = net.constant("fc.bias", np.zeros(CLASSES, np.float32))
    logits = net.node("Gemm", [flat, weight, bias], transB=1)
    seen = run_onnx(net.model(logits), images_for("in.gain" in net.weights, 64, seed=99))
    gain = (2.0 / seen.std(axis=0)).astype(np.float32)
    net.weights["fc.weight"] = net.weights["fc.weight"] * gain[:, None]
    net.weights["fc.bias"] = (-seen.mean(axis=0) * gain).astype(np.float32)
    output = net.node("Softmax", [logits], axis=1) if softmax else logits
    return net.model(output, batch=batch)


@dataclass(frozen=True, eq=False)
class Case:
    """A tiny network, quantized, with data: 96 calibration and 64 search images."""

    path: Path
    model: Model
    calibration: TinyData
    search: TinyData
    quantized: QuantizedModel

    @property
    def convolutions(self) -> list[str]:
        """Names of the layers that are approximated."""
        return [name for name, layer in self.quantized.layers.items() if layer.kind != "dense"]


def make_case(folder: Path, proto: onnx.ModelProto) -> Case:
    """Writes the network and its data into a folder, imports and quantizes it."""
    path = folder / "net.onnx"
    onnx.save(proto, str(path))
    calibration = write_data(folder, "calibration", path, count=96, seed=1)
    search = write_data(folder, "search", path, count=64, seed=2)
    model = load(path)
    return Case(path, model, calibration, search, quantize(model, load_dataset(calibration.path)))


def tiny_library() -> Library:
    """Exact (1 mW) and three truncated multipliers of falling energy and accuracy."""
    made = [
        truncated(0, power_mw=1.0, name="exact"),
        truncated(6, power_mw=0.8),
        truncated(9, power_mw=0.5),
        truncated(12, power_mw=0.2),
    ]
    return Library("tiny", "MIT", None, {m.name: m for m in made})


def make_target(architecture: str = "power-gated", units: int = 2, **fields: Any) -> Target:
    """A target of equal units that may take any multiplier."""
    document = {
        "name": "test",
        "architecture": architecture,
        "clock_mhz": 100.0,
        "unit": [{"name": "u", "count": units, "rows": 4, "columns": 4}],
    }
    return Target.model_validate(document | fields)


def plain_text(mod: tvm.IRModule) -> str:
    """A module as text, without headers and comments."""
    lines = str(mod.script(show_meta=False)).splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith("#")) + "\n"


def calls(mod: tvm.IRModule) -> list[str]:
    """Names of the operators of `main`, in order."""
    return [name for _, value in bindings(mod) if (name := op_name(value))]


def fixed_codes(model: Model, *, signed: bool = False) -> dict[str, LayerCodes]:
    """Codes that do not depend on data: inputs in steps of 1/32."""
    code = Quantization(1 / 32, 0 if signed else 100, signed)
    return {layer.name: layer_codes(layer, code) for layer in model.layers}


def operands(spec: ConvSpec, *, dense: bool = False) -> list[relax.Var]:
    """Variables of the right types for a layer of this specification."""
    batch = tvm.tirx.Var("N", "int64")
    image = (spec.height, spec.width, spec.in_channels)
    result = (spec.out_height, spec.out_width, spec.out_channels)
    channels = (spec.out_channels,)
    types: dict[str, tuple[tuple[object, ...], str]] = {
        "x": ((batch, spec.in_channels) if dense else (batch, *image), "uint8"),
        "weight": ((*spec.kernel, spec.in_channels // spec.groups, spec.out_channels), "uint8"),
        "table": ((256, 256), "int32"),
        "weight_zero_point": (channels, "int32"),
        "offset": (channels, "int32"),
        "scale": (channels, "float32"),
    }
    if spec.epilogue.residual != "none":
        dtype = "float32" if spec.epilogue.residual == "float" else "uint8"
        types["residual"] = ((batch, spec.out_channels) if dense else (batch, *result), dtype)
    return [relax.Var(name, relax.TensorType(*kind)) for name, kind in types.items()]


def module_of(call: relax.Call, params: list[relax.Var]) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            output = builder.emit_output(call)
        builder.emit_func_output(output)
    return builder.get()
