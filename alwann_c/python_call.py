"""A call as the Python that repeats it, for what is recorded of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import Parameter, signature
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel


def python_call(
    name: str, function: Callable[..., Any], arguments: Mapping[str, Any], leave_out: set[str]
) -> str:
    """`name(…)` with the `arguments` of `function`, by name, that are not its defaults.

    Settings are written as they are constructed; what has no such form, as a loaded model, as its
    `repr`.
    """
    parts = []
    for parameter in signature(function).parameters.values():
        value = arguments[parameter.name]
        if parameter.name in leave_out or _is(value, parameter.default):
            continue
        prefix = "" if parameter.kind is not Parameter.KEYWORD_ONLY else f"{parameter.name}="
        parts.append(prefix + _written(value))
    return f"{name}({', '.join(parts)})"


def _is(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


def _written(value: Any) -> str:
    text, name = repr(value), type(value).__name__
    if isinstance(value, PurePath):
        return repr(str(value))
    if isinstance(value, BaseModel):
        return f"<{name} {getattr(value, 'name', '')}>"
    if is_dataclass(value) and text.startswith(f"{name}("):
        return f"{name}({', '.join(_changed(value))})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    return text


def _changed(settings: Any) -> Iterator[str]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if not _is(value, field.default):
            yield f"{field.name}={_written(value)}"
