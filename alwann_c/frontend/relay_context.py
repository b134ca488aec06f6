"""What the converters of Relay operators work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.frontend.fold_limits import Budget
from alwann_c.frontend.integers import Integer, store
from alwann_c.frontend.relax_graph import Graph

Array = npt.NDArray[Any]
Attributes = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Constant:
    """An array known before the network runs, and what it is called."""

    value: Array
    name: str = ""


@dataclass(frozen=True, eq=False)
class Codes:
    """An 8-bit input of the network. The network built here takes real values instead, which are
    quantized by the code of the first operator that says what the input means."""

    real: relax.Expr
    dtype: str


Value: TypeAlias = Any
"""A `relax.Expr`, `Constant`, `Integer`, `Codes`, or a list of them: a tuple."""


class Context:
    """The graph being built and the conversions every operator needs."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.budget = graph, Budget()
        self._input: Integer | None = None

    def emit(self, expr: relax.Expr) -> relax.Expr:
        """Appends an operation."""
        return self.graph.emit(expr)

    def real(self, value: Value) -> relax.Expr:
        """A tensor in float32. Raises ValueError for a tuple or codes of unknown scale."""
        if isinstance(value, Integer):
            return value.real
        if isinstance(value, Constant):
            return relax.const(np.asarray(value.value, np.float32))
        if isinstance(value, Codes):
            raise ValueError(
                "an 8-bit input of unknown scale; let a qnn operator read the input first"
            )
        if isinstance(value, list):
            raise ValueError("a tuple where a tensor is due")
        return value

    def floating(self, value: Value) -> relax.Expr:
        """A tensor in float32. Raises ValueError for integers too: qnn operators compute on them."""
        if isinstance(value, Integer):
            raise ValueError(
                "it works on integers outside QNN; print the module before "
                "relay.qnn.transform.CanonicalizeOps"
            )
        return self.real(value)

    def read(self, value: Value) -> Value:
        """A value as operators get it: the 8-bit input with its scale, once that is known."""
        known = isinstance(value, Codes) and self._input is not None
        return self._input if known else value

    def integer(self, value: Value, scale: Array, zero: Array) -> Integer:
        """A tensor of codes as an operator reads it. Raises ValueError where it is none."""
        if isinstance(value, Codes):
            if self._input is None:
                self._input = store(self.graph, value.real, scale, zero, value.dtype)
            value = self._input
        if not isinstance(value, Integer):
            raise ValueError("its input is no tensor of integers with a known scale")
        alike = np.allclose(
            value.scale, np.asarray(scale, np.float64).reshape(-1), rtol=1e-5, atol=0
        )
        if not alike or value.zero != int(np.asarray(zero).reshape(-1)[0]):
            raise ValueError(
                "it reads codes by another scale or zero point than they were made with"
            )
        return value

    def shape(self, value: Value) -> list[Any]:
        """Extents of a tensor, the batch as it is in this graph."""
        if isinstance(value, Constant):
            return list(value.value.shape)
        return list((value.real if isinstance(value, Codes) else self.real(value)).ty.shape)

    def sizes(self, value: Value) -> list[int]:
        """Extents as the file has them."""
        return [
            int(e) if isinstance(e, tvm.tirx.IntImm | int) else self.graph.given
            for e in self.shape(value)
        ]


Converter = Callable[[Context, list[Any], Attributes], Value]


def array(value: Value, what: str) -> Array:
    """A constant's array. Raises ValueError naming what should have been constant."""
    if not isinstance(value, Constant):
        raise ValueError(f"its {what} is not constant")
    found: Array = value.value
    return found


def pair(value: Any) -> list[int]:
    """One or two numbers as two."""
    values = [int(v) for v in value] if isinstance(value, list) else [int(value)]
    return values * 2 if len(values) == 1 else values


def padding(attrs: Attributes) -> list[int]:
    """Top, left, bottom, right, of one, two or four numbers."""
    given = attrs.get("padding", [0])
    values = [int(v) for v in given] if isinstance(given, list) else [int(given)]
    return values * 4 if len(values) == 1 else values * 2 if len(values) == 2 else values
