"""Time the GPU kernels on this machine's NVIDIA GPU: `make bench-gpu`.

3x3 convolutions of CIFAR ResNets, 250 images; prints milliseconds and G MAC/s, panels included.
"""

from __future__ import annotations

import numpy as np
import tvm

from alwann_c.codegen import gpu
from alwann_c.codegen.device import resolve_device, why_not_here
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization

BATCH = 250
LAYERS = ((32, 16), (16, 32), (8, 64))


def bench(side: int, channels: int) -> None:
    """Times one layer."""
    code = Quantization(0.05, 0)
    spec = ConvSpec(
        side, side, channels, channels, kernel=(3, 3), padding=(1, 1, 1, 1),
        epilogue=Epilogue("relu", output=code),
    )  # fmt: skip
    tiles = gpu.tiles_of(spec)
    assert tiles is not None
    functions = {
        "panels": gpu.panels_primfunc(spec, tiles),
        "conv2d": gpu.conv2d_primfunc(spec, tiles, "cuda"),
    }
    library = tvm.compile(tvm.IRModule(functions), resolve_device("cuda"))
    device, rng = tvm.cuda(0), np.random.default_rng(0)

    def tensor(array: np.ndarray) -> tvm.runtime.Tensor:  # type: ignore[type-arg]
        return tvm.runtime.tensor(array, device)

    x = tensor(rng.integers(0, 256, (BATCH, side, side, channels)).astype(np.uint8))
    weight = tensor(rng.integers(0, 256, (3, 3, channels, channels)).astype(np.uint8))
    table = tensor(np.outer(np.arange(256), np.arange(256)).astype(np.int32))
    panels = tensor(np.zeros(tiles.panels_shape(spec), np.int32))
    zero, scale = np.zeros(channels, np.int32), np.ones(channels, np.float32)
    output = tensor(np.zeros((BATCH, side, side, channels), np.uint8))
    rest = (tensor(zero), tensor(zero), tensor(scale), output)
    library["panels"](weight, table, panels)
    timing = {"number": 20, "repeat": 5}
    made = library.mod.time_evaluator("panels", device, **timing)(weight, table, panels).median
    run = library.mod.time_evaluator("conv2d", device, **timing)(x, panels, *rest).median
    rate = BATCH * spec.macs / (made + run) / 1e9
    print(f"{side}x{side}x{channels}: {1e3 * (made + run):.3f} ms, {rate:.0f} GMAC/s")


if __name__ == "__main__":
    reason = why_not_here(resolve_device("cuda"))
    if reason is not None:
        raise SystemExit(f"error: {reason}")
    for side, channels in LAYERS:
        bench(side, channels)
