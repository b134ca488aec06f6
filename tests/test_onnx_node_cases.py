"""ONNX's own backend node tests (`onnx.backend.test`) for the operators that are taken.

Every case is wrapped into a network of one image: the first float input is the image, the others are
fixed. Where an operator has no float input its result is a constant that is added to the image.
`make test` runs one case of the common operators, `make test-slow` all of all.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.errors import UnsupportedError
from alwann_c.frontend.imported import ImportOptions
from alwann_c.frontend.onnx import import_model
from alwann_c.frontend.onnx_import import KNOWN_OPERATORS
from alwann_c.frontend.onnx_qdq import QUANTIZED_OPERATORS
from alwann_c.passes.normalise import normalise

Array = npt.NDArray[Any]

COMMON = re.findall(
    r"\w+",
    """
Conv ConvTranspose MatMul Gemm QLinearConv QLinearMatMul QuantizeLinear
BatchNormalization InstanceNormalization LayerNormalization
Relu LeakyRelu PRelu Clip HardSigmoid HardSwish Sigmoid Erf Softmax
MaxPool AveragePool GlobalAveragePool
Add Sub Mul Div Pow Max Min Sum ReduceMean
Concat Split Slice Gather Transpose Reshape Flatten Squeeze Unsqueeze Expand Pad DepthToSpace
Cast Shape ConstantOfShape Dropout Resize Upsample Where
""",
)
"""What exporters of convolutional networks write."""

OTHERS = re.findall(
    r"\w+",
    """
Einsum GroupNormalization LRN MeanVarianceNormalization
Elu Selu Softplus Softsign Tanh Gelu Mish ThresholdedRelu Shrink LogSoftmax Hardmax
GlobalMaxPool LpPool
Neg Abs Exp Log Sqrt Reciprocal Floor Ceil Round Sign Sin Cos Mean
ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum
ReduceLogSumExp ReduceProd ArgMax ArgMin
GatherElements GatherND Tile SpaceToDepth Identity Size Constant Trilu
Equal Greater GreaterOrEqual Less LessOrEqual Not And Or Xor
Acos Acosh AffineGrid Asin Asinh Atan Atanh Tan BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
EyeLike GridSample IsInf IsNaN Mod RMSNormalization Range RoiAlign Scatter ScatterND
""",
)
"""What is taken beside them."""

OPERATORS = [*COMMON, *OTHERS]

ELSEWHERE = {
    "test_onnx_contrib.py": re.findall(
        r"\w+", "Attention BiasGelu FastGelu GlobalLpPool MaxRoiPool SkipLayerNormalization"
    ),
    "test_given_quantization.py": re.findall(
        r"\w+",
        """
DequantizeLinear QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool
QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax
""",
    ),
    "refused, in one line": re.findall(
        r"\w+", "ConvInteger DynamicQuantizeLinear MatMulInteger MatMulInteger16"
    ),
    "no case in types that are taken": ["CastLike"],
}
"""Where operators are compared whose cases are not here."""

SKIPPED = {
    r"_expanded(_ver\d+)?$": "the same operator taken apart",
    r"training|test_batchnorm_.*_training": "training",
    r"maxpool_with_argmax": "a second output that names pixels: refused",
    r"empty_set|zero_size|reshape_allowzero_reordered|shape_zero|tri[lu]_zero": "empty tensors",
    r"start_out_of_bounds|start_greater_than_end": "empty tensors",
    r"sequence|optional": "values that are no tensors",
    r"argm(ax|in).*select_last_index": "select_last_index: refused",
    r"bool_inputs": "minimum and maximum of truth values",
    r"pow_types_int": "integer powers: refused",
    r"quantizelinear_(axis|blocked|int|uint)": "codes that are not 8 bits per tensor: refused",
    r"resize_downsample_scales_(linear|cubic)_align_corners": (
        "corners of a size that is no whole number: ONNX Runtime takes the whole one, and so do we, see"
        " test_onnx_ends.py"
    ),
    r"resize_.*(antialias|_axes_|not_larger|not_smaller)": "antialias, axes, aspect ratio: refused",
    r"resize_.*_scales_(linear|cubic).*": "factors that do not divide the size, where refused",
    r"spacetodepth_crd": "mode CRD: refused",
    r"isinf_(positive|negative)": "infinity of one sign: refused",
    r"roialign_mode_max": "mode max: refused",
    r"mod_float_edge": "stored NaN: refused",
    r"range_float": "computed in a loop: refused",
    r"eyelike_(with_dtype|populate)": "another type than the input's: refused",
    r"(layer|group|rms)_normalization": "normalised over other axes, where refused",
}
"""Cases that are left out, with the reason."""

REFUSABLE = (
    r"resize_(?!downsample_scales_\w+_align_corners).*_scales_(linear|cubic)"
    r"|(layer|group|rms)_normalization"
)
"""Cases left out only where the frontend refuses them in one line."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model of one node, its inputs and its first output."""

    name: str
    model: onnx.ModelProto
    inputs: list[Array]
    output: Array
    rtol: float
    atol: float

    def reason(self) -> str | None:
        """Why it is left out."""
        for pattern, reason in SKIPPED.items():
            if re.search(pattern, self.name) and not re.search(REFUSABLE, self.name):
                return reason
        kinds = {value.dtype.kind for value in [*self.inputs, self.output]}
        sizes = {value.dtype.itemsize for value in self.inputs if value.dtype.kind == "f"}
        if not kinds <= set("fiub") or not sizes <= {4} or self.output.dtype.itemsize == 2:
            return "types beside float32, integers and truth values"
        return None


@cache
def cases() -> dict[str, list[Case]]:
    """The package's cases of single nodes, by operator."""
    from onnx.backend.test.case.node import collect_testcases

    found: dict[str, list[Case]] = {name: [] for name in OPERATORS}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        collected = collect_testcases("")
    for case in collected:
        names = {node.op_type for node in case.model.graph.node}
        if len(case.model.graph.node) != 1 or not names <= set(OPERATORS):
            continue
        inputs, outputs = case.data_sets[0]
        values = [*inputs, *outputs[:1]]
        if any(value is None or isinstance(value, list | dict) for value in values):
            continue
        *given, output = (np.asarray(value) for value in values)
        made = Case(case.name, case.model, given, output, case.rtol, case.atol)
        found[names.pop()].append(made)
    return found


def opset(model: onnx.ModelProto) -> int:
    return max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def wrapped(case: Case, image: int | None) -> onnx.ModelProto:
    """The case for an image [1, ...]; input number `image`, or none, is made from it."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    before: list[onnx.NodeProto] = []
    if image is not None:
        entry = graph.input[image]
        shape: tuple[int, ...] = case.inputs[image].shape
        before = [helper.make_node("Reshape", ["image__", "shape__"], [entry.name])]
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "shape__"))
        entry.CopyFrom(helper.make_tensor_value_info("image__", TensorProto.FLOAT, [1, *shape]))
    else:
        graph.input.append(helper.make_tensor_value_info("image__", TensorProto.FLOAT, [1, 1]))
    name = graph.output[0].name
    after = [helper.make_node("Cast", [name], ["real__"], to=TensorProto.FLOAT)]
    after.append(helper.make_node("Reshape", ["real__", "flat__"], ["row__"]))
    graph.initializer.append(numpy_helper.from_array(np.array([1, -1], np.int64), "flat__"))
    if image is None:
        after.append(helper.make_node("Add", ["row__", "image__"], ["result__"]))
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    result = after[-1].output[0]
    graph.output.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, None))
    return model


def network_of(model: onnx.ModelProto, fixed: dict[str, Array]) -> FloatNetwork:
    module = normalise()(import_model("net", model, ImportOptions(fixed=fixed)).module)
    return FloatNetwork(module, batch=1)


def check(case: Case) -> None:
    """The frontend's network gives the expected output. Raises UnsupportedError where refused."""
    names = [entry.name for entry in case.model.graph.input]
    if case.model.graph.node[0].op_type.startswith("QLinear"):
        check_codes(case, names)
        return
    floats = [i for i, value in enumerate(case.inputs) if value.dtype == np.float32 and value.size]
    shapes = case.model.graph.node[0].op_type in ("Shape", "Size")
    image = floats[0] if floats and not shapes else None
    fixed = {n: v for i, (n, v) in enumerate(zip(names, case.inputs, strict=True)) if i != image}
    network = network_of(wrapped(case, image), fixed)
    given = np.zeros((1, 1), np.float32) if image is None else case.inputs[image][None]
    got = network.run(given)
    wanted = case.output.astype(np.float32).reshape(1, -1)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=case.rtol, atol=max(case.atol, 1e-5))


def check_codes(case: Case, names: list[str]) -> None:
    """Codes come in and go out as real values; within one code of what is expected."""
    by_name = dict(zip(names, case.inputs, strict=True))
    first, scale, zero = (by_name.pop(names[0]), by_name[names[1]], by_name[names[2]])
    given = (first.astype(np.float32) - zero.astype(np.float32)) * scale
    batch, *rest = given.shape
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    images = given if batch == 1 else given[None]
    if batch != 1:  # a matrix for each image
        model.graph.input[0].type.tensor_type.shape.ClearField("dim")
        for extent in (1, batch, *rest):
            model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = extent
    step, point = (by_name[name].astype(np.float32) for name in names[-2:])
    if case.model.graph.node[0].op_type == "QLinearConv":
        step, point = by_name[names[6]], by_name[names[7]].astype(np.float32)
    got = network_of(model, by_name).run(np.ascontiguousarray(images, np.float32))
    wanted = (case.output.astype(np.float32) - point) * step
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=1.01 * float(np.max(step)))


def attempt(case: Case) -> str | None:
    """Runs a case; the refusal where that is allowed."""
    try:
        check(case)
    except UnsupportedError as e:
        if not re.search(REFUSABLE, case.name):
            raise
        message = str(e)
    else:
        return None
    assert f"operator {case.model.graph.node[0].op_type} of node" in message
    return message


def test_the_list_is_of_operators_that_are_taken() -> None:
    known = KNOWN_OPERATORS | QUANTIZED_OPERATORS | {"Constant"}
    listed = [*OPERATORS, *(name for names in ELSEWHERE.values() for name in names)]
    assert sorted(listed) == sorted(known)


@pytest.mark.parametrize("operator", COMMON)
def test_first_case_of(operator: str) -> None:
    usable = [case for case in cases()[operator] if case.reason() is None]
    if not usable:
        pytest.skip(f"no case of {operator}: {[case.name for case in cases()[operator]][:3]}")
    assert any(attempt(case) is None for case in usable[:4])


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
def test_every_case_of(operator: str) -> None:
    failures = []
    for case in cases()[operator]:
        if case.reason() is not None:
            continue
        try:
            attempt(case)
        except Exception as e:  # noqa: BLE001 (all of them are reported at once)
            failures.append(f"{case.name}: {' '.join(str(e).split())[:200]}")
    assert not failures, "\n".join(failures)
