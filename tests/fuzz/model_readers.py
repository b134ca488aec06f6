"""Readers of models, see `readers`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import model_seeds
import onnx
import seeds
from onnx_fields import altered

from alwann_c.frontend.onnx_file import read_onnx
from alwann_c.frontend.pt2_file import checked_archive
from alwann_c.frontend.relay_arrays import read_metadata, read_params
from alwann_c.frontend.relay_text import parse
from alwann_c.frontend.tflite_file import read_tflite
from alwann_c.model import load


def of_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], None]:
    """Reads the bytes as a file of that name."""

    def reader(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        read(path)

    return reader


onnx_file = of_file("m.onnx", read_onnx)
imported_onnx = of_file("m.onnx", load)
tflite_file = of_file("m.tflite", read_tflite)
imported_tflite = of_file("m.tflite", load)


def onnx_fields(data: bytes, folder: Path) -> None:
    """A sound network with fields replaced as the bytes say."""
    imported_onnx(altered(seeds.network(), data).SerializeToString(), folder)


def onnx_external(data: bytes, folder: Path) -> None:
    """A sound network whose first weight lies in a file: location, offset and length, a line each,
    then what the file `w` holds."""
    location, offset, length, content = [*data.split(b"\n", 3), b"", b"", b""][:4]
    (folder / "w").write_bytes(content)
    network = onnx.ModelProto()
    network.CopyFrom(seeds.network())
    weight = network.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        weight.external_data.add(key=key, value=value.decode("utf-8", "replace"))
    path = folder / "m.onnx"
    path.write_bytes(network.SerializeToString())
    read, files = read_onnx(path)
    assert {file.resolve().parent for file in files} == {folder.resolve()}
    assert len(read.graph.initializer[0].raw_data) <= len(content)


def relay_text(data: bytes, folder: Path) -> None:
    del folder
    parse(data.decode("utf-8", "replace").partition("#[metadata]")[0])


def relay_params(data: bytes, folder: Path) -> None:
    """No more comes out than the file holds."""
    path = folder / "m.params"
    path.write_bytes(data)
    assert sum(array.nbytes for array in read_params(path).values()) <= len(data)


def relay_metadata(data: bytes, folder: Path) -> None:
    del folder
    with suppress(ValueError):  # `frontend.relay` makes it an InputError naming the file
        read_metadata(data.decode("utf-8", "replace"))


def imported_relay(data: bytes, folder: Path) -> None:
    path = folder / "m.relay"
    path.write_bytes(data)
    model_seeds.write_params(folder, data)
    load(path)


pt2_archive = of_file("m.pt2", checked_archive)


def pt2_document(data: bytes, folder: Path) -> None:
    """A sound archive whose description of the program holds these bytes."""
    pt2_archive(model_seeds.pt2_with(data), folder)


def imported_pt2(data: bytes, folder: Path) -> None:
    """The same, read to its end where PyTorch is there."""
    path = folder / "m.pt2"
    path.write_bytes(model_seeds.pt2_with(data))
    load(path)
