"""The SystemVerilog reference against the numpy one: arithmetic, and layers of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import random_multiplier

from alwann_c.errors import InputError
from alwann_c.ir import reference
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization
from alwann_c.rtl.golden import LayerVectors
from alwann_c.rtl.layer import write_layer
from alwann_c.rtl.multipliers import read_netlist, write_multiplier
from alwann_c.rtl.simulate import Simulator, lint, simulate, simulators
from alwann_c.targets import Multiplier
from alwann_c.targets.netlist import Gate, Netlist, product_table
from alwann_c.targets.verilog import netlist_verilog

VERILOG = Path(__file__).parents[2] / "alwann_c" / "rtl" / "verilog"
needs_simulator = pytest.mark.skipif(
    not simulators(), reason="needs iverilog or verilator (Debian packages)"
)
needs_verilator = pytest.mark.skipif(
    "verilator" not in simulators(), reason="needs verilator (Debian package)"
)

CODE = Quantization(0.037, 3)
SIGNED = Quantization(0.02, -5, True)
SPECS = {
    "float output": ConvSpec(5, 4, 3, 6, kernel=(3, 3), padding=(1, 1, 1, 1), zero_point=7),
    "relu to codes": ConvSpec(
        5, 6, 4, 4, kernel=(3, 2), strides=(2, 1), zero_point=130,
        padding=(1, 0, 2, 1), epilogue=Epilogue("relu", output=CODE),
    ),
    "residual codes": ConvSpec(
        3, 3, 2, 5, epilogue=Epilogue("relu", residual="codes", residual_code=CODE, output=CODE)
    ),
    "residual float, clip": ConvSpec(
        3, 4, 2, 4, epilogue=Epilogue("clip", -0.5, 6.0, residual="float", output=CODE)
    ),
    "float residual and output": ConvSpec(2, 3, 2, 3, epilogue=Epilogue(residual="float")),
    "depthwise": ConvSpec(6, 5, 4, 4, kernel=(3, 3), padding=(1, 1, 1, 1), groups=4, zero_point=9),
    "grouped, dilated": ConvSpec(
        7, 7, 4, 6, kernel=(2, 3), dilation=(2, 3), padding=(2, 3, 0, 1), groups=2, zero_point=255
    ),
    "signed": ConvSpec(
        4, 4, 3, 4, kernel=(3, 3), padding=(1, 1, 1, 1), zero_point=-77, signed=True,
        epilogue=Epilogue(
            residual="codes", residual_code=SIGNED, output=Quantization(0.05, 4, True)
        ),
    ),
    "dense": ConvSpec(1, 1, 300, 10, epilogue=Epilogue(output=CODE)),
}  # fmt: skip


def vectors(spec: ConvSpec, table: Any, rng: np.random.Generator) -> LayerVectors:
    """Random operands whose outputs spread over the codes; two images."""
    n, shape = spec.out_channels, (2, spec.out_height, spec.out_width, spec.out_channels)
    x = rng.integers(0, 256, (2, spec.height, spec.width, spec.in_channels)).astype(np.uint8)
    weight = rng.integers(0, 256, (*spec.kernel, spec.in_channels // spec.groups, n))
    zero = rng.integers(-128 if spec.signed else 0, 128 if spec.signed else 256, n)
    offset = rng.integers(-50_000, 50_000, n).astype(np.int32)
    layer = (x, weight.astype(np.uint8), table, zero.astype(np.int32))
    accumulator = reference.accumulate(*layer, offset, spec)
    offset -= accumulator.mean(axis=(0, 1, 2)).astype(np.int32)
    accumulator = reference.accumulate(*layer, offset, spec)
    scale = (3.0 / (accumulator.std() + 1) * rng.uniform(0.5, 2, n)).astype(np.float32)
    residual: Any = None
    if spec.epilogue.residual == "codes":
        residual = rng.integers(0, 256, shape).astype(np.uint8)
    elif spec.epilogue.residual == "float":
        residual = rng.normal(0, 3, shape).astype(np.float32)
    output = reference.apply_epilogue(accumulator, scale, residual, spec.epilogue)
    if spec.epilogue.output is not None:
        assert len(np.unique(output)) > 8
    return LayerVectors(
        name="layer", kind="conv2d", spec=spec, input_scale=1.0, weight=layer[1],
        original_weight=layer[1], weight_zero_point=layer[3], weight_scale=scale, offset=offset,
        bias=offset, scale=scale, table=table, input=x, accumulator=accumulator,
        residual=residual, output=output,
    )  # fmt: skip


def lay_out(folder: Path, multiplier: Multiplier) -> Path:
    """The folder of one layer beside its multiplier and the shipped sources."""
    (folder / "rtl").symlink_to(VERILOG)
    place = folder / "multipliers" / multiplier.name
    place.mkdir(parents=True)
    write_multiplier(multiplier, place)
    layer = folder / "layers" / "00"
    layer.mkdir(parents=True)
    return layer


def layer_of(folder: Path, name: str) -> tuple[Path, int]:
    """The folder of a layer on a random table, and how many outputs it has."""
    spec = SPECS[name]
    multiplier = random_multiplier(4, signed=spec.signed)
    layer = lay_out(folder, multiplier)
    golden = vectors(spec, multiplier.table, np.random.default_rng(len(name)))
    write_layer(golden, layer, f"../../multipliers/{multiplier.name}/{multiplier.name}.sv")
    return layer, golden.output.size


@needs_simulator
@pytest.mark.parametrize("name", SPECS)
def test_layer_of_every_kind(tmp_path: Path, name: str) -> None:
    layer, outputs = layer_of(tmp_path, name)
    assert simulate(layer, "layer") == f"PASS: {outputs} outputs"


@needs_verilator
@pytest.mark.parametrize("name", ["relu to codes", "residual float, clip", "signed"])
def test_layers_in_verilator(tmp_path: Path, name: str) -> None:
    layer, outputs = layer_of(tmp_path, name)
    assert simulate(layer, "layer", "verilator") == f"PASS: {outputs} outputs"


@needs_verilator
@pytest.mark.parametrize("name", SPECS)
def test_lint_has_nothing_to_say(tmp_path: Path, name: str) -> None:
    assert lint(layer_of(tmp_path, name)[0]) == ""


@needs_simulator
def test_float32_arithmetic(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 23, (8000, 2)) | (rng.integers(90, 165, (8000, 2)) << 23)
    bits |= rng.integers(0, 2, (8000, 2)) << 31
    words = bits.astype(np.uint32)
    words[:1000, 1] = words[:1000, 0] ^ np.uint32(1 << 31)  # a - a, and nearly
    words[500:1000, 1] += rng.integers(0, 4, 500).astype(np.uint32)
    words[1000:3000, 0] = (np.arange(-1000, 1000) + 0.5).astype(np.float32).view(np.uint32)
    words[3000:3050, 0] = 0
    a, b = words[:, 0].copy().view(np.float32), words[:, 1].copy().view(np.float32)
    whole = np.clip(np.rint(a.astype(np.float64)), -(2**20), 2**20).astype(np.int32)
    columns = [a, b, a + b, a * b, a / b, whole, words[:, 0].view(np.int32).astype(np.float32)]
    rows = zip(*(column.view(np.uint32).tolist() for column in columns), strict=True)
    text = "\n".join(" ".join(f"{word:08x}" for word in row) for row in rows)
    (tmp_path / "vectors.hex").write_text(text)
    bench = Path(__file__).parent / "float32_tb.sv"
    (tmp_path / "float32.f").write_text(f"{VERILOG / 'float32.sv'}\n{bench}\n")
    assert simulate(tmp_path, "float32") == "PASS: 8000 pairs"


def random_netlist(rng: np.random.Generator) -> Netlist:
    kinds = ("and", "or", "xor", "nand", "nor", "xnor", "not")
    gates = []
    for index in range(40):
        a, b = (int(wire) for wire in rng.integers(0, 18 + index, 2))
        kind = kinds[index % 7]
        gates.append(Gate(kind, a, a if kind == "not" else b))  # type: ignore[arg-type]
    return Netlist(16, tuple(gates), tuple(int(wire) for wire in rng.integers(0, 58, 16)))


@needs_simulator
@pytest.mark.parametrize("signed", [False, True])
def test_netlists_as_verilog(tmp_path: Path, signed: bool) -> None:
    netlist = random_netlist(np.random.default_rng(8))
    source = tmp_path / "mine.v"
    source.write_text(netlist_verilog(netlist, "mine"))
    table = product_table(netlist, signed=signed)
    multiplier = Multiplier("mine", table, signed=signed, netlist=source)
    place = lay_out(tmp_path, multiplier).parents[1] / "multipliers" / "mine"
    write_multiplier(multiplier, place)
    assert simulate(place, "multiplier") == "PASS: 65536 products"
    source.write_text(source.read_text().replace("assign O = {", "assign O = ~{"))
    write_multiplier(multiplier, place)
    with pytest.raises(InputError, match="products differ"):
        simulate(place, "multiplier")


BAD = {
    "system task": "module m (A, B, O); initial $system(1); endmodule",
    "directive": '`include "x"\nmodule m (A, B, O); endmodule',
    "other name": "module n (A, B, O); endmodule",
    "other ports": "module m (X, Y, Z); endmodule",
    "commented": "// module m (A, B, O);\nmodule other; endmodule",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_netlists_that_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.v"
    path.write_text(text)
    with pytest.raises(InputError, match=r"m\.v"):
        read_netlist(path, "m")


@pytest.mark.parametrize("name", [None, "verilator"])
def test_no_simulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Simulator | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="install it"):
        simulate(tmp_path, "layer", name)
    with pytest.raises(InputError, match="install it"):
        lint(tmp_path)
