"""Time the GPU kernels on this machine's NVIDIA GPU: `make bench-gpu`.

3x3 convolutions of CIFAR ResNets, 250 images: on product panels (making them included), and on tables
of 1 and 4 terms. Before a kernel is timed its output is compared with the numpy reference on 2 images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm

from alwann_c.codegen import gpu
from alwann_c.codegen.build import check_tools
from alwann_c.codegen.device import resolve_device, why_not_here
from alwann_c.codegen.gpu.cuda_binary import use_exact_nvcc
from alwann_c.errors import InputError
from alwann_c.ir import reference
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization
from alwann_c.targets import exact_products

BATCH = 250
LAYERS = ((32, 16), (16, 32), (8, 64))
TIMING = {"number": 20, "repeat": 5}

Array = npt.NDArray[Any]


def tables() -> dict[str, Array]:
    """An arbitrary table, the exact one, and one of four terms."""
    exact = exact_products(False).astype(np.int32)
    noise = np.random.default_rng(1).integers(-300, 300, exact.shape)
    codes = np.arange(256)
    few = exact - sum(np.outer(codes & 3 << bit, codes >> bit & 5) for bit in range(3))
    return {"panels": (exact + noise).clip(0, 65535), "1 term": exact, "4 terms": few}


def panels(spec: ConvSpec, weight: Array, table: Array, target: Any) -> tuple[Any, Any]:
    """Functions that make the panels and that use them, of tensors (x, rest, output)."""
    tiles = gpu.tiles_of(spec)
    assert tiles is not None
    functions = {
        "panels": gpu.panels_primfunc(spec, tiles),
        "conv2d": gpu.conv2d_primfunc(spec, tiles, "cuda"),
    }
    library = tvm.compile(tvm.IRModule(functions), target)
    device = tvm.cuda(0)
    made = tvm.runtime.tensor(np.zeros(tiles.panels_shape(spec), np.int32), device)
    given = [tvm.runtime.tensor(a, device) for a in (weight, table.astype(np.int32))]
    zero = tvm.runtime.tensor(np.full(spec.out_channels, 128, np.int32), device)

    def call(time: bool, x: Any, offset: Any, scale: Any, output: Any) -> float:
        first, second = (*given, made), (x, made, zero, offset, scale, output)
        library["panels"](*first)
        library["conv2d"](*second)
        return time and sum(
            library.mod.time_evaluator(name, device, **TIMING)(*args).median
            for name, args in (("panels", first), ("conv2d", second))
        )

    return call, None


def matrix(spec: ConvSpec, weight: Array, table: Array, target: Any) -> tuple[Any, Any]:
    """The function of a table of few terms, of tensors (x, offset, scale, output); its offset."""
    n = spec.out_channels
    made = gpu.matrix_operands(
        spec, weight, table.astype(np.int32), np.full(n, 128, np.int32), np.zeros(n, np.int32)
    )
    assert made is not None
    unit = gpu.matrix_unit("cuda", str(target.attrs["arch"]))
    function = gpu.matrix_primfunc(spec, made.form, "cuda", unit)
    library = tvm.compile(tvm.IRModule({"matrix": function}), target)
    device = tvm.cuda(0)
    given = [tvm.runtime.tensor(array, device) for array in (made.packed, made.lefts)]

    def call(time: bool, x: Any, offset: Any, scale: Any, output: Any) -> float:
        arguments = (x, *given, offset, scale, output)
        library["matrix"](*arguments)
        return time and library.mod.time_evaluator("matrix", device, **TIMING)(*arguments).median

    return call, made.offset


def bench(side: int, channels: int, name: str, table: Array, target: Any) -> None:
    """Checks and times one layer on one table."""
    spec = ConvSpec(
        side, side, channels, channels, kernel=(3, 3), padding=(1, 1, 1, 1),
        epilogue=Epilogue("relu", output=Quantization(0.05, 0)),
    )  # fmt: skip
    rng, device = np.random.default_rng(0), tvm.cuda(0)
    weight = rng.integers(0, 256, (3, 3, channels, channels)).astype(np.uint8)
    images = rng.integers(0, 256, (BATCH, side, side, channels)).astype(np.uint8)
    zero, scale = np.zeros(channels, np.int32), np.full(channels, 1e-5, np.float32)
    make: Callable[..., tuple[Any, Any]] = panels if name == "panels" else matrix
    call, offset = make(spec, weight, table, target)
    tensors = [
        tvm.runtime.tensor(array, device)
        for array in (images, zero if offset is None else offset, scale, np.zeros_like(images))
    ]
    call(False, *tensors)
    operands = (weight, table.astype(np.int32), zero + 128, zero, scale, None)
    expected = reference.conv2d(images[:2], *operands, spec)
    if not np.array_equal(tensors[-1].numpy()[:2], expected):
        raise SystemExit(f"error: {name}: outputs differ from the reference")
    seconds = call(True, *tensors)
    rate = BATCH * spec.macs / seconds / 1e12
    print(f"{side}x{side}x{channels} {name}: {1e3 * seconds:.3f} ms, {rate:.2f} T MAC/s")


def main() -> None:
    """Everything on this GPU."""
    if why_not_here(resolve_device("cuda")) is not None:
        print("bench-gpu: there is no NVIDIA GPU here, nothing was measured")
        return
    version = str(tvm.cuda(0).compute_version).replace(".", "")
    target = resolve_device(f"cuda:sm_{version}")
    try:
        check_tools(target)
        use_exact_nvcc()
        for side, channels in LAYERS:
            for name, table in tables().items():
                bench(side, channels, name, table, target)
    except InputError as e:
        raise SystemExit(f"error: {e}") from e


if __name__ == "__main__":
    main()
