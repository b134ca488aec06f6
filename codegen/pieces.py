"""Cuts `main` before every integer layer, so that it can be run layer by layer.

Piece 0 is what comes before the first layer, piece i + 1 is layer i and what follows it until the
next one:

    main(image, w0, w1) { a = quantize(image); b = conv2d(a, w0); c = conv2d(b, w1, b); mean(c) }
=>
    piece0(image) -> (a,)    piece1(a, w0) -> (b,)    piece2(b, w1) -> (mean(c),)

Values that several pieces read (shortcuts) stay with the caller, by slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
from tvm import relax

from alwann_c.ir import ops
from alwann_c.ir.rewrite import Rebuilder, bindings, operands

Part = Sequence[tuple[relax.Var, relax.Expr]]
"""Bindings in order."""


@dataclass(frozen=True)
class Piece:
    """A function of the module: reads the tensors in the slots `reads` (and then its layer's
    operands), writes those in `writes`; the slots `done` are not read by any later piece."""

    name: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    done: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pieces:
    """The pieces in order, as functions of `module`; slot 0 holds the images.

    `inputs` and `residuals`: slots of what a layer reads, and of what it adds; `result`: slot of
    the output after the last piece; `live_bytes`: size, for one image, of what is kept before each
    layer.
    """

    module: tvm.IRModule
    pieces: tuple[Piece, ...]
    inputs: dict[str, int]
    residuals: dict[str, int]
    result: int
    live_bytes: tuple[int, ...]


class _Cut(Rebuilder):
    """One piece as a Relax function."""

    def function(
        self,
        name: str,
        part: Part,
        reads: Sequence[relax.Var],
        writes: Sequence[relax.Var],
        extra: Sequence[relax.Var],
    ) -> relax.Function:
        """Bindings `part` as a function of `reads` and `extra` that gives the tuple `writes`."""
        taken = {var: relax.Var(var.name, var.ty) for var in [*reads, *extra]}
        self._env.update(taken)
        with self.builder.function(name, list(taken.values())):
            with self.builder.dataflow():
                for var, value in part:
                    self._env[var] = self.emit(self.remap(value))
                given = relax.Tuple([self.lookup(var) for var in writes])
                output = self.builder.emit_output(given)
            self.builder.emit_func_output(output)
        made = self.builder.get()[name].with_attr("global_symbol", name)
        return relax.utils.copy_with_new_vars(made)


def _parts(mod: tvm.IRModule) -> list[list[tuple[relax.Var, relax.Expr]]]:
    """The bindings of each piece."""
    parts: list[list[tuple[relax.Var, relax.Expr]]] = [[]]
    for var, value in bindings(mod):
        if ops.is_layer(value):
            parts.append([])
        parts[-1].append((var, value))
    return parts


def _image_bytes(kind: Any) -> int:
    """Size for one image of a tensor type, or of a tuple of them; dynamic axes count once."""
    if isinstance(kind, tvm.ir.TupleType):
        return sum(_image_bytes(field) for field in kind.fields)
    sizes = [int(d) if isinstance(d, tvm.tirx.IntImm) else 1 for d in list(kind.shape)[1:]]
    return prod(sizes) * max(1, int(tvm.DataType(kind.dtype).bits) // 8)


def _live_bytes(pieces: Sequence[Piece], sizes: Mapping[int, int]) -> tuple[int, ...]:
    """Size of what is kept after each piece but the last, for one image."""
    live, found = {0}, []
    for piece in pieces[:-1]:
        live = (live | set(piece.writes)) - set(piece.done)
        found.append(sum(sizes[slot] for slot in live))
    return tuple(found)


def _read(part: Part, lifted: set[relax.Var]) -> list[relax.Var]:
    """What a piece reads from outside, the operands of its layer left out."""
    inside = {var for var, _ in part}
    used = [o for _, value in part for o in operands(value) if isinstance(o, relax.Var)]
    return [var for var in dict.fromkeys(used) if var not in inside and var not in lifted]


def cut(mod: tvm.IRModule, params: Mapping[str, Sequence[relax.Var]]) -> Pieces:
    """Cuts `mod`, whose layers take their operands from the parameters `params[name]`.

    `main` is left out of the new module.
    """
    image, result = mod["main"].params[0], mod["main"].body.body
    parts = _parts(mod)
    reads = [_read(part, {param for group in params.values() for param in group}) for part in parts]
    functions = {gv: fn for gv, fn in mod.functions.items() if gv.name_hint != "main"}
    inputs: dict[str, relax.Var] = {}
    residuals: dict[str, relax.Var] = {}
    writes: list[list[relax.Var]] = []
    for i, part in enumerate(parts):
        later = {result}.union(*reads[i + 1 :])
        writes.append([var for var, _ in part if var in later])
        extra: Sequence[relax.Var] = ()
        if i > 0:
            call = part[0][1]
            name = ops.layer_name(call)
            extra = params[name]
            inputs[name] = call.args[0]
            added = call.args[1 + len(ops.LAYER_OPERANDS) :]
            residuals.update((name, var) for var in added if isinstance(var, relax.Var))
        function = _Cut(mod).function(f"piece{i}", part, reads[i], writes[i], extra)
        if relax.analysis.free_symbolic_vars(function):  # nothing read tells the number of images
            reads[i].append(image)
            function = _Cut(mod).function(f"piece{i}", part, reads[i], writes[i], extra)
        functions[tvm.ir.GlobalVar(f"piece{i}")] = function
    slots = {var: i for i, var in enumerate([image, *(var for group in writes for var in group)])}
    last = {var: i for i, group in enumerate(reads) for var in group}
    pieces = [
        Piece(
            f"piece{i}",
            tuple(slots[var] for var in reads[i]),
            tuple(slots[var] for var in writes[i]),
            tuple(slot for var, slot in slots.items() if last.get(var) == i and var != result),
        )
        for i in range(len(parts))
    ]
    return Pieces(
        tvm.IRModule(functions),
        tuple(pieces),
        {name: slots[var] for name, var in inputs.items()},
        {name: slots[var] for name, var in residuals.items()},
        slots[result],
        _live_bytes(pieces, {slot: _image_bytes(var.ty) for var, slot in slots.items()}),
    )
