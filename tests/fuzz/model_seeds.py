"""Valid models of the formats beside ONNX, and the parts of them that are fuzzed alone."""

from __future__ import annotations

import base64
import io
import json
import shutil
import zipfile
from pathlib import Path

import seeds

FIXTURES = Path(__file__).parents[1] / "fixtures"
_PROGRAM = "models/model.json"


def changes() -> list[bytes]:
    """What `onnx_fields.altered` is to do; the first, another operator set, leaves a sound network."""
    return [bytes([0, 0, 6, 17]), bytes(8), bytes(range(48))]


def external_weights() -> list[bytes]:
    """See `model_readers.onnx_external`: the first weight behind three bytes of something else."""
    content = seeds.network().graph.initializer[0].raw_data
    return [f"w\n3\n{len(content)}\n".encode() + b"abc" + content]


def tflite_models() -> list[bytes]:
    """A float network and one of codes."""
    folder = FIXTURES / "tflite"
    return [(folder / f"{name}.tflite").read_bytes() for name in ("segmenting", "residual_int8")]


def relay_programs() -> list[bytes]:
    """A float program and one of codes; `write_params` writes the parameters of both."""
    return [(FIXTURES / "relay" / f"{name}.relay").read_bytes() for name in ("quantized", "float")]


def relay_params() -> list[bytes]:
    """Their parameter files."""
    return [(FIXTURES / "relay" / f"{name}.params").read_bytes() for name in ("quantized", "float")]


def write_params(folder: Path, data: bytes) -> None:
    """The parameters of the program of codes, or of the other one, as `m.params`."""
    name = "quantized" if b"qnn." in data else "float"
    shutil.copyfile(FIXTURES / "relay" / f"{name}.params", folder / "m.params")


def relay_metadata() -> list[bytes]:
    """A section of constants as TVM writes it: an array [2] of float32, and a whole number."""
    array = b"".join(
        (
            (0xDD5E40F096B4A13F).to_bytes(8, "little") + bytes(8),  # magic, reserved
            bytes([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 32, 1, 0]),  # CPU, rank 1, float32
            (2).to_bytes(8, "little") + (8).to_bytes(8, "little") + bytes(8),  # extent, size, data
        )
    )
    nodes = [
        {"type_key": ""},
        {"type_key": "Map", "keys": ["relay.Constant", "IntImm"], "data": [2, 3]},
        {"type_key": "Array", "data": [4]},
        {"type_key": "Array", "data": [5]},
        {"type_key": "relay.Constant", "attrs": {"data": "0"}},
        {"type_key": "IntImm", "attrs": {"dtype": "int32", "value": "7"}},
    ]
    document = {"root": 1, "nodes": nodes, "b64ndarrays": [base64.b64encode(array).decode()]}
    return [json.dumps(document).encode()]


def pt2_archives() -> list[bytes]:
    """A network as torch.export.save writes it."""
    return [(FIXTURES / "pt2" / "net.pt2").read_bytes()]


def pt2_documents() -> list[bytes]:
    """Its description of the program, in JSON."""
    with zipfile.ZipFile(FIXTURES / "pt2" / "net.pt2") as archive:
        return [archive.read(f"net/{_PROGRAM}")]


def pt2_with(document: bytes) -> bytes:
    """The archive with another description."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(FIXTURES / "pt2" / "net.pt2") as archive,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made,
    ):
        for name in archive.namelist():
            made.writestr(name, document if name.endswith(_PROGRAM) else archive.read(name))
    return buffer.getvalue()
