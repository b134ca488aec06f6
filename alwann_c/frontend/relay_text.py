"""Relay's text format (`#[version = "0.0.5"]`) -> its functions as plain data, by a grammar."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from alwann_c.errors import InputError, UnsupportedError

VERSION = "0.0.5"
MAX_TEXT_BYTES = 32 << 20
_VALUE_ERRORS = (ValueError, OverflowError, KeyError, SyntaxError)
"""Of numbers and strings that the grammar takes and Python does not."""
MAX_NESTING = 32
"""Brackets within brackets; what TVM prints stays below ten."""

GRAMMAR = r"""
start: version? function+
version: "#" "[" "version" "=" STRING "]"
function: "def" GLOBAL "(" [params] ")" ["->" type] block
params: param ("," param)*
param: LOCAL [":" type]
?block: "{" bindings "}"
bindings: binding* expr
binding: ["let"] LOCAL [":" type] "=" expr ";"
?expr: LOCAL -> local
    | GLOBAL -> function_value
    | NUMBER -> number
    | BOOL -> boolean
    | "meta" "[" NAME "]" "[" NUMBER "]" -> meta
    | expr FIELD -> field
    | expr "(" [arguments] ")" -> call
    | NAME "(" [arguments] ")" -> operation
    | "(" ")" -> items
    | "(" expr ")"
    | "(" expr "," [expr ("," expr)* [","]] ")" -> items
    | "fn" "(" [params] ")" ["->" type] block -> closure
    | "if" "(" expr ")" block "else" block -> branch
arguments: argument ("," argument)*
?argument: expr -> positional
    | NAME "=" attribute -> keyword
?attribute: NUMBER -> plain
    | BOOL -> boolean
    | STRING -> string
    | NAME -> word
    | "meta" "[" NAME "]" "[" NUMBER "]" -> meta
    | "[" [attribute ("," attribute)*] "]" -> listed
    | "(" [attribute ("," attribute)* [","]] ")" -> listed
    | "{" [pair ("," pair)*] "}" -> listed
pair: STRING "=" attribute | STRING ":" attribute
?type: "Tensor" "[" "(" [extent ("," extent)* [","]] ")" "," NAME "]" -> tensor
    | NAME -> scalar
    | "(" [type ("," type)* [","]] ")" -> types
    | "fn" "(" [type ("," type)*] ")" "->" type -> types
?extent: NUMBER -> plain
    | "?" -> unknown_extent
    | NAME -> unknown_extent

LOCAL: /%\d+(?!\w)|%\w+(\.\w+)*/
GLOBAL: /@[A-Za-z_][A-Za-z0-9_.]*/
FIELD: /\.\d+/
BOOL.3: /True\b|False\b/
NAME: /[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/
NUMBER.2: /-?(\d+(\.\d*)?([eE][-+]?\d+)?|inf|nan)([fiu]\d*)?(?![A-Za-z0-9_])/
STRING: /"(\\.|[^"\\])*"/
COMMENT: /\/\*(.|\n)*?\*\/|\/\/[^\n]*/
%ignore COMMENT
%ignore /[ \t\r\n]+/
"""

_DTYPES = {
    "": np.int32, "f": np.float32, "f16": np.float16, "f32": np.float32, "f64": np.float64,
    "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
}  # fmt: skip


@dataclass(frozen=True)
class Local:
    """`%name`."""

    name: str


@dataclass(frozen=True)
class Field:
    """`value.index`."""

    value: Any
    index: int


@dataclass(frozen=True)
class Items:
    """`(a, b)`."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Meta:
    """`meta[kind][index]`: a value of the metadata section."""

    kind: str
    index: int


@dataclass(frozen=True, eq=False)
class Literal:
    """A number as an array of rank 0."""

    value: Any


@dataclass(frozen=True, eq=False)
class Operation:
    """`op(arguments, attribute=value)`, at a line of the text."""

    op: str
    arguments: tuple[Any, ...]
    attributes: dict[str, Any]
    line: int


@dataclass(frozen=True)
class TensorOf:
    """Type of a tensor; None for an open extent."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Function:
    """`def @name(parameters) { bindings; result }`; types are None where left out."""

    name: str
    parameters: list[tuple[str, TensorOf | None]]
    bindings: list[tuple[str, Any]]
    result: Any


@dataclass(frozen=True, eq=False)
class Unknown:
    """Something outside the taken subset: what it is, and where."""

    what: str


def _number(text: str) -> Any:
    found = re.fullmatch(r"(-?(?:[\d.]+(?:[eE][-+]?\d+)?|inf|nan))([a-z]\d*)?", text)
    assert found is not None
    digits, suffix = found.group(1), found.group(2) or ""
    is_float = suffix.startswith("f") or bool(re.search(r"[.eEn]", digits))
    dtype = np.float32 if is_float and not suffix else _DTYPES[suffix]
    if is_float:
        return np.asarray(float(digits)).astype(dtype)
    return np.array(int(digits), dtype)  # OverflowError where it does not fit


class _Builder:
    """Callbacks of the grammar's rules, called while the text is parsed: nothing is nested."""

    def start(self, parts: list[Any]) -> list[Function]:
        return [part for part in parts if isinstance(part, Function)]

    def version(self, parts: list[Any]) -> None:
        found = ast.literal_eval(str(parts[0]))
        if found != VERSION:
            raise UnsupportedError(f"version {found}; only {VERSION} is known")

    def function(self, parts: list[Any]) -> Function:
        name, parameters, _, (bindings, result) = parts
        return Function(str(name)[1:], parameters or [], bindings, result)

    def params(self, parts: list[Any]) -> list[Any]:
        return parts

    def param(self, parts: list[Any]) -> tuple[str, Any]:
        kind = parts[1] if isinstance(parts[1], TensorOf) else None
        return str(parts[0])[1:], kind

    def bindings(self, parts: list[Any]) -> tuple[list[Any], Any]:
        return parts[:-1], parts[-1]

    def binding(self, parts: list[Any]) -> tuple[str, Any]:
        return str(parts[-3])[1:], parts[-1]

    def local(self, parts: list[Any]) -> Local:
        return Local(str(parts[0])[1:])

    def number(self, parts: list[Any]) -> Literal:
        return Literal(_number(str(parts[0])))

    def boolean(self, parts: list[Any]) -> Any:
        return str(parts[0]) == "True"

    def meta(self, parts: list[Any]) -> Meta:
        return Meta(str(parts[0]), int(_number(str(parts[1]))))

    def field(self, parts: list[Any]) -> Field:
        return Field(parts[0], int(str(parts[1])[1:]))

    def items(self, parts: list[Any]) -> Items:
        return Items(tuple(part for part in parts if part is not None))

    def operation(self, parts: list[Any]) -> Operation:
        name, given = parts[0], parts[1] or []
        plain = tuple(value for key, value in given if key is None)
        named = {key: value for key, value in given if key is not None}
        return Operation(str(name), plain, named, name.line)

    def arguments(self, parts: list[Any]) -> list[Any]:
        return parts

    def positional(self, parts: list[Any]) -> tuple[None, Any]:
        return None, parts[0]

    def keyword(self, parts: list[Any]) -> tuple[str, Any]:
        return str(parts[0]), parts[1]

    def plain(self, parts: list[Any]) -> Any:
        return _number(str(parts[0])).item()

    def string(self, parts: list[Any]) -> Any:
        return ast.literal_eval(str(parts[0]))

    def word(self, parts: list[Any]) -> Any:
        return None if str(parts[0]) == "None" else str(parts[0])

    def listed(self, parts: list[Any]) -> list[Any]:
        return [part for part in parts if part is not None]

    def pair(self, parts: list[Any]) -> list[Any]:
        return parts

    def tensor(self, parts: list[Any]) -> TensorOf:
        *shape, dtype = parts
        kept = [e for e in shape if e is not None]
        return TensorOf(tuple(e if isinstance(e, int) else None for e in kept), str(dtype))

    def unknown_extent(self, _parts: list[Any]) -> str:
        return "?"

    def scalar(self, parts: list[Any]) -> TensorOf:
        return TensorOf((), str(parts[0]))

    def types(self, _parts: list[Any]) -> Unknown:
        return Unknown("a type that is no tensor")

    def function_value(self, _parts: list[Any]) -> Unknown:
        return Unknown("a function as a value")

    def call(self, _parts: list[Any]) -> Unknown:
        return Unknown("a call of a function")

    def closure(self, _parts: list[Any]) -> Unknown:
        return Unknown("a function inside the function")

    def branch(self, _parts: list[Any]) -> Unknown:
        return Unknown("a branch")


@lru_cache(maxsize=1)
def _parser() -> Any:
    try:
        import lark
    except ImportError as e:
        raise InputError("Relay programs need the extra: pip install 'alwann-c[relay]'") from e
    return lark.Lark(GRAMMAR, parser="lalr", transformer=_Builder(), maybe_placeholders=True)


def _check_nesting(text: str) -> None:
    """Refuses what would be parsed too deep."""
    depth = 0
    for bracket in re.findall(r"[(){}\[\]]", text):
        depth += 1 if bracket in "({[" else -1
        if depth > MAX_NESTING:
            raise InputError(f"brackets nested more than {MAX_NESTING} deep")


def parse(text: str) -> list[Function]:
    """Functions of a Relay text without its metadata section.

    Raises InputError saying line and column of what does not belong to the format.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise InputError(f"{len(text)} characters; at most {MAX_TEXT_BYTES} are taken")
    parser = _parser()
    import lark

    _check_nesting(text)
    try:
        functions: list[Function] = parser.parse(text)
    except lark.exceptions.UnexpectedInput as e:
        lines = text.splitlines()
        line = lines[e.line - 1].strip()[:80] if 0 < e.line <= len(lines) else "its end"
        raise InputError(
            f"line {e.line}, column {e.column}: '{line}' is no Relay text; print the module with "
            "astext()"
        ) from e
    except _VALUE_ERRORS as e:
        raise InputError(f"not Relay text ({e}); print the module with astext()") from e
    return functions
