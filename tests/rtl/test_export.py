"""The hand-off to hardware: files that agree with each other, and layers reproduced by simulation."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Compiled, alwann_c, only_json
from tiny import Case

from alwann_c.deploy import seal
from alwann_c.errors import InputError
from alwann_c.ir.interpret import interpret
from alwann_c.ir.rewrite import apply
from alwann_c.libraries import open_libraries
from alwann_c.passes.approximate import Approximate
from alwann_c.plan import load_plan
from alwann_c.rtl.simulate import simulate, simulators

BENCH = Path(__file__).parent
needs_simulator = pytest.mark.skipif(
    not simulators(), reason="needs iverilog or verilator (Debian packages)"
)


@pytest.fixture(scope="module")
def handoff(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`export-rtl` of the compiled small network, two images."""
    folder = tmp_path_factory.mktemp("handoff") / "rtl"
    said = only_json(
        alwann_c("export-rtl", compiled.folder, "--images", "0,5", "-o", folder, "--json")
    )
    assert said["layers"] == 3
    assert said["images"] == 2
    return folder


def layers(folder: Path) -> list[dict[str, Any]]:
    network = json.loads((folder / "network.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = network["layers"]
    return found


def read_hex(path: Path, dtype: str) -> np.ndarray[Any, np.dtype[Any]]:
    words = [int(line, 16) for line in path.read_text().split()]
    return np.array(words, f"u{np.dtype(dtype).itemsize}").view(dtype)


def test_files_are_listed_with_their_hashes(handoff: Path) -> None:
    network = json.loads((handoff / "network.json").read_text(encoding="utf-8"))
    found = {str(p.relative_to(handoff)) for p in handoff.rglob("*") if p.is_file()}
    assert found - {"network.json"} == set(network["files"])
    for name, sha256 in network["files"].items():
        assert hashlib.sha256((handoff / name).read_bytes()).hexdigest() == sha256


def test_hex_csv_and_npz_agree(handoff: Path) -> None:
    for layer in layers(handoff):
        folder = handoff / "layers" / layer["folder"]
        with np.load(folder / "operands.npz") as arrays:
            for name in ("weight", "original_weight", "weight_zero_point", "offset", "scale"):
                stored = read_hex(folder / f"{name}.hex", str(arrays[name].dtype))
                np.testing.assert_array_equal(stored, arrays[name].reshape(-1))
            rows = list(csv.DictReader((folder / "weights.csv").open()))
            tuned = [int(row["tuned"]) for row in rows]
            np.testing.assert_array_equal(tuned, arrays["weight"].reshape(-1))
            channels = list(csv.DictReader((folder / "channels.csv").open()))
            scale = np.array([row["scale"] for row in channels]).astype(np.float32)
            np.testing.assert_array_equal(scale, arrays["scale"])
            products = handoff / "multipliers" / layer["multiplier"] / "products.hex"
            table = arrays["table"].reshape(-1)
            np.testing.assert_array_equal(read_hex(products, "uint16"), table)
            assert [int(row["offset"]) for row in channels] == arrays["offset"].tolist()
            codes = arrays["original_weight"].reshape(-1, arrays["offset"].size).astype(np.int64)
            zero = layer["input"]["zero_point"]
            constants = zero * (len(codes) * arrays["weight_zero_point"] - codes.sum(axis=0))
            np.testing.assert_array_equal(arrays["bias"] + constants, arrays["offset"])


def test_golden_vectors_are_those_of_the_network(
    handoff: Path, compiled: Compiled, small: Case
) -> None:
    plan = load_plan(compiled.folder / "plan.json")
    chosen = plan.approximations(small.quantized, open_libraries(()))
    images = small.calibration.images[[0, 5]]
    expected = interpret(apply(Approximate(chosen), small.quantized.module), images)
    with np.load(handoff / "network.npz") as network:
        np.testing.assert_array_equal(network["images"], images)
        np.testing.assert_array_equal(network["outputs"], expected)
    found = layers(handoff)
    with np.load(handoff / "layers" / found[-1]["folder"] / "golden.npz") as last:
        np.testing.assert_array_equal(last["output"].reshape(expected.shape), expected)
    first, second = (
        np.load(handoff / "layers" / layer["folder"] / "golden.npz") for layer in found[:2]
    )
    np.testing.assert_array_equal(first["output"], second["input"])


@needs_simulator
def test_multipliers_in_simulation(handoff: Path) -> None:
    folders = sorted((handoff / "multipliers").iterdir())
    assert any((folder / f"{folder.name}.v").is_file() for folder in folders)
    for folder in folders:
        assert simulate(folder, "multiplier") == "PASS: 65536 products"


@needs_simulator
def test_every_layer_in_simulation(handoff: Path) -> None:
    for layer in layers(handoff):
        folder = handoff / "layers" / layer["folder"]
        with np.load(folder / "golden.npz") as golden:
            outputs = golden["output"].size
        assert simulate(folder, "layer") == f"PASS: {outputs} outputs"


@needs_simulator
@pytest.mark.parametrize("name", ["output", "accumulator", "weight", "offset", "scale"])
def test_the_bench_notices_one_wrong_bit(handoff: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "rtl"
    subprocess.run(["cp", "-r", handoff, copy], check=True)
    folder = copy / "layers" / layers(handoff)[1]["folder"]
    words = (folder / f"{name}.hex").read_text().split()
    place = len(words) // 2
    words[place] = f"{int(words[place], 16) ^ (1 << (22 if name == 'scale' else 3)):08x}"
    (folder / f"{name}.hex").write_text("\n".join(words) + "\n")
    with pytest.raises(InputError, match="outputs differ"):
        simulate(folder, "layer")


def test_replaces_a_hand_off_but_nothing_else(
    compiled: Compiled, small: Case, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    command = ["export-rtl", compiled.folder / "plan.json", "-o", folder]
    done = alwann_c(*command)
    assert done.code == 2
    assert "not empty" in done.err
    assert [p.name for p in folder.iterdir()] == ["mine.txt"]
    (folder / "mine.txt").unlink()
    data = ["--data", small.search.path, "--images", "3"]
    for _ in range(2):
        assert alwann_c(*command, *data).code == 0
    with np.load(folder / "network.npz") as network:
        np.testing.assert_array_equal(network["images"], small.search.images[3:4])
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--images", "3-"], "is not like"),
        (["--images", "100"], "no image 100"),
        (["--model", "none.onnx"], "none.onnx"),
        (["--data", "none.toml"], "no such file"),
        (["--library", "none"], "none"),
    ],
)
def test_bad_input(compiled: Compiled, tmp_path: Path, extra: list[str], message: str) -> None:
    done = alwann_c("export-rtl", compiled.folder, "-o", tmp_path / "out", *extra)
    assert done.code == 2
    assert message in done.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model", "calibration"])
def test_files_that_the_manifest_names_are_gone(
    compiled: Compiled, tmp_path: Path, name: str
) -> None:
    for file in ("plan.json", "manifest.json"):
        (tmp_path / file).write_bytes((compiled.folder / file).read_bytes())
    document = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    (document["model"] if name == "model" else document["data"]["calibration"])["path"] = "gone"
    (tmp_path / "manifest.json").write_text(
        json.dumps(document | {"manifest_sha256": seal(document)})
    )
    done = alwann_c("export-rtl", tmp_path, "-o", tmp_path / "out")
    assert done.code == 2
    last = done.err.splitlines()[-1]
    assert f"manifest.json: {name}: there is no gone here; give --{name}" in last


def test_altered_manifest_is_refused(compiled: Compiled, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes((compiled.folder / "plan.json").read_bytes())
    document = json.loads((compiled.folder / "manifest.json").read_text(encoding="utf-8"))
    document["model"]["path"] = "other.onnx"
    for content, said in (
        (json.dumps(document), "manifest_sha256 differs"),
        (json.dumps(document | {"data": {"calibration": {"path": 5}}}), "data.calibration.path"),
        ("[" * 100_000, "manifest.json: not JSON"),
    ):
        (tmp_path / "manifest.json").write_text(content)
        done = alwann_c("export-rtl", tmp_path, "-o", tmp_path / "out")
        assert done.code == 2
        assert said in done.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_plan_alone_asks_for_the_model(compiled: Compiled, small: Case, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_bytes((compiled.folder / "plan.json").read_bytes())
    done = alwann_c("export-rtl", plan, "-o", tmp_path / "out")
    assert done.code == 2
    assert "give --model" in done.err
    sources = ["--model", small.path, "--calibration", small.calibration.path]
    assert alwann_c("export-rtl", plan, *sources, "-o", tmp_path / "out").code == 0
    wrong = ["--model", small.path, "--calibration", small.search.path]
    done = alwann_c("export-rtl", plan, *wrong, "-o", tmp_path / "other")
    assert done.code == 2
    assert "give the calibration data" in done.err


def test_the_model_is_loaded_as_it_was_compiled(compiled: Compiled, tmp_path: Path) -> None:
    """Options of loading are taken, and those that the manifest recorded."""
    out = ["-o", tmp_path / "out"]
    for option, value, said in (
        ("--model-output", "none", "it has no output 'none'"),
        ("--input-shape", "3,9,9", "is fixed at 8 where 9 was asked"),
    ):
        done = alwann_c("export-rtl", compiled.folder, option, value, *out)
        assert done.code == 2
        assert said in done.err
    for field, value, said in (
        ("output", "none", "it has no output 'none'"),
        ("input_shape", "3,9,9", "is fixed at 8 where 9 was asked"),
    ):
        folder = tmp_path / field
        folder.mkdir()
        manifest = json.loads((compiled.folder / "manifest.json").read_text(encoding="utf-8"))
        manifest["model"][field] = value
        manifest["manifest_sha256"] = seal(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        (folder / "plan.json").write_bytes((compiled.folder / "plan.json").read_bytes())
        done = alwann_c("export-rtl", folder, *out)
        assert done.code == 2
        assert said in done.err
