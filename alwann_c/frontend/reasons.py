"""Why an operator cannot be taken."""

from __future__ import annotations


def reason(error: Exception, remedy: str) -> str:
    """The last line of what was raised and a remedy: its own, after a semicolon, or the general one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines[-1] if lines else type(error).__name__)[:300]
    own = isinstance(error, ValueError) and "; " in text
    return text if own else f"{text}; {remedy}"
