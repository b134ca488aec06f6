"""Speed of whole networks through the public API, beside ONNX Runtime float32 on the same images.

Batches of 200 images; medians of interleaved calls. Tables: `any`, of high rank; `signed`, of four
terms in a signed scheme; `exact`.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TVM_NUM_THREADS", "2")

import numpy as np
import numpy.typing as npt
import pytest
import tvm
import tvm_ffi
from kernels_ort import interleaved, threads
from networks import IMAGE, onnx_runtime, resnet
from tvm import relax

import alwann_c as ax
from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.codegen.network import CompiledNetwork, Operands, bind, prepared
from alwann_c.quantized import QuantizationScheme, QuantizedModel

BATCH = 200
DEPTHS = (8, 20, 56)
TABLES = ("any", "signed", "exact")


@dataclass(frozen=True, eq=False)
class Case:
    """A quantized, compiled network and ONNX Runtime's model of it."""

    onnx: bytes
    quantized: QuantizedModel
    network: CompiledNetwork
    compile_seconds: float


@functools.cache
def case(depth: int, signed: bool = False) -> Case:
    """Network of a depth, quantized with the demo's calibration images."""
    model = resnet(depth).SerializeToString()
    demo = Path(ax.__file__).parent / "demo"
    calibration = ax.load_dataset(demo / "calibration.toml").limited(100)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"resnet{depth}.onnx"
        path.write_bytes(model)
        quantized = ax.quantize(ax.load(path), calibration, QuantizationScheme(signed=signed))
    start = time.perf_counter()
    network = CompiledNetwork(quantized.module, batch=BATCH)
    return Case(model, quantized, network, time.perf_counter() - start)


def table(kind: str) -> npt.NDArray[np.int32]:
    """Product table of a kind."""
    a, w = np.indices((256, 256))
    if kind == "any":
        return np.maximum(a * w - (a * 7 ^ w * 5) % 512, 0).astype(np.int32)
    values = np.arange(256)
    values = np.where(values < 128, values, values - 256) if kind == "signed" else values
    exact = np.outer(values, values)
    if kind == "signed":
        exact -= np.outer(a[:, 0] & 1, w[0] & 7) + np.outer(a[:, 0] & 2, w[0] & 3)
        exact -= np.outer(a[:, 0] & 4, w[0] & 1)
    return exact.astype(np.int32)


def bindings(network: CompiledNetwork, kind: str) -> dict[str, Operands]:
    """Every layer on a table of a kind."""
    products = prepared(table(kind), kind == "signed")
    return {name: replace(given, table=products) for name, given in network.defaults.items()}


def images(count: int) -> npt.NDArray[np.float32]:
    """Real images: the demo's."""
    data = ax.load_dataset(Path(ax.__file__).parent / "demo" / "search.toml").images()
    return np.ascontiguousarray(np.resize(data, (count, *IMAGE)), np.float32)


def measure(
    benchmark: Any, ours: Callable[[], Any], theirs: Callable[[], Any], **info: Any
) -> None:
    """Benchmark `ours`; the ratio of medians to `theirs` goes into `extra_info`."""
    yardstick, seconds = interleaved([theirs, ours], rounds=11)
    ratio = yardstick / seconds
    benchmark.extra_info.update(ratio=round(ratio, 3), threads=threads(), **info)
    benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    print(f"\n{ratio:6.2f} x ONNX Runtime", end=" ")


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_network(benchmark: Any, depth: int, kind: str) -> None:
    """Images per second of a batch of 200."""
    pytest.importorskip("onnxruntime")
    given, batch = case(depth, kind == "signed"), images(BATCH)
    operands = bindings(given.network, kind)
    theirs = onnx_runtime(given.onnx, batch, threads())
    measure(benchmark, lambda: given.network.run(batch, operands), theirs)


@pytest.mark.parametrize("depth", DEPTHS[:2])
def test_float_network(benchmark: Any, depth: int) -> None:
    """The float path used for calibration."""
    pytest.importorskip("onnxruntime")
    given, batch = case(depth), images(BATCH)
    network = FloatNetwork(given.quantized.model.module, batch=BATCH)
    measure(benchmark, lambda: network.run(batch), onnx_runtime(given.onnx, batch, threads()))


@pytest.mark.parametrize("kind", TABLES)
def test_latency(benchmark: Any, kind: str) -> None:
    """Batch 1."""
    pytest.importorskip("onnxruntime")
    given, one = case(8, kind == "signed"), images(1)
    operands, calls = bindings(given.network, kind), range(100)
    theirs = onnx_runtime(given.onnx, one, threads())
    measure(
        benchmark,
        lambda: [given.network.run(one, operands) for _ in calls],
        lambda: [theirs() for _ in calls],
    )


@pytest.mark.parametrize("kind", ["any", "exact"])
def test_scaling(benchmark: Any, kind: str) -> None:
    """Ratio: seconds with one thread to seconds with two."""
    if threads() != 2:
        pytest.skip("needs TVM_NUM_THREADS=2")
    given, batch = case(20), images(BATCH)
    operands = bindings(given.network, kind)
    configure = tvm_ffi.get_global_func("runtime.config_threadpool")

    def run(count: int) -> None:
        configure(1, count)
        given.network.run(batch, operands)

    measure(benchmark, lambda: run(2), lambda: run(1))


def test_rebinding(benchmark: Any) -> None:
    """Ratio: binding every layer's table, weights and corrections to evaluating 1,000 images."""
    given, batch = case(8), images(1000)
    products = prepared(table("any"), False)
    layers = {
        name: [
            np.asarray(getattr(operands, field).numpy())
            for field in ("weight", "weight_zero_point", "offset", "scale")
        ]
        for name, operands in given.network.defaults.items()
    }

    def rebind() -> dict[str, Operands]:
        return {
            name: bind(weight, products, *corrections)
            for name, (weight, *corrections) in layers.items()
        }

    bound = rebind()
    measure(benchmark, lambda: given.network.run(batch, bound), rebind)


def test_compile(benchmark: Any) -> None:
    """Seconds to compile ResNet-56: 55 convolutions and two shortcuts."""
    given = case(56)
    layers = len(given.network.layer_names)
    benchmark.extra_info.update(seconds=round(given.compile_seconds, 2), layers=layers)
    benchmark.pedantic(lambda: CompiledNetwork(given.quantized.module), rounds=1)
    print(f"\n{given.compile_seconds:.1f} s for {layers} layers", end=" ")


def _peak(library: str, count: int) -> None:
    """Print the MiB by which evaluating `count` images raises this process's memory at most."""
    machine = relax.VirtualMachine(tvm.runtime.load_module(library), tvm.cpu())
    batch = tvm.runtime.tensor(images(BATCH))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = _status("VmRSS")
    for _ in range(count // BATCH):
        machine["main"](batch)
    print(_status("VmHWM") - before)


def _status(field: str) -> float:
    """MiB of a field of the process's status."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) / 1024


def test_memory(benchmark: Any, tmp_path: Path) -> None:
    """Memory that the built ResNet-56 takes at batch 200, for 200 images and for 2,000."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux")
    library = tmp_path / "module.so"
    ax.build(case(56).quantized).export(library)

    def peak(count: int) -> float:
        command = f"import test_networks as t; t._peak({str(library)!r}, {count})"
        path = os.pathsep.join([str(Path(__file__).parent), str(Path(ax.__file__).parent.parent)])
        done = subprocess.run(
            [sys.executable, "-c", command],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout.split()[-1])

    few, many = peak(200), peak(2000)
    benchmark.extra_info.update(mib_200=round(few), mib_2000=round(many))
    benchmark.pedantic(lambda: None, rounds=1)
    print(f"\n{few:.0f} MiB for 200 images, {many:.0f} for 2,000", end=" ")
