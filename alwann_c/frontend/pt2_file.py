"""What may be given to `torch.export.load`, which by itself trusts a file with everything.

PyTorch unpickles weights marked so, constants of custom classes and sample inputs, loads compiled
code (AOTInductor), calls any attribute of `torch` that a node names, and evaluates the text of
symbolic sizes. Here the archive is read by `zipfile`, bounded, everything of that kind is refused,
and what is left is written anew: PyTorch sees nothing that was not checked.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alwann_c.errors import InputError

MAX_BYTES = 2 << 30
MAX_JSON_BYTES = 256 << 20
MAX_ENTRIES = 100_000

_SAVE = "save it again with torch.export.save(program, path)"
_ENTRIES = re.compile(
    r"data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|models/model\.json|archive_format|archive_version|byteorder|version|\.data/\w+|extra/.*"
)
_SAMPLES = "data/sample_inputs/model.pt"
_TARGETS = re.compile(
    r"torch\.ops\.(aten|prims|prim|quantized_decomposed)\.(?!from_file)\w+(\.\w+)?"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|le|lt|ge|gt)"
)
_DECLARED = re.compile(r"Symbol\('([suz]\d+)'(?:, \w+=True)*\)")
_POWER = re.compile(r"\b([suz]\d+)\*\*\d\b(?!\s*\*\*)")
"""A size to a small power; others would be numbers of any length."""
_SYMBOL = re.compile(r"[A-Za-z_]\w*")
_ARITHMETIC = {
    "Max", "Min", "Mod", "FloorDiv", "CleanDiv", "CeilToInt", "PythonMod", "Integer",
    "Eq", "Ne", "Ge", "Le", "Gt", "Lt", "True", "False", "true", "false", "oo", "int_oo",
}  # fmt: skip


def _contents(path: Path) -> dict[str, bytes]:
    """Entries by name below the archive's folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise InputError(f"{path}: {len(entries)} entries; at most {MAX_ENTRIES} are taken")
            names = [entry.filename for entry in entries]
            if len(set(names)) < len(names):
                raise InputError(f"{path}: entries of the same name; {_SAVE}")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise InputError(f"{path}: compressed entries, PyTorch writes none; {_SAVE}")
            total = sum(entry.file_size for entry in entries)
            if total > min(MAX_BYTES, path.stat().st_size):
                raise InputError(f"{path}: its entries claim {total} bytes; {_SAVE}")
            tops = {name.split("/", 1)[0] for name in names}
            if len(tops) != 1 or not all("/" in name for name in names):
                raise InputError(f"{path}: not an archive of one folder; {_SAVE}")
            return {name.split("/", 1)[1]: archive.read(name) for name in names}
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        ValueError,
        NotImplementedError,  # a compression that zipfile does not know
        RuntimeError,  # encrypted
    ) as e:
        raise InputError(f"{path}: not a .pt2 file ({e}); {_SAVE}") from e


def _document(path: Path, contents: dict[str, bytes], name: str) -> Any:
    content = contents.get(name)
    if content is None or len(content) > MAX_JSON_BYTES:
        raise InputError(f"{path}: '{name}' is missing or too large; {_SAVE}")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as e:
        raise InputError(f"{path}: '{name}' is no JSON ({e}); {_SAVE}") from e


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON document."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _check_program(path: Path, document: Any) -> None:
    for part in _objects(document):
        target = part.get("target")
        if "inputs" in part and isinstance(target, str) and not _TARGETS.fullmatch(target):
            raise InputError(
                f"{path}: operator '{target}' is none of PyTorch's own tensor operators; export "
                "the network without it"
            )
        if "guards_code" in part:
            part["guards_code"] = []
        for key in ("expr_str", "as_expr"):
            text = part.get(key)
            if isinstance(text, str) and not _is_arithmetic(text):
                raise InputError(f"{path}: '{text[:60]}' is no size; {_SAVE}")


def _is_arithmetic(text: str) -> bool:
    """Whether sympy, which evaluates what it is given, would find numbers and sizes only."""
    text = _POWER.sub(r"\1", _DECLARED.sub(r"\1", text))
    if len(text) > 1000 or re.search(r"[^\w\s()+*/<>=,.%-]|\.\D|__|\*\*|<<|>>", text):
        return False
    return all(
        name in _ARITHMETIC or re.fullmatch(r"[suz]\d+", name) for name in _SYMBOL.findall(text)
    )


def _check_payload(path: Path, config: Any, what: str) -> None:
    for part in _objects(config):
        if part.get("use_pickle") or re.match(
            r"(custom|opaque)_obj", str(part.get("path_name", ""))
        ):
            raise InputError(
                f"{path}: its {what} hold pickled objects, which can run code; export a network of "
                "plain tensors"
            )


def checked_archive(path: Path) -> io.BytesIO:
    """The archive as it may be loaded. Raises InputError naming what is refused."""
    contents = _contents(path)
    contents.pop(_SAMPLES, None)
    for name in contents:
        if not _ENTRIES.fullmatch(name):
            raise InputError(f"{path}: entry '{name[:80]}' may hold code and is refused; {_SAVE}")
    for kind in ("weights", "constants"):
        _check_payload(
            path, _document(path, contents, f"data/{kind}/model_{kind}_config.json"), kind
        )
    program = _document(path, contents, "models/model.json")
    _check_program(path, program)
    contents["models/model.json"] = json.dumps(program).encode()
    contents[_SAMPLES] = b""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(f"model/{name}", content)
    buffer.seek(0)
    return buffer
