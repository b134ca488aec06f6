"""Several inputs and outputs, open sizes, outputs without a shape; Resize by any factor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tiny import Net, images_for, small_net

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.errors import InputError, UnsupportedError
from alwann_c.model import load

IMAGES = images_for(False, 3, seed=4)


def expected(path: Path, output: str | None = None, **inputs: Any) -> Any:
    """What ONNX Runtime makes of them."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None if output is None else [output], inputs)[0]


def saved(folder: Path, proto: onnx.ModelProto) -> Path:
    onnx.save(proto, str(folder / "net.onnx"))
    return folder / "net.onnx"


def two_ends() -> onnx.ModelProto:
    """image and gain in; the scaled features, and their mean, out."""
    net = Net()
    gain_name = net.constant("gain", np.ones((1, 4, 1, 1), np.float32))
    features = net.node("Mul", [net.conv("c", "image", (3, 4)), gain_name])
    mean = net.node("Flatten", [net.node("GlobalAveragePool", [features])])
    proto = net.model(mean)
    stored = [tensor for tensor in proto.graph.initializer if tensor.name != gain_name]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(stored)
    gain = helper.make_tensor_value_info(gain_name, TensorProto.FLOAT, [1, 4, 1, 1])
    proto.graph.input.append(gain)
    whole = helper.make_tensor_value_info(features, TensorProto.FLOAT, ["N", 4, 8, 8])
    proto.graph.output.append(whole)
    return proto


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    proto = two_ends()
    path = saved(tmp_path, proto)
    gain = np.array([0.5, 2, -1, 3], np.float32).reshape(1, 4, 1, 1)
    for output in (entry.name for entry in proto.graph.output):
        model = load(path, fixed={"gain": gain}, output=output)
        got = FloatNetwork(model.module).run(IMAGES)
        wanted = expected(path, output, image=IMAGES, gain=gain)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(UnsupportedError, match="it has: image, gain; give the others fixed"):
        load(path)
    with pytest.raises(InputError, match="no output 'none'; it has: flatten_3, mul_1"):
        load(path, fixed={"gain": gain}, output="none")
    with pytest.raises(InputError, match="no input 'other' to fix; it has: image, gain"):
        load(path, fixed={"other": gain})


def test_a_fixed_value_has_the_declared_type_and_shape(tmp_path: Path) -> None:
    """numpy's own float64 is converted; what cannot be is named with what would be right."""
    path = saved(tmp_path, two_ends())
    gain = np.array([0.5, 2, -1, 3]).reshape(1, 4, 1, 1)
    assert gain.dtype == np.float64
    got = FloatNetwork(load(path, fixed={"gain": gain}).module).run(IMAGES)
    wanted = expected(path, image=IMAGES, gain=gain.astype(np.float32))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    whole = FloatNetwork(load(path, fixed={"gain": np.ones((1, 4, 1, 1), np.int64)}).module)
    ones = expected(path, image=IMAGES, gain=np.ones((1, 4, 1, 1), np.float32))
    np.testing.assert_allclose(whole.run(IMAGES), ones, rtol=1e-4, atol=1e-5)
    message = r"input 'gain' is float32 \[1, 4, 1, 1\], the array given is {}; give one of that"
    for wrong, what in (
        (gain[0], r"float64 \[4, 1, 1\]"),
        (gain * 1j, r"complex128 \[1, 4, 1, 1\]"),
    ):
        with pytest.raises(InputError, match=message.format(what)):
            load(path, fixed={"gain": wrong})


def test_open_spatial_sizes(tmp_path: Path) -> None:
    proto = small_net()
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    for axis, name in ((2, "H"), (3, "W")):
        dims[axis].dim_param = name
    path = saved(tmp_path, proto)
    got = FloatNetwork(load(path, input_shape=(3, 8, 8)).module).run(IMAGES)
    np.testing.assert_allclose(got, expected(path, image=IMAGES), rtol=1e-4, atol=1e-5)
    with pytest.raises(UnsupportedError, match=r"'H', 'W'.*--input-shape c,h,w"):
        load(path)


def test_an_output_without_a_shape(tmp_path: Path) -> None:
    proto = small_net()
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    path = saved(tmp_path, proto)
    got = FloatNetwork(load(path).module).run(IMAGES)
    np.testing.assert_allclose(got, expected(path, image=IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "mode", ["half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners"]
)
@pytest.mark.parametrize("kind", ["linear", "cubic"])
@pytest.mark.parametrize("scale", [1.45, 0.55])
def test_resize_by_any_factor(kind: str, mode: str, scale: float, tmp_path: Path) -> None:
    net = Net()
    factors = net.constant("factors", np.array([1, 1, scale, scale], np.float32))
    x = net.node("Resize", ["image", "", factors], mode=kind, coordinate_transformation_mode=mode)
    path = saved(tmp_path, net.model(net.node("Flatten", [x]), classes=3 * int(8 * scale) ** 2))
    got = FloatNetwork(load(path).module).run(IMAGES)
    np.testing.assert_allclose(got, expected(path, image=IMAGES), rtol=1e-4, atol=1e-4)
