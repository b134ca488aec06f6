"""Bad input: one `error:` line, exit 2, no traceback, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import TARGET, Compiled, Done, alwann_c
from spoiling import Job, refused
from tiny import Net

import alwann_c as alwann_c_package
from alwann_c.targets import exact_products


def _text(job: Job) -> None:
    job.model.write_text("this is no model", encoding="utf-8")


def _truncated(job: Job) -> None:
    content = job.model.read_bytes()
    job.model.write_bytes(content[: len(content) // 2])


def _unsupported(job: Job) -> None:
    net = Net()
    inverse = net.node("Det", ["image"])
    onnx.save(net.model(inverse, image=(8, 8), classes=1), str(job.model))


def _missing(job: Job) -> None:
    job.model.unlink()


MODELS: dict[str, tuple[Callable[[Job], None], tuple[str, ...]]] = {
    "not ONNX": (_text, ("net.onnx", "not a")),
    "truncated": (_truncated, ("net.onnx", "not a")),
    "unsupported operator": (_unsupported, ("net.onnx", "Det", "det_0", "opset 17")),
    "missing": (_missing, ("net.onnx", "no such file")),
}


@pytest.mark.parametrize(("spoil", "parts"), MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("command", ["compile", "inspect", "evaluate"])
def test_models(
    job: Job, spoil: Callable[[Job], None], parts: tuple[str, ...], command: str
) -> None:
    spoil(job)
    if command == "compile":
        done = job.compile()
    elif command == "inspect":
        done = alwann_c("inspect", job.model, "--json")
    else:
        done = alwann_c("evaluate", job.model, "--calibration", job.good, "--test", job.good)
    refused(done, *parts)
    job.nothing_written()


IMAGES = np.zeros((8, 3, 8, 8), np.float32)
LABELS = np.arange(8) % 4


def _nan() -> np.ndarray[Any, np.dtype[np.float32]]:
    images = IMAGES.copy()
    images[5, 1, 2, 3] = np.nan
    return images


DATA: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "wrong shape": (
        {"images": np.zeros((8, 3, 9, 8), np.float32), "labels": LABELS},
        ("data.toml", "(3, 9, 8)", "(3, 8, 8)"),
        ("calibration", "search", "test"),
    ),
    "labels out of range": (
        {"images": IMAGES, "labels": LABELS + 1},
        ("data.toml", "labels", "1..4", "0..3"),
        ("search", "test"),
    ),
    "negative labels": (
        {"images": IMAGES, "labels": LABELS - 1},
        ("data.toml", "labels", "0..3"),
        ("search", "test"),
    ),
    "no labels": ({"images": IMAGES}, ("data.toml", "labels"), ("search", "test")),
    "empty": (
        {"images": IMAGES[:0], "labels": LABELS[:0]},
        ("data.toml", "empty"),
        ("calibration", "search", "test"),
    ),
    "NaN": (
        {"images": _nan(), "labels": LABELS},
        ("data.toml", "NaN"),
        ("calibration", "search", "test"),
    ),
    "infinity": (
        {"images": _nan() - np.inf, "labels": LABELS},
        ("data.toml", "infinity"),
        ("search",),
    ),
    "fractional labels": (
        {"images": IMAGES, "labels": LABELS / 2},
        ("data.npz", "labels", "integer"),
        ("search",),
    ),
}


@pytest.mark.parametrize(
    ("arrays", "parts", "role"),
    [(arrays, parts, role) for arrays, parts, roles in DATA.values() for role in roles],
    ids=[f"{name}-{role}" for name, (_, _, roles) in DATA.items() for role in roles],
)
def test_data_of_compile(
    job: Job, arrays: dict[str, Any], parts: tuple[str, ...], role: str
) -> None:
    job.write(**arrays)
    refused(job.compile(spoilt=role), *parts)
    job.nothing_written()


@pytest.mark.parametrize(
    ("arrays", "parts"), [(a, p) for a, p, _ in DATA.values()], ids=DATA.keys()
)
def test_data_of_evaluate(job: Job, arrays: dict[str, Any], parts: tuple[str, ...]) -> None:
    job.write(**arrays)
    refused(alwann_c("evaluate", job.model, "--calibration", job.good, "--test", job.data), *parts)


@pytest.mark.parametrize("name", ["wrong shape", "labels out of range", "empty", "NaN"])
def test_data_of_run(job: Job, compiled: Compiled, name: str) -> None:
    arrays, parts, _ = DATA[name]
    job.write(**arrays)
    out = job.folder / "out.npy"
    done = alwann_c("run", compiled.folder, "--data", job.data, "-o", out, "--json")
    refused(done, *parts)
    assert not out.exists()


UNSIGNED = exact_products(False).astype("<u2").tobytes()
SIGNED = exact_products(True).astype("<i2").tobytes()
LIBRARIES: dict[str, tuple[bytes, dict[str, object], tuple[str, ...]]] = {
    "short table": (UNSIGNED[:-2], {}, ("library.toml", "'m'", "131070 bytes", "131072")),
    "long table": (UNSIGNED + b"\0", {}, ("m.bin", "131073 bytes", "131072")),
    "signed table said unsigned": (SIGNED, {}, ("'m'", "signed")),
    "unsigned table said signed": (UNSIGNED, {"signed": "true"}, ("'m'", "signed")),
    "outside the folder": (UNSIGNED, {"table": '"../m.bin"'}, ("'m'", "folder")),
    "missing table": (UNSIGNED, {"table": '"n.bin"'}, ("'m'", "n.bin")),
    "unknown key": (UNSIGNED, {"watts": 1}, ("library.toml", "watts")),
    "negative power": (UNSIGNED, {"power_mw": -1.0}, ("library.toml", "power_mw")),
}


@pytest.mark.parametrize(("table", "fields", "parts"), LIBRARIES.values(), ids=LIBRARIES.keys())
def test_libraries(
    job: Job, table: bytes, fields: dict[str, object], parts: tuple[str, ...]
) -> None:
    library = job.library(table, fields)
    job.extra = ["--library", library]
    refused(job.compile(), *parts)
    job.nothing_written()
    refused(alwann_c("multipliers", "list", "--library", library, "--json"), *parts)


def test_missing_library(job: Job) -> None:
    job.extra = ["--library", job.folder / "none"]
    refused(job.compile(), "none")
    job.nothing_written()


def test_unknown_multiplier(job: Job) -> None:
    data = ["--calibration", job.good, "--test", job.good]
    done = alwann_c("evaluate", job.model, *data, "--multiplier", "mul8u_p644")
    refused(done, "mul8u_p644", "mul8u_p64")
    refused(alwann_c("multipliers", "show", "nothing", "--json"), "nothing")
    job.target.write_text(TARGET.replace("mul8u_p50", "mul8u_p500"), encoding="utf-8")
    refused(job.compile(), "unit[0].multipliers", "mul8u_p500")
    job.nothing_written()


TARGETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "unknown key": (TARGET.replace("clock_mhz", "clock_ghz = 1\nclock_mhz"), ("clock_ghz",)),
    "unknown key of a unit": (TARGET + "speed = 3\n", ("speed",)),
    "no unit": (TARGET.split("[[unit]]")[0], ("unit",)),
    "empty units": ("unit = []\n" + TARGET.split("[[unit]]")[0], ("unit",)),
    "unknown architecture": (TARGET.replace("power-gated", "systolic"), ("architecture",)),
    "not TOML": ("name = ", ()),
    "zero clock": (TARGET.replace("100.0", "0.0"), ("clock_mhz",)),
    "too many pipeline stages": (
        TARGET.replace("power-gated", "pipelined").replace("count = 2", "count = 3"),
        ("3 pipelined units", "2 approximable layers"),
    ),
}


@pytest.mark.parametrize(("text", "parts"), TARGETS.values(), ids=TARGETS.keys())
def test_targets(job: Job, text: str, parts: tuple[str, ...]) -> None:
    job.target.write_text(text, encoding="utf-8")
    refused(job.compile(), *parts)
    job.nothing_written()
    if "3 pipelined units" not in parts:
        done = alwann_c("targets", "validate", job.target, "--json")
        refused(done, "target.toml", *parts)


def test_unknown_target(job: Job) -> None:
    refused(alwann_c("targets", "show", "power-gated-44"), "power-gated-44", "power-gated-4")
    job.target = job.folder / "none.toml"
    refused(job.compile(), "none.toml", "no such file")
    job.nothing_written()


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        (["--exclude", "conv9"], ("conv9", "c1, c2, fc")),
        (["--exclude", "c*"], ("every layer is excluded",)),
        (["--population", "0"], ("--population", "'0'")),
        (["--max-drop", "5"], ("--max-drop", "'5'")),
        (["--frobnicate"], ("--frobnicate",)),
    ],
)
def test_options(job: Job, extra: list[object], parts: tuple[str, ...]) -> None:
    job.extra = extra
    refused(job.compile(), *parts)
    job.nothing_written()


@pytest.mark.parametrize("arguments", [[], ["fly"], ["compile"], ["multipliers"], ["run", "x"]])
def test_command_lines(arguments: list[str]) -> None:
    done = alwann_c(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_in_a_process_of_its_own(job: Job) -> None:
    """Nothing below Python writes to the streams either."""
    _truncated(job)
    environment = os.environ | {"PYTHONPATH": str(Path(alwann_c_package.__file__).parents[1])}
    command = [sys.executable, "-m", "alwann_c", "inspect", str(job.model), "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=job.folder, check=False
    )
    refused(Done(done.returncode, done.stdout, done.stderr), "net.onnx", "not a")
