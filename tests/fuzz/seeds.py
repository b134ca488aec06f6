"""Valid files of every kind, small, in memory: what hostile inputs are made from."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sqlite3
import tempfile
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tiny import Case, make_case, make_target, small_net, tiny_library

from alwann_c.accelerator import place
from alwann_c.builder import make_plan
from alwann_c.deploy import seal
from alwann_c.evaluation import Outcome
from alwann_c.passes.approximate import uncompensated
from alwann_c.search.store import SqliteMemory
from alwann_c.targets import Assignment, Library, builtin_target_names, exact_products, target_path

MODULE = b"not code: these tests load no module"
IDENTITY = {"model": "m", "search": "s"}
NAMES = ("exact", "cut6")
DATASET = b"""\
file = "d.npz"
images = "images"
labels = "labels"
range = [0, 2]
layout = "NCHW"
scale = 255.0
mean = [0.5, 0.4, 0.3]
std = [0.2]
"""
LIBRARY = b"""\
schema = 1
name = "l"
license = "MIT"
[[multiplier]]
name = "a"
table = "a.bin"
signed = false
bits = 8
power_mw = 0.5
area_um2 = 1
mae = 0.0
wce = 0
origin = "made here"
[[multiplier]]
name = "b"
table = "b.npy"
signed = true
bits = 2
"""


def base64_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _exact(signed: bool, bits: int) -> np.ndarray[Any, Any]:
    side = 1 << bits
    return exact_products(signed, bits)[:side, :side].astype("<i2" if signed else "<u2")


@lru_cache(maxsize=1)
def _table_files() -> dict[str, bytes]:
    return {"a.bin": _exact(False, 8).tobytes(), "b.npy": _saved(_exact(True, 2))}


def write_tables(folder: Path) -> None:
    """The two tables of `LIBRARY`."""
    for name, content in _table_files().items():
        if not (folder / name).exists():
            (folder / name).write_bytes(content)


def tables() -> list[bytes]:
    """Every format of a table of 2 bits, and one of 8; see `readers._table` for the first byte."""
    small = [_exact(signed, 2) for signed in (False, True)]
    made = [bytes([4 + 2 * signed]) + small[signed].tobytes() for signed in (False, True)]
    made += [bytes([5 + 2 * signed]) + _saved(small[signed]) for signed in (False, True)]
    return [*made, b"\0" + _exact(False, 8).tobytes()]


def targets() -> list[bytes]:
    """The shipped target files."""
    return [target_path(name).read_bytes() for name in builtin_target_names()]


@lru_cache(maxsize=2)
def member(name: str) -> bytes:
    """An array of the data set, as .npy."""
    draw = np.random.default_rng(0)
    arrays = {
        "images": draw.random((2, 3, 8, 8)).astype(np.float32),
        "labels": np.array([0, 3], np.int64),
    }
    return _saved(arrays[name])


@lru_cache(maxsize=1)
def archive() -> bytes:
    """A data set of two images."""
    stream = io.BytesIO()
    arrays = {name: np.load(io.BytesIO(member(name))) for name in ("images", "labels")}
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def members() -> list[bytes]:
    """See `readers._member` for the first byte."""
    return [bytes([kind]) + member("labels" if kind & 2 else "images") for kind in range(4)]


@lru_cache(maxsize=1)
def network() -> onnx.ModelProto:
    """Two convolutions and a dense layer."""
    return small_net()


@lru_cache(maxsize=1)
def case() -> Case:
    """The network, quantized."""
    return make_case(Path(tempfile.mkdtemp()), network())


@lru_cache(maxsize=1)
def library() -> Library:
    """The multipliers of `plan`."""
    return tiny_library()


@lru_cache(maxsize=1)
def plan() -> bytes:
    """A plan of `case` with `library`."""
    names = ("cut9", "cut6")
    accelerator = place(case().quantized, make_target(), library())
    chosen = {
        layer: uncompensated(case().quantized.layers[layer], library().find(name))
        for layer, name in zip(case().convolutions, names, strict=True)
    }
    made = make_plan(accelerator, Assignment(names, (0, 1)), chosen, "full")
    return json.dumps(made.model_dump(mode="json") | {"content_sha256": made.sha256}).encode()


def arrays() -> list[bytes]:
    """The first array of `plan`, and one whose size overflows: shape, newline, bytes."""
    document = json.loads(plan())
    packed = next(layer["weight"] for layer in document["layers"] if layer["weight"] is not None)
    shape = json.dumps(packed["shape"]).encode()
    size = int(np.prod(packed["shape"]))
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    return [shape + b"\n" + content, b"[4294967296, 4294967296]\n"]


@lru_cache(maxsize=1)
def manifest() -> bytes:
    """A sealed manifest of `MODULE`."""
    document: dict[str, Any] = {
        "version": 1,
        "tool": "alwann-c",
        "module": "module.so",
        "module_sha256": hashlib.sha256(MODULE).hexdigest(),
        "source": None,
        "source_sha256": None,
        "device": "cpu",
        "input": {"name": "image", "shape": [0, 3, 8, 8], "dtype": "float32"},
        "output": {"name": "y", "shape": [0, 4], "dtype": "float32"},
        "model": {"name": "m", "sha256": "a" * 64, "path": "m.onnx"},
        "preprocessing": {"layout": "NCHW", "scale": 1.0, "mean": [0.0], "std": [1.0]},
        "plan": {"units": [], "relative_energy": 0.5},
        "plan_sha256": "b" * 64,
        "libraries": [{"name": "l", "sha256": "c" * 64, "multipliers": 2}],
        "data": {"calibration": {"path": "c.toml", "sha256": "d" * 64, "images": 2}},
        "self_test": {
            "seed": 0,
            "images": 2,
            "low": 0.0,
            "high": 1.0,
            "output_sha256": "e" * 64,
            "outputs": [[0.0] * 4] * 2,
        },
    }
    return json.dumps(document | {"manifest_sha256": seal(document)}).encode()


def front() -> bytes:
    """A front of one point that fits `plan`."""
    data = {"path": "d.toml", "sha256": "d" * 64, "images": 2}
    both = {"search": 0.5, "test": 0.5}
    point = {"accuracy": 0.5, "drop": 0.0, "drop_ci95": [-0.1, 0.1], "relative_energy": 0.5}
    placed = {"units": ["cut9", "cut6"], "layers": [0, 1]}
    document = {
        "version": 1,
        "tool": "alwann-c",
        "command": "alwann-c compile",
        "model": {"name": "m", "sha256": "a" * 64},
        "target": "t",
        "target_sha256": "e" * 64,
        "target_content": {"name": "t", "unit": [{"name": "u", "multipliers": ["cut9"]}]},
        "options": {"seed": 0, "exclusions": {"names": []}, "quick": {"rows": 9}},
        "architecture": "power-gated",
        "libraries": [{"name": "l", "sha256": "b" * 64, "multipliers": 4}],
        "data": {"calibration": data, "search": data, "test": None},
        "seed": 0,
        "population": 6,
        "generations": 2,
        "max_drop": 0.01,
        "float_accuracy": both,
        "int8_accuracy": both,
        "layers": [{"name": n, "kind": "conv2d", "macs": 9} for n in ("c1", "c2")],
        "front": [point | {"assignment": placed}],
        "selected": 0,
        "evaluated": [{"accuracy": 0.5, "relative_energy": 0.5}],
        "evaluations": 1,
        "seconds": {"search": 1.0, "total": 2.0},
    }
    return json.dumps(document).encode()


def operands() -> bytes:
    """The operands of a layer of `plan`."""
    layer = {
        "name": "c1",
        "multiplier": "cut9",
        "zero_point": 0,
        "activations": [1] * 256,
        "weights": [2] * 256,
        "product_error": {"mean": 0.5, "absolute": 1.0, "deviation": 2.0, "product": 3.0},
        "weight_changes": {"share": 0.5, "mean_step": 1.5, "largest_step": 3},
        "output_error": {"before": 0.9, "after": 0.1},
    }
    return json.dumps({"version": 1, "images": 2, "first_code": 0, "layers": [layer]}).encode()


def results() -> list[bytes]:
    """See `readers._results` for the first byte."""
    return [b"\0" + front(), b"\1" + plan(), b"\2" + manifest(), b"\3" + operands()]


@lru_cache(maxsize=1)
def store() -> bytes:
    """A store with one evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.sqlite"
        with SqliteMemory(path, IDENTITY, resume=False) as memory:
            memory.put(NAMES, Outcome(np.arange(21) % 3 == 0, np.full(21, 0.5, np.float32)))
        return path.read_bytes()


_CELLS: dict[int, Any] = {0: None, 1: 5, 2: 2.5, 3: "text", 4: b"blob", 5: -1, 6: 1 << 62}


def rows() -> list[bytes]:
    """Types of the two cells of an evaluation and of an identity, then their content. The first row
    is sound."""
    sound = b"\x07\x07\x07\x07\x01\xff"
    return [sound] + [
        bytes([a, b, c]) + b"\x01\xff" for a in (0, 1, 3, 6) for b in (0, 3, 4) for c in (3, 4)
    ]


def overwrite_row(path: Path, data: bytes) -> None:
    """Replaces the evaluation's cells, and sometimes an identity's, as the bytes say."""
    cells = [_CELLS.get(byte % 8, data[3:]) for byte in data[:3].ljust(3, b"\0")]
    if data[:1] and data[0] % 8 == 7:
        cells[0] = 21
    valid = np.full(21, 0.5, np.float32).tobytes()
    cells.append(_CELLS.get(data[3] % 8, valid) if len(data) > 3 else valid)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = ["" if cell is None else cell for cell in cells]  # the columns are NOT NULL
        values = (row[0], row[1], row[3])
        connection.execute("UPDATE evaluation SET images = ?, correct = ?, divergences = ?", values)
        if len(data) > 2 and data[2] & 8:
            connection.execute("UPDATE identity SET value = ? WHERE key = 'model'", row[2:3])
