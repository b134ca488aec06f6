"""What calls say when they refuse their input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alwann_c.errors import InputError


def refusal(function: Callable[..., Any], *arguments: Any) -> str:
    """The message of the InputError a call raises; empty when it raises none."""
    try:
        function(*arguments)
    except InputError as e:
        return str(e)
    return ""
