"""TVM's ONNX importer, with the node named in every refusal and some converters of our own."""

from __future__ import annotations

import gc
import io
import warnings
from contextlib import redirect_stdout
from typing import Any

import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from alwann_c.codegen.machine import without_native_warnings
from alwann_c.errors import UnsupportedError
from alwann_c.frontend.onnx_converters import CONVERTERS
from alwann_c.frontend.onnx_file import opset_of, where_is
from alwann_c.frontend.reasons import reason

_EXPORT = "replace it in the model, or export with another opset (11 to 21 are tested)"


class Importer(onnx_frontend.ONNXGraphImporter):  # type: ignore[misc]
    """Relax module of an ONNX graph whose constants are folded."""

    def __init__(self, label: str) -> None:
        super().__init__({}, "float32", keep_params_in_input=False)
        self.label = label

    @property
    def batch(self) -> Any:
        """Extent of the input's first axis."""
        return next(iter(self._inputs.values())).ty.shape[0]

    def fallback(self, op: str, inputs: list[Any], attrs: dict[str, Any]) -> Any:
        """TVM's own conversion."""
        return super()._convert_operator(op, inputs, attrs, self.opset)

    def _convert_operator(
        self, op_name: str, inputs: list[Any], attrs: dict[str, Any], opset: int
    ) -> Any:
        name = attrs["tvm_custom"]["name"]
        try:
            if op_name in CONVERTERS:
                made = CONVERTERS[op_name](self, inputs, attrs)
                return self.bb.normalize(made) if isinstance(made, relax.Expr) else made
            return self.fallback(op_name, inputs, attrs)
        except UnsupportedError:
            raise
        except Exception as e:
            raise UnsupportedError(
                f"{self.label}: operator {op_name} of node '{name}' (opset {opset}) cannot be "
                f"taken: {reason(e, _EXPORT)}"
            ) from e


def to_relax(label: str, model: onnx.ModelProto) -> tvm.IRModule:
    """Imports a checked graph; nodes without a name get that of their output. Raises
    UnsupportedError naming operator, node and opset."""
    opset, module, failure = opset_of(model), None, ""
    for node in model.graph.node:
        node.name = where_is(node)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), without_native_warnings():
        warnings.simplefilter("ignore")  # it renames inputs aloud, and prints what it refuses
        try:
            module = relax.transform.Normalize()(Importer(label).from_onnx(model.graph, opset))
        except UnsupportedError as e:
            failure = str(e)
        except Exception as e:  # noqa: BLE001 (whatever TVM raises on a graph it cannot take)
            why = reason(e, _EXPORT)
            failure = f"{label}: cannot import this model (opset {opset}): {why}"
        gc.collect()  # half-built blocks write a warning when they go
    if module is None:
        raise UnsupportedError(failure)
    return module


_NOT_COMPILED = frozenset(
    {
        *("CumSum", "TopK", "Unique", "NonZero", "Compress", "NonMaxSuppression"),
        *("SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceAt"),
        *("SequenceLength", "SplitToSequence", "ConcatFromSequence"),
        *("Optional", "OptionalGetElement", "OptionalHasElement"),
        *("Cosh", "Sinh", "MaxUnpool", "ScatterElements", "OneHot", "AllClassNMS"),
        *("EmbedLayerNormalization",),
    }
)
"""Taken by TVM's importer, but sorted, of a size known at run time only, no tensors, or never compiled
rightly."""

KNOWN_OPERATORS = (frozenset(onnx_frontend._get_convert_map()) | CONVERTERS.keys()) - _NOT_COMPILED
"""Operators the frontend takes."""
