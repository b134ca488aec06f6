"""The OpenCL build of the GPU kernels, executed through PoCL, against the numpy reference."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tiny import Case, random_table

from alwann_c.codegen import gpu
from alwann_c.codegen.portable import lower_portable
from alwann_c.compensation import bound
from alwann_c.dataset import load_dataset
from alwann_c.ir import reference
from alwann_c.ir.interpret import interpret
from alwann_c.ir.rewrite import apply
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization
from alwann_c.libraries import open_libraries
from alwann_c.model import load
from alwann_c.passes.approximate import Approximate, uncompensated
from alwann_c.quantized import quantize
from alwann_c.targets import Multiplier

pytest.importorskip("pyopencl", reason="needs pyopencl[pocl]: the extra gpu")
pocl = pytest.importorskip("pocl")
pytestmark = pytest.mark.skipif(pocl.pocl_device() is None, reason="needs PoCL: the extra gpu")

CODE = Quantization(0.0371234, 3)
EPILOGUES = {
    "float": Epilogue(),
    "relu": Epilogue("relu", output=CODE),
    "residual": Epilogue("relu", residual="codes", residual_code=CODE, output=CODE),
    "clip": Epilogue("clip", -0.5, 6.0, residual="float", output=Quantization(0.0212345, -7, True)),
}


def random_spec(seed: int) -> ConvSpec:
    """Any shape; the kernels on panels are among them."""
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 1, 2]))
    kernel = int(rng.choice([1, 2, 3])), int(rng.choice([1, 3]))
    signed = bool(rng.random() < 0.3)
    pads = tuple(int(pad) for pad in rng.integers(0, 2, 4))
    return ConvSpec(
        int(rng.integers(11, 15)),
        int(rng.integers(11, 15)),
        groups * int(rng.integers(1, 4)),
        groups * int(rng.choice([3, 8, 13, 17, 40, 66, 130])),
        kernel=kernel,
        strides=(int(rng.choice([1, 1, 2])), 1),
        padding=pads,  # type: ignore[arg-type]
        dilation=(1, int(rng.integers(1, 3))),
        groups=groups,
        zero_point=int(rng.integers(-128, 128)) if signed else int(rng.integers(0, 256)),
        signed=signed,
        epilogue=list(EPILOGUES.values())[seed % 4],
    )


def operands_of(spec: ConvSpec, batch: int, rng: np.random.Generator) -> list[Any]:
    n = spec.out_channels
    shape = (batch, spec.out_height, spec.out_width, n)
    zero = rng.integers(-128, 128, n) if spec.signed else rng.integers(0, 256, n)
    filters = (*spec.kernel, spec.in_channels // spec.groups, n)
    image = (batch, spec.height, spec.width, spec.in_channels)
    arrays = [
        rng.integers(0, 256, image).astype(np.uint8),
        rng.integers(0, 256, filters).astype(np.uint8),
        random_table(7, signed=spec.signed),
        zero.astype(np.int32),
        rng.integers(-100_000, 100_000, n).astype(np.int32),
        (10.0 ** rng.uniform(-6, -4, n)).astype(np.float32),
    ]
    if spec.epilogue.residual == "codes":
        arrays.append(rng.integers(0, 256, shape).astype(np.uint8))
    elif spec.epilogue.residual == "float":
        arrays.append(rng.normal(0, 3, shape).astype(np.float32))
    return arrays


@pytest.mark.parametrize("seed", range(12))
def test_random_convolutions(seed: int) -> None:
    spec, rng = random_spec(seed), np.random.default_rng(seed)
    arrays = operands_of(spec, 3, rng)
    residual = arrays[6] if len(arrays) > 6 else None
    expected = reference.conv2d(*arrays[:6], residual, spec)
    tiles = gpu.tiles_of(spec)
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    run = pocl.Kernels({"direct": gpu.direct_primfunc(spec, "opencl")})
    outputs = [tvm.runtime.tensor(np.zeros(expected.shape, expected.dtype))]
    run["direct"](*tensors, outputs[0])
    if tiles is not None:
        panels = tvm.runtime.tensor(np.zeros(tiles.panels_shape(spec), np.int32))
        outputs.append(tvm.runtime.tensor(np.zeros(expected.shape, expected.dtype)))
        made = pocl.Kernels(
            {
                "panels": gpu.panels_primfunc(spec, tiles),
                "conv2d": gpu.conv2d_primfunc(spec, tiles, "opencl"),
            }
        )
        made["panels"](tensors[1], tensors[2], panels)
        made["conv2d"](tensors[0], panels, *tensors[3:], outputs[1])
    for output in outputs:
        np.testing.assert_array_equal(output.numpy(), expected)


def test_both_kernels_are_among_the_shapes() -> None:
    tiles = [gpu.tiles_of(random_spec(seed)) for seed in range(12)]
    assert any(tile is None for tile in tiles)
    assert len({tile.words for tile in tiles if tile is not None}) > 1


def test_whole_network(residual: Case) -> None:
    quantized = residual.quantized
    odd = Multiplier("odd", random_table(3))
    chosen = {name: uncompensated(layer, odd) for name, layer in quantized.layers.items()}
    module = apply(Approximate(chosen), quantized.module)
    images = residual.search.images[:5]
    machine, _ = pocl.compile_for_pocl(lower_portable(module, pocl.OPENCL))
    got = machine["main"](tvm.runtime.tensor(images)).numpy()
    np.testing.assert_array_equal(got, interpret(module, images))


def test_shipped_resnet8() -> None:
    """Layers on the exact table, on one of 4 terms, and on one of many: all three kernels."""
    with as_file(files("alwann_c") / "demo") as folder:
        model = load(folder / "resnet8_cifar10.onnx")
        data = load_dataset(folder / "calibration.toml")
        quantized = quantize(model, data, images=64)
    library = open_libraries(["classic"])
    names = ("mul8u_exact", "mul8u_bam_h0v3", "mul8u_bam_h0v7")
    chosen = {
        name: uncompensated(layer, library.find(names[index % 3]))
        for index, (name, layer) in enumerate(quantized.layers.items())
    }
    module = apply(Approximate(chosen), quantized.module)
    lowered = lower_portable(module, pocl.OPENCL)
    kernels = {str(name.name_hint).rstrip("0123456789") for name in lowered.get_global_vars()}
    assert {"alwann_matrix", "alwann_panels", "alwann_conv2d"} <= kernels
    images = data.images(0, 4)
    machine, _ = pocl.compile_for_pocl(lowered)
    got = machine["main"](tvm.runtime.tensor(images)).numpy()
    operands = {name: bound(a) for name, a in chosen.items()}
    np.testing.assert_array_equal(got, quantized.network.run(images, operands))
    one = machine["main"](tvm.runtime.tensor(images[:1])).numpy()  # any batch size
    np.testing.assert_array_equal(one, got[:1])


def test_resnet8(shared: Path) -> None:
    model = load(shared / "models" / "resnet8_alwann.onnx")
    data = load_dataset(shared / "data" / "cifar10_calibration.toml")
    quantized = quantize(model, data, images=64)
    images = data.images(0, 8)
    machine, _ = pocl.compile_for_pocl(lower_portable(quantized.module, pocl.OPENCL))
    got = machine["main"](tvm.runtime.tensor(images)).numpy()
    np.testing.assert_array_equal(got, quantized.network.run(images))
