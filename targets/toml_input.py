"""Reading TOML into a pydantic model; whatever is wrong becomes one located `InputError`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from alwann_c.errors import InputError
from alwann_c.targets.suggest import remedy
from alwann_c.untrusted import read_bounded

MAX_TOML_BYTES = 4 << 20
MAX_PROBLEMS = 20

Name = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$")]
Text = Annotated[str, Field(strict=True, max_length=2000)]
Flag = Annotated[bool, Field(strict=True)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]

Model = TypeVar("Model", bound=BaseModel)

_ADVICE = {
    "bool_type": "give true or false",
    "dict_type": "give a table",
    "finite_number": "give a finite number",
    "float_type": "give a number",
    "greater_than": "give more than {gt}",
    "greater_than_equal": "give {ge} or more",
    "int_type": "give a whole number",
    "less_than_equal": "give {le} or less",
    "model_type": "give a table",
    "string_too_long": "give {max_length} characters at most",
    "string_too_short": "give {min_length} character or more",
    "string_type": "give a text in quotes",
    "too_long": "give {max_length} at most",
    "too_short": "give {min_length} or more",
    "tuple_type": "give a list",
}


def read_toml(path: Path, model: type[Model]) -> Model:
    """Read `path` as `model`.

    Raises InputError, one line `file: field: what is wrong: remedy` with every problem found, for a
    file that cannot be read, is over 4 MiB, is no TOML or does not fit the model.
    """
    content = read_bounded(path, MAX_TOML_BYTES, "check the path")
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text (byte {error.start}): give a TOML file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error
    return parse(document, model, str(path))


def parse(document: dict[str, Any], model: type[Model], source: str) -> Model:
    """`document` as `model`; raises InputError as `read_toml` does, with `source` for the file."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        details = error.errors()
        wrong = [detail["loc"] for detail in details]
        found = [_describe(detail, model) for detail in details if not _follows(detail, wrong)]
        shown = found[:MAX_PROBLEMS]
        if len(found) > MAX_PROBLEMS:
            shown.append(f"{len(found) - MAX_PROBLEMS} more problems")
        raise InputError(f"{source}: {'; '.join(shown)}") from error


def known_keys(model: type[BaseModel]) -> list[str]:
    """The keys a table described by `model` may have, as written in the file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _describe(detail: ErrorDetails, model: type[BaseModel]) -> str:
    location = detail["loc"]
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    where = _location(location)
    if kind == "value_error":
        return f"{where}: {context['error']}" if where else str(context["error"])
    if kind == "extra_forbidden":
        table = _model_at(model, location[:-1])
        keys = known_keys(table) if table is not None else []
        return f"{where}: unknown key: {remedy(str(location[-1]), keys)}"
    if kind == "missing":
        return f"{where}: missing: give it"
    if kind == "tuple_type" and isinstance(given, dict):
        return f"{where}: one table where a list belongs: write [[{where}]]"
    if kind == "literal_error":
        return f"{where}: {given!r}: give {context['expected']}"
    if kind == "string_pattern_mismatch":
        return (
            f"{where}: {_brief(given)} is no name (a path separator, a blank or the like):"
            " give up to 64 letters, digits, '_', '.', '+' or '-'"
        )
    advice = _ADVICE.get(kind)
    told = detail["msg"] if advice is None else advice.format(**context)
    return f"{where}: {_brief(given)}: {told}"


def _follows(detail: ErrorDetails, wrong: list[tuple[int | str, ...]]) -> bool:
    """True for a list said to be short only because its entries are wrong."""
    at = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(location) > len(at) and location[: len(at)] == at for location in wrong
    )


def _location(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            continue
        fields = current.model_fields if current is not None else {}
        inner = [f.annotation for name, f in fields.items() if part in (name, f.alias)]
        current = _model_in(inner[0]) if inner else None
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, tuple, dict, Union, UnionType, Annotated):
        for argument in get_args(annotation):
            found = _model_in(argument)
            if found is not None:
                return found
    return None


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
