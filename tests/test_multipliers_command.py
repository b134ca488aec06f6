"""`multipliers`: characterisation, pictures, import and evolution from the command line."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pytest
from command_line import alwann_c, only_json
from simulate_library import simulate_netlist
from tiny import Case

from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.model import load
from alwann_c.operand_shares import measure_operands
from alwann_c.quantized import quantize
from alwann_c.rtl.simulate import simulators
from alwann_c.targets import Multiplier, exact_products, load_builtin_library, load_library
from alwann_c.targets.arrays import exact_array
from alwann_c.targets.characterise import characterise, circuit_of, under_operands
from alwann_c.targets.gate_model import estimate
from alwann_c.targets.inverters import fuse_inverters
from alwann_c.targets.netlist import Gate, Netlist, product_table

needs_simulator = pytest.mark.skipif(
    not simulators(), reason="needs iverilog or verilator (Debian packages)"
)


def test_characterisation_of_a_known_error() -> None:
    codes = np.arange(256)
    error = np.multiply.outer(codes & 1, codes & 3) - 2 * np.multiply.outer(codes > 99, codes & 4)
    table = np.maximum(exact_products(False) + error, 0).astype(np.int32)
    table[5, 0] += 7
    found = characterise(Multiplier("m", table))
    kept = table - exact_products(False)
    assert found["rank"] == np.linalg.matrix_rank(kept) == 3
    assert (found["zero_weight"], found["zero_activation"]) == (7, 0)
    assert found["symmetric"] == np.mean(table == table.T)
    assert found["bias"] == kept.mean()
    assert found["gates"] is None


def test_under_operands_is_the_weighted_mean() -> None:
    library = load_builtin_library("alwann")
    multiplier, exact = library.find("mul8u_p50"), library.exact()
    generator = np.random.default_rng(0)
    activations, weights = generator.random(256), generator.random(256)
    activations, weights = activations / activations.sum(), weights / weights.sum()
    found = under_operands(multiplier, exact, activations, weights)
    error = (multiplier.table - exact_products(False)).astype(float)
    pairs = np.multiply.outer(activations, weights)
    assert found["mae"] == pytest.approx((pairs * abs(error)).sum())
    assert found["mse"] == pytest.approx((pairs * error**2).sum())
    centred = error - (activations @ error)
    assert found["spread"] == pytest.approx(np.sqrt((pairs * centred**2).sum()))
    netlists = circuit_of(multiplier), circuit_of(exact)
    powers = [estimate(n, activations, weights).power_mw for n in netlists if n is not None]
    assert found["relative_power"] == pytest.approx(powers[0] / powers[1])
    alike = np.full(256, 1 / 256)
    same = under_operands(multiplier, exact, alike, alike)
    assert same["power_mw"] == pytest.approx(multiplier.power_mw, rel=1e-5)


def test_measured_operands(small: Case) -> None:
    quantized = quantize(load(small.path), load_dataset(small.calibration.path))
    names = list(quantized.layers)
    shares = measure_operands(quantized, images=8)
    assert shares.layers == tuple(quantized.network.layer_names)
    assert shares.activations.sum() == pytest.approx(1)
    assert shares.weights.sum() == pytest.approx(1)
    one = measure_operands(quantized, names[:1], images=8)
    weight = quantized.layers[names[0]].weight
    assert np.array_equal(one.weights, np.bincount(weight.ravel(), minlength=256) / weight.size)
    with pytest.raises(InputError, match="no integer layer 'convv'"):
        measure_operands(quantized, ["convv"])


def test_inverters_are_fused() -> None:
    exact = exact_array(4, signed=True)
    split: list[Gate] = []
    wire = list(range(10))
    for gate in exact.gates:
        base = {"nand": "and", "nor": "or", "xnor": "xor"}.get(gate.kind, gate.kind)
        split.append(Gate(base, wire[gate.a], wire[gate.b]))  # type: ignore[arg-type]
        if base != gate.kind:
            split.append(Gate("not", 9 + len(split), 9 + len(split)))
        wire.append(9 + len(split))
    long = Netlist(8, tuple(split), tuple(wire[o] for o in exact.outputs))
    fused = fuse_inverters(long)
    assert len(fused.gates) <= len(exact.gates) < len(long.gates)
    assert np.array_equal(product_table(fused, signed=True), product_table(long, signed=True))


def test_show_and_list_draw(small: Case, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra `plot`)")
    network = ["--model", small.path, "--calibration", small.calibration.path]
    picture = tmp_path / "p.png"
    shown = only_json(
        alwann_c("multipliers", "show", "mul8u_p50", *network, "--plot", picture, "--json")
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert shown["rank"] > 0
    assert shown["gates"] == sum(shown["gates_by_kind"].values())
    assert shown["origin"] == f"gate model: {shown['gates']} gates"
    assert 0 < shown["on_network"]["relative_power"] < 1
    picture = tmp_path / "l.svg"
    listed = only_json(alwann_c("multipliers", "list", "--plot", picture, "--json"))
    assert len(listed["list"]) == len(load_builtin_library())
    assert "<svg" in picture.read_text(encoding="utf-8")


def refused(*arguments: object) -> str:
    done = alwann_c("multipliers", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: ") == 1
    return done.err


def test_show_refuses(small: Case, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra `plot`)")
    assert "give a name ending in .png" in refused("show", "mul8u_p50", "--plot", "p.txt")
    where = tmp_path / "none" / "p.png"
    assert "no such folder" in refused("list", "--plot", where)
    assert "give --calibration" in refused("show", "mul8u_p50", "--model", small.path)
    assert "give --model too" in refused("show", "mul8u_p50", "--layer", "x")


def test_import_command(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", exact_products(False) & ~15)
    library = tmp_path / "library"
    data = only_json(
        alwann_c("multipliers", "import", tmp_path / "mine.npy", "-o", library, "--json")
    )
    assert [row["name"] for row in data["imported"]] == ["mine"]
    assert data["imported"][0]["origin"] == "products: table"
    listed = alwann_c("multipliers", "list", "--library", library)
    assert "mine" in listed.out
    assert "no such file" in refused("import", tmp_path / "none", "-o", library)
    assert "--bits: 9: give 2 to 8" in refused(
        "import", tmp_path / "mine.npy", "-o", library, "--bits", 9
    )
    (tmp_path / "f.c").write_text("int f(int a, int b) { return a * b; }", encoding="utf-8")
    assert "--allow-c" in refused("import", tmp_path / "f.c", "-o", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@needs_simulator
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (5, True), (2, False)])
def test_evolved_and_imported_circuits_in_simulation(
    bits: int, signed: bool, tmp_path: Path
) -> None:
    """Their Verilog, as written and as imported from what was written, over all pairs."""
    pytest.importorskip("numba", reason="needs the package numba (extra `evolve`)")
    bound = {8: 90, 5: 4, 2: 0.4}[bits]
    command = ["multipliers", "evolve", "--bits", bits, *(["--signed"] if signed else [])]
    command += ["--bounds", bound, "--evaluations", 2000, "--rounds", 1, "-o", tmp_path / "l"]
    assert alwann_c(*command).code == 0
    again = ["multipliers", "import", tmp_path / "l", "--bits", bits, "-o", tmp_path / "imported"]
    assert alwann_c(*again).code == 0
    for folder in ("l", "imported"):
        circuits = [m for m in load_library(tmp_path / folder) if m.netlist is not None]
        assert any(not m.is_exact for m in circuits)
        for multiplier in circuits:
            assert simulate_netlist(multiplier) == f"PASS: {4**bits} products"
    wrong = dataclasses.replace(circuits[-1], table=circuits[-1].table ^ 1)
    with pytest.raises(InputError, match="products differ from the table"):
        simulate_netlist(wrong)


def test_evolve_command(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="needs the package numba (extra `evolve`)")
    command = ["multipliers", "evolve", "--bits", 4, "--bounds", "1,4", "--evaluations", 3000]
    command += ["-o", tmp_path / "l", "--json"]
    first = only_json(alwann_c(*command, "--rounds", 1, "--minutes", 1e-9))
    assert first["runs_left"] == 2
    whole = only_json(alwann_c(*command, "--rounds", 1))
    assert whole["runs_left"] == 0
    again = only_json(alwann_c(*command, "--rounds", 2))
    library = load_library(tmp_path / "l")
    assert {row["name"] for row in again["circuits"]} == set(library.multipliers)
    exact, *others = library
    assert exact.is_exact
    assert len(others) == 2
    for multiplier, bound in zip(others, (1, 4), strict=True):
        assert multiplier.mae <= bound
        netlist = circuit_of(multiplier)
        assert netlist is not None
        assert np.array_equal(product_table(netlist, signed=False), multiplier.table)
        assert multiplier.power_mw == pytest.approx(estimate(netlist).power_mw, rel=1e-5)
        assert "evolved for a mae of at most" in multiplier.origin
    assert "of another campaign" in refused(*command[1:-1], "--seed", 1)


def test_interrupted_evolve_says_what_is_kept_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="needs the package numba (extra `evolve`)")
    from alwann_c.targets.evolve import campaign

    command = ["multipliers", "evolve", "--bits", 4, "--bounds", "1,4", "--evaluations", 3000]
    whole = only_json(alwann_c(*command, "--rounds", 1, "-o", tmp_path / "whole", "--json"))
    folder = tmp_path / "my circuits"
    command += ["--rounds", 1, "-o", folder, "--json"]
    run, ran = campaign._run, []

    def interrupted(job: campaign.Job) -> campaign.Found | None:
        ran.append(job)
        if len(ran) in (1, 3):
            raise KeyboardInterrupt
        return run(job)

    monkeypatch.setattr(campaign, "_run", interrupted)
    done = alwann_c(*command)
    assert done.code == 130
    assert done.err == ("interrupted before a circuit was finished; run the same command again\n")
    done = alwann_c(*command)
    told, again = done.err.splitlines()
    assert (done.code, told) == (
        130,
        f"interrupted; finished circuits are kept in {folder}, go on with:",
    )
    assert shlex.split(again) == ["alwann-c", *map(str, command)]
    found = only_json(alwann_c(*command))
    assert len(ran) == 4  # the circuit finished before was not evolved again
    assert found["circuits"] == whole["circuits"]


def test_evolve_bounds_the_worst_error(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="needs the package numba (extra `evolve`)")
    command = ["multipliers", "evolve", "--bits", 4, "--signed", "--error", "wce", "--bounds", "6"]
    command += ["--evaluations", 3000, "--rounds", 1, "-o", tmp_path / "l"]
    done = alwann_c(*command)
    assert done.code == 0, done.err
    _, found = load_library(tmp_path / "l")
    assert found.signed
    assert 0 < found.wce <= 6
    assert "--bounds" in refused("evolve", "--bounds", "a", "-o", tmp_path / "l")
    assert "networks have operands of 8 bits" in refused(
        "evolve", "--bits", 4, "--model", "m.onnx", "--calibration", "c", "-o", tmp_path / "l"
    )
