"""Did-you-mean: the closest known name, put as the remedy of an error message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LISTED = 12


def remedy(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` where some known name is close, else the list of known names."""
    names = list(known)
    folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    if not names:
        return "none is known"
    more = f", … ({len(names)} in all)" if len(names) > MAX_LISTED else ""
    return f"known are {', '.join(names[:MAX_LISTED])}{more}"
