"""Every reader of a file, as a function of hostile bytes: it returns, or raises `InputError`.

Shared by the property tests, the replay of the corpus and `tools/fuzz.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import circuit_readers
import circuit_seeds
import model_readers
import model_seeds
import numpy as np
import seeds

from alwann_c.cli.recorded import recorded_beside
from alwann_c.codegen.device import resolve_device
from alwann_c.dataset import load_dataset
from alwann_c.deploy import MANIFEST, check_files, seal
from alwann_c.errors import InputError
from alwann_c.evaluation import Outcome
from alwann_c.plan import Plan, load_plan, scheme_of
from alwann_c.report.operands import operands_section
from alwann_c.report.provenance import provenance_section
from alwann_c.report.results import load_results
from alwann_c.search.store import SqliteMemory
from alwann_c.targets import bind, load_builtin_library, load_library, load_target

MAX_MESSAGE = 10_000


@dataclass(frozen=True)
class Reader:
    """`read(data, folder)` writes hostile `data` into `folder` and reads it; `seeds` are valid."""

    read: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]


def feed(reader: Reader, data: bytes, folder: Path) -> bool:
    """Whether the input was taken. Any exception but a readable InputError passes through."""
    try:
        reader.read(data, folder)
    except InputError as e:
        message = str(e)
        assert message.isprintable(), f"not one printable line: {message!r}"
        assert 0 < len(message) <= MAX_MESSAGE, f"a message of {len(message)} characters"
        return False
    return True


def _target(data: bytes, folder: Path) -> None:
    path = folder / "t.toml"
    path.write_bytes(data)
    bind(load_target(path), load_builtin_library())


def _library(data: bytes, folder: Path) -> None:
    seeds.write_tables(folder)
    (folder / "library.toml").write_bytes(data)
    load_library(folder)


def _table(data: bytes, folder: Path) -> None:
    """The first byte chooses the format, the rest is the table file."""
    kind = data[:1] or b"\0"
    name = "t.npy" if kind[0] & 1 else "t.bin"
    signed, bits = bool(kind[0] & 2), 2 if kind[0] & 4 else 8
    (folder / name).write_bytes(data[1:])
    (folder / "library.toml").write_text(
        f'name = "l"\n[[multiplier]]\nname = "m"\ntable = "{name}"\n'
        f"signed = {str(signed).lower()}\nbits = {bits}\n",
        encoding="utf-8",
    )
    load_library(folder)


def _use_dataset(path: Path) -> None:
    data = load_dataset(path)
    data.images(0, 2)
    shape = data.raw.shape[1:]
    nhwc = data.description.layout == "NHWC"
    data.check((shape[2], *shape[:2]) if nhwc else shape, 4, need_labels=True)


def _dataset(data: bytes, folder: Path) -> None:
    (folder / "d.npz").write_bytes(seeds.archive())
    (folder / "d.toml").write_bytes(data)
    _use_dataset(folder / "d.toml")


def _archive(data: bytes, folder: Path) -> None:
    (folder / "d.npz").write_bytes(data)
    _use_dataset(folder / "d.npz")


def _member(data: bytes, folder: Path) -> None:
    """One array of a sound archive: the first byte chooses which, and whether it is deflated."""
    kind = (data[:1] or b"\0")[0]
    method = zipfile.ZIP_DEFLATED if kind & 1 else zipfile.ZIP_STORED
    members = {"images.npy": seeds.member("images"), "labels.npy": seeds.member("labels")}
    members["labels.npy" if kind & 2 else "images.npy"] = data[1:]
    with zipfile.ZipFile(folder / "d.npz", "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    _use_dataset(folder / "d.npz")


def _plan(data: bytes, folder: Path) -> None:
    path = folder / "plan.json"
    path.write_bytes(data)
    plan = load_plan(path)
    scheme_of(plan)
    plan.sha256  # noqa: B018
    json.dumps(plan.model_dump(mode="json"), allow_nan=False)
    plan.approximations(seeds.case().quantized, seeds.library())


def _sealed_plan(data: bytes, folder: Path) -> None:
    """The same with a seal that fits, where the bytes are a plan at all."""
    try:
        plan = Plan.model_validate(json.loads(data))
    except (ValueError, RecursionError):
        _plan(data, folder)
        return
    document = plan.model_dump(mode="json") | {"content_sha256": plan.sha256}
    _plan(json.dumps(document).encode(), folder)


def _plan_array(data: bytes, folder: Path) -> None:
    """A sound plan, one of whose arrays holds these bytes, compressed."""
    shape, _, content = data.partition(b"\n")
    document = json.loads(seeds.plan())
    layer = next(entry for entry in document["layers"] if entry["weight"] is not None)
    layer["weight"]["data"] = seeds.base64_text(zlib.compress(content))
    try:
        layer["weight"]["shape"] = json.loads(shape)
    except (ValueError, RecursionError):
        layer["weight"]["data"] = shape.decode("latin-1")
    _sealed_plan(json.dumps(document).encode(), folder)


def _use_manifest(folder: Path) -> None:
    (folder / "module.so").write_bytes(seeds.MODULE)
    _, manifest = check_files(folder)
    resolve_device(manifest.device)
    manifest.self_test.inputs(manifest.input.shape)


def _manifest(data: bytes, folder: Path) -> None:
    (folder / MANIFEST).write_bytes(data)
    _use_manifest(folder)


def _with_seal(data: bytes) -> bytes:
    """A manifest of `MODULE` with a seal that fits; the bytes themselves where they are no object."""
    try:
        document = json.loads(data)
        document["module_sha256"] = hashlib.sha256(seeds.MODULE).hexdigest()
        document["manifest_sha256"] = seal(document)
        return json.dumps(document).encode()
    except (ValueError, TypeError, RecursionError):
        return data


def _sealed(data: bytes, folder: Path) -> None:
    """The same with a seal that fits."""
    _manifest(_with_seal(data), folder)


def _rtl_manifest(data: bytes, folder: Path) -> None:
    """What `export-rtl` reads of a manifest with a seal that fits; the files it names are not read."""
    (folder / MANIFEST).write_bytes(_with_seal(data))
    recorded = recorded_beside(folder / "plan.json")
    for source in (recorded.model, recorded.calibration):
        os.path.isfile(source or "")


def _results(data: bytes, folder: Path) -> None:
    """The first byte chooses which file of an output folder the rest replaces."""
    files = {
        "front.json": seeds.front(),
        "plan.json": seeds.plan(),
        MANIFEST: seeds.manifest(),
        "operands.json": seeds.operands(),
    }
    files[list(files)[(data[:1] or b"\0")[0] % 4]] = data[1:]
    for name, content in files.items():
        (folder / name).write_bytes(content)
    results = load_results(folder)
    provenance_section(results)
    operands_section(results)


def _store(data: bytes, folder: Path) -> None:
    path = folder / "e.sqlite"
    for side in ("-wal", "-shm", "-journal"):
        (folder / f"{path.name}{side}").unlink(missing_ok=True)
    path.write_bytes(data)
    with SqliteMemory(path, seeds.IDENTITY, resume=True) as memory:
        memory.get(seeds.NAMES)
        memory.put(("a", "b"), Outcome(np.ones(5, bool), np.full(5, 0.5, np.float32)))
    with SqliteMemory(path, seeds.IDENTITY | {"model": "other"}, resume=False) as memory:
        assert memory.get(seeds.NAMES) is None


def _row(data: bytes, folder: Path) -> None:
    """A sound store whose cells are not of the declared types."""
    path = folder / "e.sqlite"
    path.write_bytes(seeds.store())
    seeds.overwrite_row(path, data)
    with SqliteMemory(path, seeds.IDENTITY, resume=True) as memory:
        memory.get(seeds.NAMES)


READERS: dict[str, Reader] = {
    "target": Reader(_target, seeds.targets),
    "library": Reader(_library, lambda: [seeds.LIBRARY]),
    "table": Reader(_table, seeds.tables),
    "dataset": Reader(_dataset, lambda: [seeds.DATASET]),
    "archive": Reader(_archive, lambda: [seeds.archive()]),
    "member": Reader(_member, seeds.members),
    "plan": Reader(_plan, lambda: [seeds.plan()]),
    "plan-sealed": Reader(_sealed_plan, lambda: [seeds.plan()]),
    "plan-array": Reader(_plan_array, seeds.arrays),
    "manifest": Reader(_manifest, lambda: [seeds.manifest()]),
    "manifest-sealed": Reader(_sealed, lambda: [seeds.manifest()]),
    "rtl-manifest": Reader(_rtl_manifest, lambda: [seeds.manifest()]),
    "results": Reader(_results, seeds.results),
    "store": Reader(_store, lambda: [seeds.store()]),
    "store-row": Reader(_row, seeds.rows),
    "onnx-file": Reader(model_readers.onnx_file, lambda: [seeds.network().SerializeToString()]),
    "onnx-external": Reader(model_readers.onnx_external, model_seeds.external_weights),
    "onnx": Reader(model_readers.imported_onnx, lambda: [seeds.network().SerializeToString()]),
    "onnx-fields": Reader(model_readers.onnx_fields, model_seeds.changes),
    "tflite-file": Reader(model_readers.tflite_file, model_seeds.tflite_models),
    "tflite": Reader(model_readers.imported_tflite, model_seeds.tflite_models),
    "relay-text": Reader(model_readers.relay_text, model_seeds.relay_programs),
    "relay-params": Reader(model_readers.relay_params, model_seeds.relay_params),
    "relay-metadata": Reader(model_readers.relay_metadata, model_seeds.relay_metadata),
    "relay": Reader(model_readers.imported_relay, model_seeds.relay_programs),
    "pt2-archive": Reader(model_readers.pt2_archive, model_seeds.pt2_archives),
    "pt2-document": Reader(model_readers.pt2_document, model_seeds.pt2_documents),
    "pt2": Reader(model_readers.imported_pt2, model_seeds.pt2_documents),
    "netlist": Reader(circuit_readers.netlist, lambda: [circuit_seeds.NETLIST]),
    "import-table": Reader(circuit_readers.imported_table, circuit_seeds.tables),
    "import-verilog": Reader(circuit_readers.imported_verilog, circuit_seeds.verilog),
    "import-c": Reader(circuit_readers.imported_c, lambda: [circuit_seeds.C_FUNCTION]),
    "liberty": Reader(circuit_readers.liberty, lambda: [circuit_seeds.LIBERTY]),
    "evolution": Reader(circuit_readers.campaign, lambda: [circuit_seeds.EVOLUTION]),
}
"""Readers by name."""
