"""Arrays as TVM writes them: the parameter file of `relay.save_param_dict`, and the constants in
the metadata section of a Relay text. Bounded: nothing is allocated that the file does not hold."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alwann_c.errors import InputError

Array = npt.NDArray[Any]
MAX_PARAMS_BYTES = 2 << 30
MAX_PARAMS = 100_000
MAX_RANK = 16

_LIST_MAGIC = 0xF7E58D4F05049CB7
_ARRAY_MAGIC = 0xDD5E40F096B4A13F
_KINDS = {0: "i", 1: "u", 2: "f"}
"""DLPack's type codes of what is taken."""


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.view, self.at = memoryview(content), 0

    def take(self, count: int) -> memoryview:
        if count < 0 or self.at + count > len(self.view):
            raise ValueError(f"it ends at byte {len(self.view)}, {self.at + count} are needed")
        self.at += count
        return self.view[self.at - count : self.at]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def number(self) -> int:
        return self.numbers("Q")[0]

    def array(self) -> Array:
        magic, _, _, _, rank, kind, bits, lanes = self.numbers("QQiiiBBH")
        if magic != _ARRAY_MAGIC:
            raise ValueError("no array where one is due")
        if (
            not 0 <= rank <= MAX_RANK
            or lanes != 1
            or kind not in _KINDS
            or bits not in (8, 16, 32, 64)
        ):
            raise ValueError(
                f"an array of rank {rank}, type code {kind}, {bits} bits, {lanes} lanes"
            )
        if kind == 2 and bits == 8:
            raise ValueError("8-bit floats")
        shape = self.numbers(f"{rank}q")
        dtype = np.dtype(f"<{_KINDS[kind]}{bits // 8}")
        size = self.numbers("q")[0]
        if any(extent < 0 for extent in shape) or math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{size} bytes do not fill shape {list(shape)[:8]}")
        return np.frombuffer(self.take(size), dtype).reshape(shape)


def read_params(path: Path) -> dict[str, Array]:
    """Arrays by name. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; write it with relay.save_param_dict(params)")
    if path.stat().st_size > MAX_PARAMS_BYTES:
        raise InputError(f"{path}: larger than {MAX_PARAMS_BYTES} bytes")
    try:
        reader = _Reader(path.read_bytes())
        if reader.number() != _LIST_MAGIC:
            raise ValueError("its first bytes are others")
        reader.number()
        count = reader.number()
        if count > MAX_PARAMS:
            raise ValueError(f"{count} names")
        names = [bytes(reader.take(reader.number())).decode() for _ in range(count)]
        if reader.number() != count:
            raise ValueError("as many arrays as names are due")
        return {name: reader.array() for name in names}
    except (ValueError, OSError) as e:
        raise InputError(
            f"{path}: not a parameter file ({e}); write it with relay.save_param_dict(params)"
        ) from e


def read_metadata(text: str) -> Mapping[tuple[str, int], Any]:
    """Values of a metadata section by kind and index: arrays and whole numbers.

    Raises ValueError on anything else than TVM writes.
    """
    try:
        document = json.loads(text)
        nodes = document["nodes"]
        stored = [base64.b64decode(part, validate=True) for part in document.get("b64ndarrays", [])]
        root = nodes[document["root"]]
        found: dict[tuple[str, int], Any] = {}
        for kind, where in zip(root.get("keys", []), root.get("data", []), strict=True):
            for index, item in enumerate(nodes[where]["data"]):
                found[str(kind), index] = _value(nodes[item], stored)
    except (
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        binascii.Error,
        RecursionError,
    ) as e:
        raise ValueError(f"its metadata is not what TVM writes ({type(e).__name__}: {e})") from e
    return found


def _value(node: dict[str, Any], stored: list[bytes]) -> Any:
    kind = node["type_key"]
    if kind == "relay.Constant":
        return _Reader(stored[int(node["attrs"]["data"])]).array()
    if kind == "runtime.BoxInt":
        return int(node["repr_str"])
    if kind == "IntImm":
        return int(node["attrs"]["value"])
    return None
