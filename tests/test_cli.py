"""The command line: what it prints, writes and gives as JSON."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import TARGET, Compiled, alwann_c, only_json
from tiny import Case, residual_net

from alwann_c.cli.arguments import FORMATS
from alwann_c.plan import load_plan
from alwann_c.targets import builtin_target_names, load_builtin_library, target_schema

NAMES = ["mul8u_exact", "mul8u_p64", "mul8u_p50"]


def test_progress_counts_what_is_left_of_the_job(compiled: Compiled) -> None:
    lines = [line.partition("] ")[2] for line in compiled.err.splitlines()]
    for step in ("measuring multipliers 3/3", "generation 2/2"):
        (line,) = (line for line in lines if line.startswith(step))
        assert line.endswith(" left)"), line
    tested = [line for line in lines if line.startswith("testing ")]
    assert len(tested) == len(compiled.data["front"])
    assert "left)" not in tested[-1]


def test_schemas_are_those_of_the_files(compiled: Compiled) -> None:
    assert only_json(alwann_c("schema", "--json"))["formats"] == list(FORMATS)
    for name in FORMATS:
        schema = json.loads(alwann_c("schema", name).out)
        assert schema["$schema"].startswith("https://json-schema.org/")
        path = compiled.folder / f"{name}.json"
        if name in ("plan", "manifest", "front", "operands"):
            keys = set(json.loads(path.read_text(encoding="utf-8")))
            assert set(schema["required"]) <= keys
            assert keys - set(schema["properties"]) <= {"content_sha256"} or name == "operands"
        else:
            assert "name" in schema["properties"] or "file" in schema["properties"]
    assert only_json(alwann_c("schema", "target", "--json")) == target_schema()
    done = alwann_c("schema", "plam")
    assert done.code == 2
    assert "did you mean 'plan'?" in done.err


def test_run_says_that_it_executes_code() -> None:
    shown = " ".join(alwann_c("run", "--help").out.split())
    assert "loading it runs its code" in shown


def test_compile_json(compiled: Compiled) -> None:
    data = compiled.data
    for key in ("float_accuracy", "int8_accuracy", "front", "selected", "evaluations", "seconds"):
        assert key in data
    assert data["float_accuracy"] == 1.0
    assert 0.8 < data["int8_accuracy"] <= 1.0
    assert data["evaluations"] >= 3
    for point in data["front"]:
        assert set(point) == {"accuracy", "relative_energy", "assignment"}
        assert set(point["assignment"]) == {"units", "layers"}
        assert set(point["assignment"]["units"]) <= set(NAMES)
    selected = data["selected"]
    fields = ("accuracy", "relative_energy", "test_accuracy", "test_drop", "test_drop_ci95")
    assert all(selected[field] is not None for field in fields)
    low, high = selected["test_drop_ci95"]
    assert low <= selected["test_drop"] <= high
    drop = data["test_float_accuracy"] - selected["test_accuracy"]
    assert selected["test_drop"] == pytest.approx(drop)
    chosen = [(p["accuracy"], p["relative_energy"]) for p in data["front"]]
    assert (selected["accuracy"], selected["relative_energy"]) in chosen


def test_compile_writes(compiled: Compiled) -> None:
    files = {path.name for path in compiled.folder.iterdir()}
    wanted = {"module.so", "manifest.json", "plan.json", "front.json", "report.html"}
    wanted |= {"front.csv", "operands.json"}
    assert wanted <= files
    assert not [name for name in files - wanted if not name.startswith("evaluations.sqlite")]
    front = json.loads((compiled.folder / "front.json").read_text(encoding="utf-8"))
    point = front["front"][front["selected"]]
    assert point["relative_energy"] == compiled.data["selected"]["relative_energy"]
    plan = load_plan(compiled.folder / "plan.json")
    assert plan.relative_energy == point["relative_energy"]
    manifest = json.loads((compiled.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["plan_sha256"] == plan.sha256
    assert "<html" in (compiled.folder / "report.html").read_text(encoding="utf-8")


def test_run_gives_the_selected_accuracy(compiled: Compiled, small: Case, tmp_path: Path) -> None:
    out = tmp_path / "out.npy"
    done = alwann_c(
        "run", compiled.folder, "--data", small.search.path, "-o", out, "--json", "--self-test"
    )
    data = only_json(done)
    assert data["accuracy"] == compiled.data["selected"]["accuracy"]
    assert (data["samples"], data["self_test"]) == (64, "passed")
    outputs = np.load(out)
    assert outputs.shape == (64, 4)
    assert (outputs.argmax(axis=1) == small.search.labels).mean() == data["accuracy"]


def test_evaluate_of_the_plan_gives_the_same(compiled: Compiled, small: Case) -> None:
    plan = compiled.folder / "plan.json"
    done = alwann_c("evaluate", *compiled.inputs(small), "--plan", plan, "--json")
    data = only_json(done)
    assert data["accuracy"] == compiled.data["selected"]["accuracy"]
    assert data["int8_accuracy"] == compiled.data["int8_accuracy"]
    assert data["float_accuracy"] == compiled.data["float_accuracy"]
    assert data["relative_energy"] == compiled.data["selected"]["relative_energy"]
    assert data["macs_per_image"] == 4 * 4 * 6 * (27 + 54) + 24


def test_evaluate_of_a_multiplier(compiled: Compiled, small: Case) -> None:
    done = alwann_c(
        "evaluate",
        *compiled.inputs(small),
        "--multiplier",
        "mul8u_p50",
        "--limit",
        40,
        "--json",
    )
    data = only_json(done)
    assert set(data) == {
        "float_accuracy",
        "int8_accuracy",
        "accuracy",
        "samples",
        "images_per_second",
        "macs_per_image",
        "relative_energy",
    }
    assert data["samples"] == 40
    library = load_builtin_library()
    powers = [library.find(name).power_mw for name in ("mul8u_p50", "mul8u_exact")]
    assert powers[0] is not None
    assert powers[1] is not None
    assert data["relative_energy"] == pytest.approx(powers[0] / powers[1])


def test_resume_repeats_nothing(compiled: Compiled, small: Case, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(compiled.folder, tmp_path / "again"))
    done = alwann_c(*compiled.command(small, folder), "--resume", "--json")
    data = only_json(done)
    assert data["front"] == compiled.data["front"]
    assert data["selected"] == compiled.data["selected"]
    assert data["evaluations"] == compiled.data["evaluations"]
    plans = [(f / "plan.json").read_bytes() for f in (folder, compiled.folder)]
    assert plans[0] == plans[1]


def test_resume_with_other_layers_is_refused(
    compiled: Compiled, small: Case, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(compiled.folder, tmp_path / "other"))
    done = alwann_c(*compiled.command(small, folder), "--resume", "--exclude", "c1", "--json")
    assert done.code == 2
    assert re.search(r"error: .*made with other input \(layers\)", done.err)


def test_report_is_rebuilt(compiled: Compiled, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(compiled.folder, tmp_path / "r"))
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    data = only_json(alwann_c("report", folder, "--json"))
    assert data == {"report": str(folder / "report.html")}
    assert (folder / "report.html").read_bytes() == before


def test_inspect(small: Case) -> None:
    data = only_json(alwann_c("inspect", small.path, "--json"))
    assert data["input"] == {"name": "image", "shape": [3, 8, 8]}
    assert data["classes"] == 4
    assert [layer["name"] for layer in data["layers"]] == ["c1", "c2", "fc"]
    assert data["macs"] == sum(layer["macs"] for layer in data["layers"])
    assert data["layers"][0]["output"] == [4, 4, 6]
    plain = alwann_c("inspect", small.path)
    assert plain.code == 0
    for word in ("c1", "conv2d", "dense: exact unless asked"):
        assert word in plain.out


def test_inspect_counts_what_runs_in_float(tmp_path: Path) -> None:
    """Biases, ReLUs and the first residual addition are fused; the second one's shortcut is padded
    by the importer in another layout, so that it stays."""
    onnx.save(residual_net(), str(tmp_path / "net.onnx"))
    data = only_json(alwann_c("inspect", tmp_path / "net.onnx", "--json"))
    found = {f["operator"]: (f["count"], f["reason"]) for f in data["float_operators"]}
    moves, other = "only moves values", "no multiplier array"
    assert found == {
        "add": (1, other),
        "mean": (1, other),
        "nn.relu": (1, other),
        "pad (importer)": (1, other),
        "permute_dims": (3, moves),
        "reshape": (1, moves),
        "strided_slice": (1, moves),
    }
    lines = alwann_c("inspect", tmp_path / "net.onnx").out.splitlines()
    assert any(line.split() == ["mean", "1", *other.split(), "16x1x1"] for line in lines)


def test_inspect_names_kernels(small: Case) -> None:
    data = only_json(alwann_c("inspect", small.path, "--kernels", "--json"))
    assert all(layer["kernel"] for layer in data["layers"])
    assert data["layers"][0]["kernel"] in alwann_c("inspect", small.path, "--kernels").out
    assert "kernel" not in only_json(alwann_c("inspect", small.path, "--json"))["layers"][0]


def test_multipliers(tmp_path: Path) -> None:
    data = only_json(alwann_c("multipliers", "list", "--json"))
    library = load_builtin_library()
    assert [row["name"] for row in data["list"]] == [m.name for m in library]
    shown = only_json(alwann_c("multipliers", "show", "mul8u_p50", "--json"))
    assert shown in data["list"]
    assert 0 < shown["relative_power"] < 1
    assert shown["mae"] == library.find("mul8u_p50").mae
    assert "mul8u_p50" in alwann_c("multipliers", "list").out
    assert not list(tmp_path.iterdir())


def test_targets(tmp_path: Path) -> None:
    data = only_json(alwann_c("targets", "list", "--json"))
    assert [row["name"] for row in data["targets"]] == list(builtin_target_names())
    shown = only_json(alwann_c("targets", "show", "pipelined-4", "--json"))
    assert (shown["name"], shown["architecture"]) == ("pipelined-4", "pipelined")
    assert shown["unit"][0]["count"] == 4
    path = tmp_path / "t.toml"
    path.write_text(TARGET, encoding="utf-8")
    assert only_json(alwann_c("targets", "validate", path, "--json"))["valid"] is True
    path.write_text(alwann_c("targets", "show", "template").out, encoding="utf-8")
    assert only_json(alwann_c("targets", "validate", path, "--json"))["name"] == "template"
    schema = only_json(alwann_c("targets", "schema", "--json"))
    assert schema["additionalProperties"] is False
    for key in ("architecture", "unit", "clock_mhz"):
        assert key in schema["properties"]


@pytest.mark.parametrize("command", ["compile", "evaluate", "multipliers list", "targets show"])
def test_help(command: str) -> None:
    done = alwann_c(*command.split(), "--help")
    assert done.code == 0
    assert "usage: alwann-c" in done.out
    assert "--json" in done.out


def test_progress_goes_to_stderr(compiled: Compiled) -> None:
    lines = compiled.err.splitlines()
    assert lines
    for line in lines:
        assert re.match(r"\[ *\d+\.\d s\] ", line), line
    said: Any = "\n".join(lines)
    for word in ("generation 1/2", "generation 2/2", "refining", "building for cpu", "testing 4/4"):
        assert word in said
