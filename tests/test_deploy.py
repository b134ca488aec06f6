"""Deployed modules: bit-identical in a fresh process, refused when altered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from command_line import Compiled, only_json
from command_line import alwann_c as alwann_c_command
from tiny import Case, make_target, random_multiplier

import alwann_c
from alwann_c.accelerator import place
from alwann_c.builder import build, make_plan, write_module
from alwann_c.codegen.device import resolve_device, why_not_here
from alwann_c.compensation import Compensator, bound
from alwann_c.dataset import load_dataset
from alwann_c.deploy import Manifest, load_module, output_hash, seal
from alwann_c.errors import InputError
from alwann_c.evaluation import network_outputs
from alwann_c.ir.interpret import interpret
from alwann_c.ir.rewrite import apply
from alwann_c.libraries import open_libraries
from alwann_c.passes.approximate import Approximate
from alwann_c.plan import load_plan
from alwann_c.targets import Assignment, Library, Multiplier, exact_products

EXACT = Multiplier("exact", exact_products(False), power_mw=1.0)
ODD = random_multiplier(11, power_mw=0.5)


@dataclass(frozen=True)
class Deployed:
    """A module's folder, its manifest, and what the network gives in this process."""

    folder: Path
    manifest: Manifest
    outputs: npt.NDArray[np.float32]
    reference: npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def deployed(small: Case, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """The small network with both convolutions on a random asymmetric table."""
    folder = tmp_path_factory.mktemp("deployed")
    quantized = small.quantized
    library = Library("odd", "MIT", None, {m.name: m for m in (EXACT, ODD)})
    accelerator = place(quantized, make_target(), library)
    compensator = Compensator(quantized)
    chosen = compensator.network(dict.fromkeys(small.convolutions, ODD), "full")
    plan = make_plan(accelerator, Assignment((ODD.name,) * 2, (0, 0)), chosen, "full")
    module = build(quantized, plan, library=library)
    manifest = write_module(
        module, folder, quantized=quantized, plan=plan, library=library, data={}, device="cpu"
    )
    operands = {n: bound(a) for n, a in chosen.items()}
    outputs = quantized.network.run(small.search.images, operands)
    reference = interpret(apply(Approximate(chosen), quantized.module), small.search.images[:4])
    return Deployed(folder, manifest, outputs, reference)


@pytest.fixture
def copy(deployed: Deployed, tmp_path: Path) -> Path:
    """A copy of the folder to alter."""
    return Path(shutil.copytree(deployed.folder, tmp_path / "copy"))


def test_fresh_process_is_bit_identical(deployed: Deployed, small: Case, tmp_path: Path) -> None:
    out = tmp_path / "out.npy"
    environment = os.environ | {"PYTHONPATH": str(Path(alwann_c.__file__).parents[1])}
    command = [sys.executable, "-m", "alwann_c", "run", str(deployed.folder), "--json"]
    command += ["--self-test", "--data", str(small.search.path), "-o", str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    np.testing.assert_array_equal(np.load(out), deployed.outputs)
    accuracy = (deployed.outputs.argmax(axis=1) == small.search.labels).mean()
    assert json.loads(done.stdout) == {
        "self_test": "passed",
        "samples": 64,
        "accuracy": accuracy,
        "output": str(out),
    }


@pytest.mark.parametrize(
    ("data", "field"), [("search", "accuracy"), ("calibration", "test_accuracy")]
)
def test_run_gives_what_the_report_quotes(
    compiled: Compiled, small: Case, tmp_path: Path, data: str, field: str
) -> None:
    """Outputs of the module are those of the evaluation, on the search and on the test data."""
    images, out = load_dataset(getattr(small, data).path), tmp_path / "out.npy"
    plan = load_plan(compiled.folder / "plan.json")
    chosen = plan.approximations(small.quantized, open_libraries(()))
    assert any(layer.multiplier != "mul8u_exact" for layer in plan.layers)
    operands = {name: bound(layer) for name, layer in chosen.items()}
    evaluated, _ = network_outputs(small.quantized.network, images, operands)
    command = ["run", compiled.folder, "--data", images.path, "-o", out, "--json"]
    said = only_json(alwann_c_command(*command))
    np.testing.assert_array_equal(np.load(out), evaluated)
    assert said["accuracy"] == compiled.data["selected"][field]
    front = json.loads((compiled.folder / "front.json").read_text(encoding="utf-8"))
    assert said["accuracy"] == front["front"][front["selected"]][field]


def test_equals_the_reference(deployed: Deployed, small: Case) -> None:
    np.testing.assert_array_equal(deployed.outputs[:4], deployed.reference)
    assert (deployed.outputs != small.quantized.network.run(small.search.images)).any()


@pytest.mark.parametrize("name", ["", "module.so"])
def test_loads_by_folder_and_file(deployed: Deployed, small: Case, name: str) -> None:
    module = load_module(deployed.folder / name)
    np.testing.assert_array_equal(module(small.search.images), deployed.outputs)
    assert module.self_test()


@pytest.mark.parametrize("count", [1, 3])
def test_any_batch_size(deployed: Deployed, small: Case, count: int) -> None:
    module = load_module(deployed.folder)
    got = module(small.search.images[:count])
    np.testing.assert_array_equal(got, deployed.outputs[:count])


def test_exports_the_same_module(deployed: Deployed, small: Case, tmp_path: Path) -> None:
    exact = build(small.quantized)
    expected = small.quantized.network.run(small.search.images)
    np.testing.assert_array_equal(exact(small.search.images), expected)
    exact.export(tmp_path / "exact.so")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["exact.so"]
    shutil.copy(deployed.folder / "manifest.json", tmp_path)
    with pytest.raises(InputError, match="SHA-256 differs"):
        load_module(tmp_path / "exact.so")


def test_manifest_says_what_it_is(deployed: Deployed, small: Case) -> None:
    manifest = deployed.manifest
    assert manifest.input.shape == [0, 3, 8, 8]
    assert manifest.output.shape == [0, 4]
    assert manifest.model == {
        "name": "net",
        "sha256": small.model.sha256,
        "path": str(small.path),
    }
    module = load_module(deployed.folder)
    assert manifest.plan["units"] == {"u0": ODD.name, "u1": ODD.name}
    assert manifest.plan["layers"]["c1"]["multiplier"] == ODD.name
    assert manifest.preprocessing.layout == "NCHW"
    images = manifest.self_test.inputs([0, 3, 8, 8])
    assert images.shape == (8, 3, 8, 8)
    assert output_hash(module(images)) == manifest.self_test.output_sha256
    np.testing.assert_array_equal(np.float32(manifest.self_test.outputs), module(images))
    assert images.min() >= small.calibration.images[:32].min()


@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (2, 1, 8, 8), (2, 8, 8), (2, 8, 8, 3)])
def test_images_of_another_shape(deployed: Deployed, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="do not fit"):
        load_module(deployed.folder)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("position", [0, 2000, -1])
def test_altered_module_is_refused(copy: Path, position: int) -> None:
    content = bytearray((copy / "module.so").read_bytes())
    content[position] ^= 1
    (copy / "module.so").write_bytes(content)
    with pytest.raises(InputError, match="it was altered"):
        load_module(copy)


def test_truncated_module_is_refused(copy: Path) -> None:
    content = (copy / "module.so").read_bytes()
    (copy / "module.so").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="it was altered"):
        load_module(copy)


def rewrite(folder: Path, alter: Callable[[dict[str, Any]], None], *, sealed: bool) -> None:
    """Alters a manifest; `sealed`: and its own hash, as who compiles it would."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    alter(document)
    if sealed:
        document["manifest_sha256"] = seal(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def _remove(document: dict[str, Any]) -> None:
    del document["module_sha256"]


ALTERED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "hash": (lambda d: d.update(module_sha256="0" * 64), "manifest_sha256 differs"),
    "version": (lambda d: d.update(version=2), "version"),
    "unknown key": (lambda d: d.update(extra=1), "extra"),
    "missing key": (_remove, "module_sha256"),
    "wrong type": (lambda d: d.update(input=3), "input"),
    "plan": (lambda d: d["plan"].update(relative_energy=0.1), "manifest_sha256 differs"),
    "expected outputs": (lambda d: d["self_test"].update(outputs=[]), "manifest_sha256 differs"),
    "scale": (lambda d: d["preprocessing"].update(scale=255.0), "manifest_sha256 differs"),
    "own hash": (lambda d: d.update(manifest_sha256="0" * 64), "manifest_sha256 differs"),
}


@pytest.mark.parametrize(("alter", "message"), ALTERED.values(), ids=ALTERED.keys())
def test_altered_manifest_is_refused(
    copy: Path, alter: Callable[[dict[str, Any]], None], message: str
) -> None:
    rewrite(copy, alter, sealed=False)
    with pytest.raises(InputError, match=message):
        load_module(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1]"])
def test_damaged_manifest_is_refused(copy: Path, content: bytes) -> None:
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json"):
        load_module(copy)


def test_missing_parts(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_module(tmp_path / "none")
    (copy / "manifest.json").unlink()
    with pytest.raises(InputError, match="keep it beside the module"):
        load_module(copy)


def test_module_of_another_manifest_is_refused(copy: Path) -> None:
    rewrite(copy, lambda d: d.update(module_sha256="0" * 64), sealed=True)
    with pytest.raises(InputError, match=r"module\.so: its SHA-256 differs"):
        load_module(copy)


def test_self_test_notices_other_outputs(copy: Path) -> None:
    rewrite(copy, lambda d: d["self_test"].update(output_sha256="0" * 64), sealed=True)
    assert not load_module(copy).self_test()


@pytest.mark.parametrize(("device", "reason"), [("cuda", "GPU"), ("opencl", "OpenCL runtime")])
def test_module_for_a_device_that_is_not_here(copy: Path, device: str, reason: str) -> None:
    if why_not_here(resolve_device(device)) is None:
        pytest.skip(f"this machine runs {device}")
    rewrite(copy, lambda d: d.update(device=device), sealed=True)
    done = alwann_c_command("run", copy, "--self-test")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert reason in done.err


@pytest.mark.parametrize(
    "device", ["tpu", "llvm --fast", "llvm -mcpu", "cuda:90", "cuda:sm_", "opencl:x", "c++"]
)
def test_unknown_devices(small: Case, device: str) -> None:
    with pytest.raises(InputError, match="--device"):
        build(small.quantized, device=device)
