"""Relay programs TVM 0.19 wrote, and text made up here (`tools/make_relay_fixtures.py`)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messages import refusal

pytest.importorskip("lark", reason="needs lark: pip install alwann-c[relay]")

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.imported import ImportOptions
from alwann_c.frontend.relay import import_relay
from alwann_c.frontend.relay_arrays import read_params
from alwann_c.frontend.relay_text import parse
from alwann_c.ir import ops, reference
from alwann_c.ir.interpret import layer_values
from alwann_c.ir.ops import static_shape
from alwann_c.model import load
from alwann_c.quantized import quantize

FIXTURES = Path(__file__).parent / "fixtures" / "relay"
OUTPUT_STEP = 0.03


def test_a_float_program_equals_tvm() -> None:
    model = load(FIXTURES / "float.relay")
    assert static_shape(model.module["main"].params[0]) == (None, 3, 16, 16)
    assert [layer.name for layer in model.layers] == ["stem", "a", "gate", "right", "head"]
    stored = np.load(FIXTURES / "float.npz")
    got = FloatNetwork(model.module).run(stored["images"])
    np.testing.assert_allclose(got, stored["outputs"], rtol=1e-4, atol=1e-6)


def test_a_quantized_program_keeps_its_codes() -> None:
    """No calibration. TVM cuts off where it averages int32, so its codes may be two away."""
    model = load(FIXTURES / "quantized.relay")
    quantized = quantize(model)
    assert list(quantized.layers) == ["first", "second", "head"]
    assert not quantized.refusals
    params = read_params(FIXTURES / "quantized.params")
    stored = np.transpose(params["first_weight"], (2, 3, 1, 0))
    codes = quantized.layers["first"].weight.astype(int).reshape(stored.shape) - 128
    np.testing.assert_array_equal(codes, stored)
    expected = np.load(FIXTURES / "quantized.npz")
    got = quantized.network.run(expected["images"])
    steps = np.rint((got - expected["outputs"]) / OUTPUT_STEP)
    assert np.abs(steps).max() <= 2
    assert len(np.unique(np.rint(got / OUTPUT_STEP))) > 5


def test_each_quantized_layer_is_within_one_code_of_tvm() -> None:
    """Each layer gets the codes that TVM's layer got. Both sum the same integers; TVM rescales
    them in fixed point, here it is done in float32."""
    quantized = quantize(load(FIXTURES / "quantized.relay"))
    stored = np.load(FIXTURES / "quantized.npz")
    values, _ = layer_values(quantized.module, stored["images"][:1])
    ends = {"first": ("input", "first"), "second": ("pooled", "second"), "head": ("mean", "head")}
    assert [ops.layer_name(call) for call, _, _ in values] == list(ends)
    same = []
    for call, (_, *operands), _ in values:
        source, result = (stored[name] for name in ends[ops.layer_name(call)])
        spec = ops.conv_spec(call)
        codes = (source.astype(np.int16) + 128).astype(np.uint8)
        image = codes.transpose(0, 2, 3, 1) if codes.ndim == 4 else codes[:, None, None]
        got = reference.conv2d(np.ascontiguousarray(image), *operands, None, spec)
        assert got.dtype == np.uint8
        wanted = result.transpose(0, 2, 3, 1) if result.ndim == 4 else result
        gap = got.reshape(wanted.shape).astype(int) - (wanted.astype(int) + 128)
        assert np.abs(gap).max() <= 1
        same.append((gap == 0).mean())
    assert min(same) > 0.99


def test_input_codes_are_tvms() -> None:
    stored = np.load(FIXTURES / "quantized.npz")
    layer = quantize(load(FIXTURES / "quantized.relay")).layers["first"]
    codes = reference.quantize(stored["images"], layer.input).astype(int) - 128
    np.testing.assert_array_equal(codes, stored["input"])


def program(body: str, kind: str = "Tensor[(1, 4, 6, 6), float32]") -> str:
    """A program of one input."""
    return f'#[version = "0.0.5"]\ndef @main(%x: {kind}) {{\n{body}\n}}\n'


def run(folder: Path, body: str, image: np.ndarray) -> np.ndarray:
    """Its output for one image, in float."""
    (folder / "p.relay").write_text(program(body))
    return FloatNetwork(import_relay(folder / "p.relay", ImportOptions()).module).run(image)


IMAGE = np.random.default_rng(3).normal(0, 2, (2, 4, 6, 6)).astype(np.float32)
CASES = {
    "add(%x, 2f)": lambda x: x + 2,
    "divide(subtract(1f, %x), 4f)": lambda x: (1 - x) / 4,
    "clip(%x, a_min=-1f, a_max=0.5f)": lambda x: np.clip(x, -1, 0.5),
    "maximum(nn.relu(%x), 0.1f)": lambda x: np.maximum(x, np.float32(0.1)),
    "reshape(%x, newshape=[0, -3, -1])": lambda x: x.reshape(2, 24, 6),
    "reshape(%x, newshape=[-1, 144])": lambda x: x.reshape(2, 144),
    "reshape(%x, newshape=[0, -4, 2, -1, -2])": lambda x: x.reshape(2, 2, 2, 6, 6),
    "nn.batch_flatten(%x)": lambda x: x.reshape(2, -1),
    "transpose(%x, axes=[0, 2, 3, 1])": lambda x: x.transpose(0, 2, 3, 1),
    'layout_transform(%x, src_layout="NCHW", dst_layout="NHWC")': lambda x: x.transpose(0, 2, 3, 1),
    "strided_slice(%x, begin=[1, 0], end=[5, 6], strides=[2, 3], axes=[2, 3])": lambda x: x[
        :, :, 1:5:2, ::3
    ],
    "let %a = split(%x, indices_or_sections=[1, 3], axis=1); %a.1": lambda x: x[:, 1:3],
    "%0 = (%x, %x);\n%1 = concatenate(%0, axis=1);\nmean(%1, axis=[2, 3], keepdims=True)": (
        lambda x: np.concatenate([x, x], 1).mean((2, 3), keepdims=True)
    ),
    "take(%x, 2, axis=3)": lambda x: x[..., 2],
    "squeeze(max(%x, axis=[1], keepdims=True), axis=[1])": lambda x: x.max(1),
    "expand_dims(sum(%x, axis=[1]), axis=1)": lambda x: x.sum(1, keepdims=True),
    "nn.max_pool2d(%x, pool_size=[2, 2], strides=[2, 2])": lambda x: x.reshape(
        2, 4, 3, 2, 3, 2
    ).max((3, 5)),
    "nn.upsampling(%x, scale_h=2f, scale_w=2f)": lambda x: x.repeat(2, 2).repeat(2, 3),
    "nn.pad(%x, 1f, pad_width=[[0, 0], [0, 0], [1, 0], [0, 2]])": lambda x: np.pad(
        x, ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=1
    ),
    "nn.softmax(%x, axis=1)": lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    "nn.leaky_relu(%x, alpha=0.2f)": lambda x: np.where(x > 0, x, x * np.float32(0.2)),
    "rsqrt(add(power(%x, 2f), 1f))": lambda x: 1 / np.sqrt(x * x + 1),
}


@pytest.mark.parametrize("body", CASES)
def test_operators(body: str, tmp_path: Path) -> None:
    got = run(tmp_path, body, IMAGE)
    np.testing.assert_allclose(got, CASES[body](IMAGE), rtol=1e-5, atol=1e-6)


REFUSED = {
    "nn.lrn(%x)": "operator nn.lrn at line 3 .* is not supported",
    "nn.conv2d(%x, %x)": "operator nn.conv2d at line 3 .*weight is not constant",
    "reshape(%x, newshape=[1, 7])": "operator reshape at line 3 .*144 elements do not fit",
    'cast(%x, dtype="int64")': "float32 cast to int64",
    "qnn.dequantize(%x, 1f, 0)": "no tensor of integers",
    "qnn.quantize(%x, 0f, 0)": "must be above zero",
    "%x.3": "no such tuple",
    "%y": "'%y' is read before it is made",
    "nn.relu(meta[relay.Constant][0])": "show_meta_data=True",
    "fn (%y: Tensor[(1), float32]) { %y }": "function inside the function",
    "broadcast_to(%x, shape=[1, 900000, 900, 900])": "operator broadcast_to",
    "nn.relu(": "is no Relay text",
    "add(%x, 1f) add(%x, 1f)": "line 3, column 13.* is no Relay text",
    "(" * 40 + "%x" + ")" * 40: "nested more than 32 deep",
}


@pytest.mark.parametrize("body", REFUSED)
def test_refusals_name_operator_and_line(body: str, tmp_path: Path) -> None:
    path = tmp_path / "p.relay"
    path.write_text(program(body))
    with pytest.raises(InputError, match=REFUSED[body]) as refusal:
        import_relay(path, ImportOptions())
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


CODES = 'let %q = qnn.quantize(%x, 0.1f, 3, out_dtype="int8");\n'
ONE = "let %a = strided_slice(%q, begin=[0], end=[1], axes=[1]);\n"
PIXEL = "let %p = take(take(%a, 0, axis=3), 0, axis=2);\n"
KERNEL = "expand_dims(2i8, axis=0, num_newaxis=4)"
MATRIX = "expand_dims(2i8, axis=0, num_newaxis=2)"
OUTSIDE = {
    "multiply(2i8, %q)": "integers outside QNN",
    "multiply(%q, 2i8)": "integers outside QNN",
    "subtract(2i8, %q)": "integers outside QNN",
    "maximum(2i8, %q)": "integers outside QNN",
    "add(2i8, %q)": "only a constant is added to integers",
    "nn.softmax(%q, axis=1)": "integers outside QNN",
    "nn.leaky_relu(%q, alpha=0.2f)": "integers outside QNN",
    "sigmoid(%q)": "integers outside QNN",
    "qnn.quantize(%q, 0.1f, 3)": "integers outside QNN",
    f"{ONE}nn.conv2d(%a, {KERNEL})": "integers outside QNN",
    f"{ONE}nn.conv2d_transpose(%a, {KERNEL})": "integers outside QNN",
    f"{ONE}{PIXEL}nn.dense(%p, {MATRIX})": "integers outside QNN",
    f"{ONE}{PIXEL}nn.matmul(%p, {MATRIX})": "integers outside QNN",
    "sum(%q, axis=[1])": "a sum of 8-bit codes",
    'sum(cast(%q, dtype="int32"), axis=[1])': "a sum of 8-bit codes, or with a zero point",
    "nn.avg_pool2d(%q, pool_size=[2, 2], padding=[1, 1], count_include_pad=True)": "pad before",
    f"{ONE}concatenate(({KERNEL}, strided_slice(%a, begin=[0, 0], end=[1, 1], axes=[2, 3])))": (
        "joins codes and other values"
    ),
}


@pytest.mark.parametrize("body", OUTSIDE)
def test_arithmetic_on_codes_outside_qnn_is_refused(body: str, tmp_path: Path) -> None:
    """Its operands would be taken for real numbers."""
    path = tmp_path / "p.relay"
    path.write_text(program(CODES + body))
    with pytest.raises(UnsupportedError, match=OUTSIDE[body]):
        import_relay(path, ImportOptions())


PAIR = (
    'let %a = qnn.quantize(%x, 0.05f, 3, out_dtype="int8");\n'
    'let %b = qnn.quantize(multiply(%x, %x), 0.1f, -7, out_dtype="int8");\n'
)
ONE_CODE, TWO_CODES, RESULT = "%a, 0.05f, 3", "%a, %b, 0.05f, 3, 0.1f, -7", "0.08f, 1"
QNN = {
    f"qnn.add({TWO_CODES}, {RESULT})": lambda a, b: a + b,
    f"qnn.subtract({TWO_CODES}, {RESULT})": lambda a, b: a - b,
    f"qnn.mul({TWO_CODES}, {RESULT})": lambda a, b: a * b,
    f"qnn.mul(5i8, %b, 0.5f, 1, 0.1f, -7, {RESULT})": lambda _, b: 2 * b,
    f"qnn.concatenate((%b, %a), (0.1f, 0.05f), (-7, 3), {RESULT}, axis=1)": (
        lambda a, b: np.concatenate([b, a], 1)
    ),
    f"qnn.sigmoid({ONE_CODE}, {RESULT})": lambda a, _: 1 / (1 + np.exp(-a)),
    f"qnn.tanh({ONE_CODE}, {RESULT})": lambda a, _: np.tanh(a),
    f"qnn.leaky_relu({ONE_CODE}, {RESULT}, alpha=0.2f)": lambda a, _: np.where(a > 0, a, a * 0.2),
    f"qnn.softmax({ONE_CODE}, {RESULT}, axis=1)": (
        lambda a, _: np.exp(a) / np.exp(a).sum(1, keepdims=True)
    ),
}


def codes(x: np.ndarray, scale: float, zero: int) -> np.ndarray:
    return np.clip(np.rint(x / np.float32(scale)) + zero, -128, 127)


@pytest.mark.parametrize("body", QNN)
def test_qnn_operators(body: str, tmp_path: Path) -> None:
    """The real operator between codes: within one code, where a result lies between two."""
    got = run(tmp_path, f"{PAIR}qnn.dequantize({body}, {RESULT})", IMAGE)
    a, b = ((codes(IMAGE, 0.05, 3) - 3) * 0.05, (codes(IMAGE * IMAGE, 0.1, -7) + 7) * 0.1)
    gap = np.rint(got / 0.08) + 1 - codes(QNN[body](a, b), 0.08, 1)
    assert np.abs(gap).max() <= 1
    assert (gap != 0).mean() < 0.01
    assert len(np.unique(got)) > 5


def test_an_8_bit_input_is_integers_once_its_scale_is_known(tmp_path: Path) -> None:
    """The ReLU works at the integer 0, whose real value is -0.3."""
    path = tmp_path / "p.relay"
    body = "let %a = qnn.dequantize(%x, 0.1f, 3);\nlet %b = qnn.dequantize(nn.relu(%x), 0.1f, 3);\n"
    path.write_text(program(f"{body}add(%a, %b)", "Tensor[(1, 4, 6, 6), int8]"))
    got = FloatNetwork(import_relay(path, ImportOptions()).module).run(IMAGE)
    codes = np.clip(np.rint(IMAGE / np.float32(0.1)) + 3, -128, 127)
    np.testing.assert_allclose(got, 0.1 * (codes - 3 + np.maximum(codes, 0) - 3), atol=1e-5)


@pytest.mark.parametrize("scale", ["1e-9f", "2e-9f"])
def test_codes_read_by_another_scale_are_refused_however_small(scale: str, tmp_path: Path) -> None:
    body = f"qnn.dequantize(qnn.quantize(%x, 1e-9f, 3), {scale}, 3)"
    (tmp_path / "p.relay").write_text(program(body))
    message = refusal(import_relay, tmp_path / "p.relay", ImportOptions())
    assert ("by another scale" in message) == (scale != "1e-9f")


def test_other_refusals(tmp_path: Path) -> None:
    path = tmp_path / "p.relay"
    path.write_text(program("%x").replace("0.0.5", "0.0.4"))
    with pytest.raises(UnsupportedError, match=r"version 0\.0\.4; only 0\.0\.5"):
        load(path)
    path.write_text(program("%x", "Tensor[(1, ?, 6), float32]"))
    with pytest.raises(UnsupportedError, match="open sizes"):
        load(path)
    path.write_text(program("%x", "Tensor[(1, 4), int64]"))
    with pytest.raises(UnsupportedError, match="is int64"):
        load(path)
    path.write_text(program("nn.softmax(%x, axis=0)", "Tensor[(3, 4), float32]"))
    with pytest.raises(UnsupportedError, match="fixed at 3"):
        load(path)
    shutil.copy(FIXTURES / "float.relay", path)
    with pytest.raises(InputError, match=r"exactly one input.*save_param_dict"):
        load(path)
    with pytest.raises(InputError, match="not a parameter file"):
        load(path, params=path)
    with pytest.raises(InputError, match="in the text"):
        load(path, params=_wrong_params(tmp_path))


def test_fixed_inputs(tmp_path: Path) -> None:
    path = tmp_path / "p.relay"
    kinds = "%x: Tensor[(1, 4, 6, 6), float32], %gain: Tensor[(4, 1, 1), float32]"
    path.write_text(f'#[version = "0.0.5"]\ndef @main({kinds}) {{\nmultiply(%x, %gain)\n}}\n')
    gain = np.array([1.5, -1, 2, 0]).reshape(4, 1, 1)
    got = FloatNetwork(import_relay(path, ImportOptions(fixed={"gain": gain})).module).run(IMAGE)
    np.testing.assert_allclose(got, IMAGE * gain, rtol=1e-6)
    with pytest.raises(InputError, match="no input 'other' to fix; it has: x, gain"):
        load(path, fixed={"other": gain})
    with pytest.raises(
        InputError, match=r"float32 \[4, 1, 1\], the array given is float64 \[1, 1\]"
    ):
        load(path, fixed={"gain": gain[0]})


def _wrong_params(folder: Path) -> Path:
    """The parameters, two of different shapes by each other's name."""
    content = (FIXTURES / "float.params").read_bytes()
    held = read_params(FIXTURES / "float.params")
    one, two = next(
        (a, b) for a in held for b in held if len(a) == len(b) and held[a].shape != held[b].shape
    )
    moved = content.replace(one.encode(), b"\1" * len(one), 1).replace(
        two.encode(), one.encode(), 1
    )
    (folder / "wrong.params").write_bytes(moved.replace(b"\1" * len(one), two.encode(), 1))
    return folder / "wrong.params"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 5978), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_text_is_refused_in_one_line(at: int, byte: int, cut: bool, tmp_path: Path) -> None:
    """Whatever happens to the text, it is parsed or refused; nothing else is raised."""
    content = bytearray((FIXTURES / "quantized.relay").read_bytes())
    at = min(at, len(content) - 1)
    content[at] = byte
    content = content[:at] if cut else content
    path = tmp_path / "quantized.relay"
    path.write_bytes(bytes(content))
    shutil.copy(FIXTURES / "quantized.params", tmp_path / "quantized.params")
    assert "\n" not in refusal(lambda: import_relay(path, ImportOptions()))


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 816), values=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_damaged_parameters_are_refused(at: int, values: bytes, cut: bool, tmp_path: Path) -> None:
    """Sizes are compared with the file before anything is allocated."""
    content = bytearray((FIXTURES / "quantized.params").read_bytes())
    content[at : at + len(values)] = values
    (tmp_path / "p.params").write_bytes(bytes(content[:at] if cut else content))
    path = tmp_path / "p.params"
    message = refusal(read_params, path)
    if message:
        assert "not a parameter file" in message
    else:
        assert sum(array.nbytes for array in read_params(path).values()) <= len(content)


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet='#[version="0.5]def@main(%x:Tn,){}01 \n;.=fletrsoabc/*', max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    assert "\n" not in refusal(parse, text)
