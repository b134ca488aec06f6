"""alwann-c: approximate-multiplier accelerators for trained CNNs, without retraining.

    import alwann_c as ax

    model = ax.load("resnet8.onnx")
    quantized = ax.quantize(model, ax.load_dataset("calibration.toml"))
    found = ax.search(quantized, ax.load_target("power-gated-4"), ax.load_dataset("search.toml"))
    module = ax.build(quantized, found.plan, "cpu")
    module.export("module.so")

`ax.compile(...)` does all of it in one call; `ax.load_module(folder)(images)` runs the result.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from alwann_c.errors import AlwannError, InputError, UnsupportedError
from alwann_c.version import VERSION as __version__

if TYPE_CHECKING:
    from alwann_c.builder import build
    from alwann_c.compiler import CompileResult
    from alwann_c.compiler import compile_model as compile
    from alwann_c.dataset import Dataset, load_dataset
    from alwann_c.deploy import Module, load_module
    from alwann_c.libraries import open_libraries
    from alwann_c.model import Model, load
    from alwann_c.plan import Plan, load_plan
    from alwann_c.quantized import QuantizationScheme, QuantizedModel, quantize
    from alwann_c.report.results import load_results
    from alwann_c.search_job import SearchOptions, SearchResult, search
    from alwann_c.targets import load_library, load_target

_LAZY = {
    "CompileResult": ("alwann_c.compiler", "CompileResult"),
    "Dataset": ("alwann_c.dataset", "Dataset"),
    "Model": ("alwann_c.model", "Model"),
    "Module": ("alwann_c.deploy", "Module"),
    "Plan": ("alwann_c.plan", "Plan"),
    "QuantizationScheme": ("alwann_c.quantized", "QuantizationScheme"),
    "QuantizedModel": ("alwann_c.quantized", "QuantizedModel"),
    "SearchOptions": ("alwann_c.search_job", "SearchOptions"),
    "SearchResult": ("alwann_c.search_job", "SearchResult"),
    "build": ("alwann_c.builder", "build"),
    "compile": ("alwann_c.compiler", "compile_model"),
    "load": ("alwann_c.model", "load"),
    "load_dataset": ("alwann_c.dataset", "load_dataset"),
    "load_library": ("alwann_c.targets", "load_library"),
    "load_module": ("alwann_c.deploy", "load_module"),
    "load_plan": ("alwann_c.plan", "load_plan"),
    "load_results": ("alwann_c.report.results", "load_results"),
    "load_target": ("alwann_c.targets", "load_target"),
    "open_libraries": ("alwann_c.libraries", "open_libraries"),
    "quantize": ("alwann_c.quantized", "quantize"),
    "search": ("alwann_c.search_job", "search"),
}
"""Loaded on first use: descriptions and `--help` must not load the compiler."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'alwann_c' has no attribute '{name}'")
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


class _Package(ModuleType):
    """Importing a module of the package must not hide a function of the same name: `ax.search`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _LAZY and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

__all__ = [
    "AlwannError",
    "CompileResult",
    "Dataset",
    "InputError",
    "Model",
    "Module",
    "Plan",
    "QuantizationScheme",
    "QuantizedModel",
    "SearchOptions",
    "SearchResult",
    "UnsupportedError",
    "__version__",
    "build",
    "compile",
    "load",
    "load_dataset",
    "load_library",
    "load_module",
    "load_plan",
    "load_results",
    "load_target",
    "open_libraries",
    "quantize",
    "search",
]
