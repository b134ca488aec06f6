"""Comments of C and Verilog text that nobody vouches for."""

from __future__ import annotations

import re

_COMMENTS = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.S)


def without_comments(text: str) -> str:
    """The text with a blank for each comment; one that is never closed goes to the end."""
    return _COMMENTS.sub(" ", text)


def has_system_tasks(text: str, *, signedness: bool = False) -> bool:
    """Whether Verilog text names system tasks or directives, which could reach files; casts such as
    `$signed` are none with `signedness`.

    In text with strings or escaped names what looks like a comment may be none: that is searched
    with its comments.
    """
    code = text if re.search(r'["\\]', text) else without_comments(text)
    casts = r"(?!signed\b|unsigned\b)" if signedness else ""
    return re.search(f"[`$]{casts}", code) is not None
