"""TensorFlow Lite import: the outputs of its interpreter, its codes kept, hostile files refused.

The fixtures are written by `tools/make_tflite_fixtures.py`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messages import refusal

pytest.importorskip("tflite", reason="needs tflite: pip install alwann-c[tflite]")

import alwann_c as ax
from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.imported import ImportOptions
from alwann_c.frontend.tflite import import_tflite, undilated
from alwann_c.frontend.tflite_file import Network, Operator, read_tflite
from alwann_c.frontend.tflite_layers import same_padding
from alwann_c.ir import ops, reference
from alwann_c.ir.interpret import layer_values
from alwann_c.quantized import QuantizationScheme

FIXTURES = Path(__file__).parent / "fixtures" / "tflite"
NETWORKS = ["residual", "segmenting"]
Array = npt.NDArray[Any]


def recorded(name: str) -> dict[str, Array]:
    with np.load(FIXTURES / f"{name}.npz") as file:
        return dict(file)


@cache
def loaded(name: str) -> ax.Model:
    return ax.load(FIXTURES / f"{name}.tflite")


@cache
def quantized_as_given(name: str) -> ax.QuantizedModel:
    """Without calibration images: the file's codes are kept."""
    quantized = ax.quantize(loaded(name))
    assert quantized.refusals == {}
    return quantized


def images_of(data: dict[str, Array]) -> Array:
    """[n, c, h, w], as data sets hand them over."""
    return np.ascontiguousarray(data["images"].transpose(0, 3, 1, 2))


@pytest.mark.parametrize("name", NETWORKS)
def test_float_outputs_equal_the_interpreters(name: str) -> None:
    data = recorded(name)
    model = loaded(name)
    assert model.input_shape == (3, 16, 16)
    assert not model.is_quantized
    got = FloatNetwork(model.module).run(images_of(data))
    np.testing.assert_allclose(got, data["output"], rtol=1e-4, atol=1e-6)


def layers_of(network: Network) -> list[Operator]:
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return [operator for operator in network.operators if operator.name in kinds]


def unsigned(codes: Array) -> Array:
    return (codes.astype(np.int16) + 128).astype(np.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_integer_layer_is_within_one_code_of_the_interpreter(name: str) -> None:
    """Each layer gets the codes that the interpreter's layer got: errors do not add up."""
    data, network = recorded(f"{name}_int8"), read_tflite(FIXTURES / f"{name}_int8.tflite")
    quantized = quantized_as_given(f"{name}_int8")
    values, _ = layer_values(quantized.module, images_of(data)[:1])
    operators = layers_of(undilated(network))
    assert len(values) == len(operators)
    exact = []
    for (call, (_, *operands), _), operator in zip(values, operators, strict=True):
        spec = ops.conv_spec(call)
        source, result = operator.inputs[0], operator.outputs[0]
        codes = unsigned(data[f"tensor_{source}"] if source else quantized_images(network, data))
        x = codes.reshape(len(codes), spec.height, spec.width, spec.in_channels)
        output = reference.conv2d(x, *operands, None, spec)
        assert output.dtype == np.uint8
        wanted = unsigned(data[f"tensor_{result}"])
        gap = np.abs(output.reshape(wanted.shape).astype(int) - wanted.astype(int))
        assert gap.max() <= 1, operator.name
        exact.append((gap == 0).mean())
    assert np.mean(exact) > 0.99


def quantized_images(network: Network, data: dict[str, Array]) -> Array:
    tensor = network.tensors[network.inputs[0]]
    assert tensor.scale is not None
    assert tensor.zero is not None
    steps = np.rint(data["images"] / tensor.scale[0]) + tensor.zero[0]
    return np.clip(steps, -128, 127).astype(np.int8)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("signed", [False, True])
def test_scales_and_zero_points_are_the_files(name: str, signed: bool) -> None:
    network = undilated(read_tflite(FIXTURES / f"{name}_int8.tflite"))
    quantized = ax.quantize(loaded(f"{name}_int8"), scheme=QuantizationScheme(signed=signed))
    move = 0 if signed else 128
    for layer, operator in zip(quantized.layers.values(), layers_of(network), strict=True):
        source, weight = (network.tensors[number] for number in operator.inputs[:2])
        assert source.scale is not None
        assert source.zero is not None
        assert weight.scale is not None
        assert np.float32(layer.input.scale) == source.scale[0]
        assert layer.input.zero_point == source.zero[0] + move
        np.testing.assert_array_equal(
            layer.weight_scale, np.broadcast_to(weight.scale, layer.weight_scale.shape)
        )
        stored = np.sort(weight.data.ravel().astype(int)) + move
        values = reference.code_values(layer.weight, signed)
        np.testing.assert_array_equal(np.sort(values.ravel()), stored)


@pytest.mark.parametrize("name", NETWORKS)
def test_integer_network_follows_the_interpreter(name: str) -> None:
    """Where one layer's code differs by one, what follows differs by what that code is worth."""
    data, network = recorded(f"{name}_int8"), read_tflite(FIXTURES / f"{name}_int8.tflite")
    got = quantized_as_given(f"{name}_int8").network.run(images_of(data))
    tensor = network.tensors[network.outputs[0]]
    assert tensor.scale is not None
    assert tensor.zero is not None
    codes = np.rint(got / tensor.scale[0]) + tensor.zero[0]
    gap = np.abs(codes - data["output"])
    assert gap.max() <= 4
    assert (gap <= 1).mean() > 0.9


def test_layers_are_called_after_their_scope() -> None:
    names = [layer.name for layer in loaded("residual").layers]
    assert names[0].startswith("functional_1/")
    assert len(set(names)) == len(names) == 7


def test_dilated_convolution_is_one_layer() -> None:
    layers = {x.name: x for x in loaded("residual_int8").layers}
    dilated = next(x for x in layers.values() if x.spec is not None and x.spec.dilation == (2, 2))
    assert dilated.spec is not None
    assert dilated.spec.padding == (2, 2, 2, 2)


def test_an_inner_tensor_may_be_the_output() -> None:
    network = read_tflite(FIXTURES / "residual.tflite")
    name = network.tensors[network.operators[3].outputs[0]].name
    model = ax.load(FIXTURES / "residual.tflite", output=name)
    assert model.output_shape == (8, 8, 8)
    with pytest.raises(InputError, match="it has no output 'none'"):
        ax.load(FIXTURES / "residual.tflite", output="none")


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "wanted"),
    [(16, 3, 2, (0, 1)), (15, 3, 2, (1, 1)), (7, 1, 2, (0, 0)), (8, 5, 1, (2, 2))],
)
def test_same_padding(size: int, kernel: int, stride: int, wanted: tuple[int, int]) -> None:
    top, left, bottom, right = same_padding((size, size), (kernel, kernel), (stride,) * 2, (1, 1))
    assert (top, bottom) == (left, right) == wanted


def _with_code(name: str, code: int, folder: Path) -> Path:
    """The model with one operator code replaced."""
    import tflite

    content = bytearray((FIXTURES / f"{name}.tflite").read_bytes())
    model = tflite.Model.GetRootAs(content, 0)
    table = model.OperatorCodes(0)._tab
    for slot in (4, 10):
        place = table.Offset(slot)
        if place:
            content[table.Pos + place] = code
    path = folder / "net.tflite"
    path.write_bytes(bytes(content))
    return path


def test_refusals_name_operator_number_and_output(tmp_path: Path) -> None:
    path = _with_code("residual", 44, tmp_path)  # UNIDIRECTIONAL_SEQUENCE_LSTM
    with pytest.raises(UnsupportedError) as caught:
        ax.load(path)
    for part in (str(path), "operator UNIDIRECTIONAL_SEQUENCE_LSTM number", "output '", "version"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        ax.load(tmp_path / "none.tflite")
    path = tmp_path / "net.tflite"
    path.write_bytes(b"hello, world")
    with pytest.raises(InputError, match="not a TensorFlow Lite model"):
        ax.load(path)
    with pytest.raises(InputError, match="sizes"):
        ax.load(FIXTURES / "residual.tflite", input_shape=(3, 32, 32))
    with pytest.raises(InputError, match="no input 'x' to fix"):
        ax.load(FIXTURES / "residual.tflite", fixed={"x": np.zeros(1, np.float32)})


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(8, 6700), values=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_damaged_files_are_refused_in_one_line(
    at: int, values: bytes, cut: bool, tmp_path: Path
) -> None:
    """Whatever happens to the bytes, the file is taken or refused; nothing else is raised."""
    content = bytearray((FIXTURES / "segmenting_int8.tflite").read_bytes())
    content[at : at + len(values)] = values
    path = tmp_path / "net.tflite"
    path.write_bytes(bytes(content[:at] if cut else content))
    assert "\n" not in refusal(lambda: import_tflite(path, ImportOptions()))
