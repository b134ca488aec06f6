"""The operators in the IR: attributes, inference, printing."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import module_of, operands
from tvm import relax

from alwann_c.ir import ops
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-64, max_value=64)
CODES = st.builds(
    Quantization,
    scale=st.floats(2.0**-20, 1024.0, width=32),
    zero_point=st.integers(-128, 255),
    signed=st.booleans(),
)


@st.composite
def specs(draw: st.DrawFn) -> ConvSpec:
    """Specifications in which no field keeps its default by necessity."""
    residual = draw(st.sampled_from(["none", "float", "codes"]))
    groups = draw(st.sampled_from([1, 2]))
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return ConvSpec(
        height=draw(st.integers(7, 9)),
        width=draw(st.integers(7, 9)),
        in_channels=groups * draw(st.integers(1, 3)),
        out_channels=groups * draw(st.integers(1, 3)),
        kernel=draw(pairs),
        strides=draw(pairs),
        padding=draw(st.tuples(*[st.integers(0, 3)] * 4)),
        dilation=draw(pairs),
        groups=groups,
        zero_point=draw(st.integers(-128, 255)),
        signed=draw(st.booleans()),
        epilogue=Epilogue(
            activation=draw(st.sampled_from(["none", "relu", "clip"])),
            clip_min=draw(FLOAT32),
            clip_max=draw(FLOAT32),
            residual=residual,  # type: ignore[arg-type]
            residual_code=draw(CODES) if residual == "codes" else None,
            output=draw(st.none() | CODES),
        ),
    )


@settings(max_examples=60, deadline=None)
@given(specs())
def test_conv2d_round_trip_and_inference(spec: ConvSpec) -> None:
    call = ops.conv2d("some/layer.0", spec, operands(spec))
    assert ops.conv_spec(call) == spec
    assert ops.layer_name(call) == "some/layer.0"
    assert ops.is_layer(call)
    mod = module_of(call, list(call.args))
    ty = mod["main"].ret_ty
    assert ty.dtype == ("float32" if spec.epilogue.output is None else "uint8")
    assert ops.static_shape(mod["main"].body.body) == (
        None,
        spec.out_height,
        spec.out_width,
        spec.out_channels,
    )


@settings(max_examples=20, deadline=None)
@given(specs())
def test_dense_round_trip_and_inference(spec: ConvSpec) -> None:
    spec = ConvSpec(
        1,
        1,
        spec.in_channels,
        spec.out_channels,
        zero_point=spec.zero_point,
        signed=spec.signed,
        epilogue=spec.epilogue,
    )
    call = ops.dense("fc", spec, operands(spec, dense=True))
    assert ops.conv_spec(call) == spec
    mod = module_of(call, list(call.args))
    assert ops.static_shape(mod["main"].body.body) == (None, spec.out_channels)


def test_every_field_is_carried() -> None:
    """A field added to the specification must be added to the attributes."""
    spec = ConvSpec(9, 9, 4, 6)
    changed = ConvSpec(
        9,
        9,
        4,
        6,
        kernel=(2, 3),
        strides=(2, 1),
        padding=(1, 2, 3, 0),
        dilation=(2, 1),
        groups=2,
        zero_point=5,
        signed=True,
        epilogue=Epilogue(
            "clip", -1.0, 2.0, "codes", Quantization(0.5, 1, True), Quantization(0.25, 2)
        ),
    )
    for old, new in ((spec, changed), (Epilogue(), changed.epilogue)):
        shapes = {"height", "width", "in_channels", "out_channels", "matrices"}
        for field in dataclasses.fields(old):
            if field.name not in shapes:
                assert getattr(old, field.name) != getattr(new, field.name)
    assert ops.conv_spec(ops.conv2d("l", changed, operands(changed))) == changed


@pytest.mark.parametrize("code", [Quantization(0.1, 3), Quantization(2.5, -7, True)])
def test_codes_round_trip(code: Quantization) -> None:
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    call = ops.quantize(x, code)
    assert ops.quantization(call) == code
    assert module_of(call, [x])["main"].ret_ty.dtype == "uint8"
    codes = relax.Var("q", relax.TensorType((2, 3), "uint8"))
    back = ops.dequantize(codes, code)
    assert ops.quantization(back) == code
    assert module_of(back, [codes])["main"].ret_ty.dtype == "float32"


def test_prints_name_and_options() -> None:
    spec = ConvSpec(4, 4, 2, 2, kernel=(3, 3), padding=(1, 1, 1, 1), zero_point=17)
    text = module_of(ops.conv2d("stem", spec, operands(spec)), operands(spec)).script()
    for part in ("alwann.conv2d", '"layer": "stem"', '"zero_point": 17', '"padding": [1, 1, 1, 1]'):
        assert part in text


def test_with_epilogue_changes_nothing_else() -> None:
    spec = ConvSpec(4, 4, 2, 2, zero_point=17, epilogue=Epilogue(activation="relu"))
    params = operands(spec)
    extra = relax.Var("r", relax.TensorType((1, 4, 4, 2), "float32"))
    call = ops.with_epilogue(ops.conv2d("l", spec, params), extra, residual="float")
    assert ops.conv_spec(call) == dataclasses.replace(
        spec, epilogue=Epilogue(activation="relu", residual="float")
    )
    assert list(call.args) == [*params, extra]
