"""Relay programs, the language TVM had before Relax: a text file and a parameter file -> Relax.

net.relay     mod.astext()
net.params    relay.save_param_dict(params), beside it or named by `params=`
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.imported import (
    CONSTANT_OUTPUT,
    Imported,
    ImportOptions,
    digest,
    fixed_value,
    known_inputs,
)
from alwann_c.frontend.integers import BYTES
from alwann_c.frontend.onnx_file import MAX_NODES
from alwann_c.frontend.reasons import reason
from alwann_c.frontend.relax_graph import Graph, build_graph
from alwann_c.frontend.relay_arrays import read_metadata, read_params
from alwann_c.frontend.relay_context import Codes, Constant, Context, Value
from alwann_c.frontend.relay_ops import OPERATORS
from alwann_c.frontend.relay_text import (
    Field,
    Function,
    Items,
    Literal,
    Local,
    Meta,
    Operation,
    TensorOf,
    Unknown,
    parse,
)

Array = npt.NDArray[Any]
MAX_FILE_BYTES = 1 << 30
_METADATA = "#[metadata]"
_OTHER = (
    "apply relay.transform passes that remove it (SimplifyInference, FoldConstant), or give the "
    "ONNX of the network"
)


@dataclass(frozen=True, eq=False)
class _Program:
    """A parsed file: `constants` are the parameters by name in the text."""

    label: str
    main: Function
    constants: Mapping[str, Array]
    metadata: Mapping[tuple[str, int], Any]
    name: str
    type: TensorOf


def _read(path: Path) -> tuple[Function, Mapping[tuple[str, int], Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; write it with mod.astext()")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {MAX_FILE_BYTES} bytes; put weights into parameters")
    try:
        text, _, metadata = path.read_text(encoding="utf-8").partition(_METADATA)
        functions = parse(text)
        values = read_metadata(metadata) if metadata.strip() else {}
    except (InputError, ValueError, OSError) as e:
        kind = type(e) if isinstance(e, InputError) else InputError
        raise kind(f"{path}: {e}") from e
    mains = [function for function in functions if function.name == "main"]
    if len(mains) != 1:
        raise InputError(f"{path}: one function @main is expected, there are {len(mains)}")
    if len(mains[0].bindings) > MAX_NODES:
        raise InputError(f"{path}: more than {MAX_NODES} operators")
    return mains[0], values


def _named(name: str) -> str:
    """How Relay's printer spells a name."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _constants(path: Path, main: Function, arrays: Mapping[str, Array]) -> dict[str, Array]:
    spelled = {_named(name): value for name, value in arrays.items()}
    found: dict[str, Array] = {}
    for name, kind in main.parameters:
        value = arrays.get(name, spelled.get(name))
        if value is None:
            continue
        if kind is not None and (kind.shape != value.shape or kind.dtype != str(value.dtype)):
            raise InputError(
                f"{path}: parameter '{name}' is {kind.dtype} {list(kind.shape)} in the text, "
                f"{value.dtype} {list(value.shape)} in the parameter file; give those that belong "
                "together"
            )
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InputError(f"{path}: parameter '{name}' holds NaN or infinity")
        found[name] = value
    return found


def _program(path: Path, options: ImportOptions) -> tuple[_Program, tuple[Path, ...]]:
    main, metadata = _read(path)
    params = options.params or path.with_suffix(".params")
    arrays = read_params(params) if options.params is not None or params.is_file() else {}
    files = (path, params) if arrays else (path,)
    known_inputs(str(path), options.fixed, (name for name, _ in main.parameters))
    kinds = dict(main.parameters)
    given = {}
    for name, value in options.fixed.items():
        kind = kinds[name]
        given[name] = (
            np.asarray(value)
            if kind is None
            else fixed_value(str(path), name, value, kind.dtype, kind.shape)
        )
    constants = _constants(path, main, {**arrays, **given})
    inputs = [(name, kind) for name, kind in main.parameters if name not in constants]
    if len(inputs) != 1:
        names = ", ".join(name for name, _ in inputs) or "none"
        raise InputError(
            f"{path}: exactly one input is expected beside the parameters, there are: {names[:200]}"
            f"; put the weights into {params.name} (relay.save_param_dict)"
        )
    (name, kind) = inputs[0]
    if kind is None or kind.dtype not in ("float32", *BYTES):
        found = "of no type" if kind is None else kind.dtype
        raise UnsupportedError(
            f"{path}: input '{name}' is {found}; float32, int8 or uint8 is taken"
        )
    return _Program(str(path), main, constants, metadata, name, kind), files


def _shape(program: _Program, options: ImportOptions) -> list[int]:
    """Extents of the input, 0 for an open batch."""
    batch, *rest = program.type.shape or (None,)
    if options.input_shape is not None:
        asked = list(options.input_shape)
        fits = len(asked) == len(rest) and all(
            e in (None, a) for e, a in zip(rest, asked, strict=True)
        )
        if not fits:
            raise InputError(f"{program.label}: input '{program.name}' is {program.type.shape}")
        rest = list(asked)
    if any(extent is None for extent in rest):
        raise UnsupportedError(
            f"{program.label}: input '{program.name}' has open sizes beside the batch; give them "
            "(input_shape=(c, h, w), --input-shape c,h,w)"
        )
    return [batch or 0, *(extent or 0 for extent in rest)]


def _field_of(name: str) -> tuple[str, int]:
    """`tuple.0` as a variable and an index: names may hold dots, only what exists tells."""
    head, _, last = name.rpartition(".")
    return (head, int(last)) if head and last.isdecimal() and len(last) < 10 else (name, 0)


def _locals(expr: Any) -> set[str]:
    """Names an expression reads."""
    if isinstance(expr, Local):
        return {expr.name, _field_of(expr.name)[0]}
    if isinstance(expr, Field):
        return _locals(expr.value)
    parts = expr.values if isinstance(expr, Items) else ()
    parts = expr.arguments if isinstance(expr, Operation) else parts
    return set().union(*map(_locals, parts))


class _Converter:
    def __init__(self, program: _Program, graph: Graph, source: relax.Var) -> None:
        self.program, self.context = program, Context(graph)
        kind = program.type.dtype
        first: Value = source if kind == "float32" else Codes(source, kind)
        self.values: dict[str, Value] = {
            **{name: Constant(value, name) for name, value in program.constants.items()},
            program.name: first,
        }

    def value(self, expr: Any) -> Value:
        if isinstance(expr, Local):
            head, index = _field_of(expr.name)
            if expr.name not in self.values and head in self.values:
                return self.value(Field(Local(head), index))
            if expr.name not in self.values:
                raise InputError(f"{self.program.label}: '%{expr.name}' is read before it is made")
            return self.context.read(self.values[expr.name])
        if isinstance(expr, Literal):
            return Constant(expr.value)
        if isinstance(expr, Meta):
            return Constant(np.asarray(self.meta(expr)))
        if isinstance(expr, Items):
            return [self.value(part) for part in expr.values]
        if isinstance(expr, Field):
            whole = self.value(expr.value)
            if not isinstance(whole, list) or expr.index >= len(whole):
                raise InputError(f"{self.program.label}: '.{expr.index}' of no such tuple")
            field: Value = whole[expr.index]
            return field
        if isinstance(expr, Operation):
            return self.operation(expr)
        what = expr.what if isinstance(expr, Unknown) else "this expression"
        raise UnsupportedError(
            f"{self.program.label}: {what} is not supported (Relay 0.0.5); print the module before "
            "fusion and partitioning, with relay.transform.Inline() applied"
        )

    def meta(self, expr: Meta) -> Any:
        found = self.program.metadata.get((expr.kind, expr.index))
        if found is None:
            raise InputError(
                f"{self.program.label}: meta[{expr.kind}][{expr.index}] is missing; print the "
                "module with astext(show_meta_data=True)"
            )
        return found

    def operation(self, call: Operation) -> Value:
        converter = OPERATORS.get(call.op)
        where = f"{self.program.label}: operator {call.op} at line {call.line} (Relay text 0.0.5)"
        if converter is None:
            raise UnsupportedError(f"{where} is not supported; {_OTHER}")
        arguments = [self.value(part) for part in call.arguments]
        attributes = {
            key: self.meta(value) if isinstance(value, Meta) else value
            for key, value in call.attributes.items()
        }
        try:
            made = converter(self.context, arguments, attributes)
            if isinstance(made, Constant):
                self.context.budget.spend(made.value)
            return made
        except InputError:
            raise
        except Exception as e:
            raise UnsupportedError(f"{where} cannot be taken: {reason(e, _OTHER)}") from e

    def run(self, output: int) -> relax.Expr:
        main = self.program.main
        needed, live = _locals(main.result), []
        for name, expr in reversed(main.bindings):
            if name in needed:
                live.append((name, expr))
                needed |= _locals(expr)
        for name, expr in reversed(live):
            self.values[name] = self.value(expr)
        result = self.value(main.result)
        if isinstance(result, list):
            if output >= len(result):
                raise InputError(
                    f"{self.program.label}: it has no output {output}; it has 0 to {len(result) - 1}"
                )
            result = result[output]
        if isinstance(result, Constant):
            raise UnsupportedError(f"{self.program.label}: {CONSTANT_OUTPUT}")
        return self.context.real(result)


def _output(label: str, name: str | None) -> int:
    """Number of the output: Relay's outputs have no names."""
    if name is None:
        return 0
    if not name.isdecimal():
        raise InputError(f"{label}: outputs of a Relay program are numbered: 0, 1, …")
    return int(name)


def import_relay(path: Path, options: ImportOptions) -> Imported:
    """The network of a Relay text and its parameter file.

    Raises InputError (not Relay, parameters missing) or UnsupportedError (operator, line).
    """
    program, files = _program(path, options)
    output = _output(program.label, options.output)

    def body(graph: Graph, source: relax.Var) -> relax.Expr:
        try:
            return _Converter(program, graph, source).run(output)
        except RecursionError as e:
            raise InputError(f"{path}: expressions nested too deep; print it with astext()") from e

    module = build_graph(program.label, program.name, _shape(program, options), body)
    return Imported(module, program.name, str(output), digest(files), files)
