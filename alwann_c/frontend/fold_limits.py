"""How much may be computed of a file's constants while it is read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_FOLDED = 1 << 27
"""Elements of one folded constant."""
MAX_FOLDED_BYTES = 2 << 30
"""Bytes computed while a graph is folded."""


class FoldError(Exception):
    """Constants that a few bytes of the file would blow up."""


class Budget:
    """What folding may still compute."""

    def __init__(self) -> None:
        self.left = MAX_FOLDED_BYTES

    def spend(self, value: npt.NDArray[Any]) -> None:
        """Counts a computed value; a view of another costs nothing. Raises FoldError."""
        if value.base is None:
            self.left -= value.nbytes
        if self.left < 0:
            raise FoldError(
                f"its constants fold to more than {MAX_FOLDED_BYTES} bytes; export the folded ones"
            )


def limited(*shapes: tuple[int, ...]) -> None:
    """Refuses a result that shapes broadcast to, before it is computed."""
    elements = math.prod(np.broadcast_shapes(*shapes))
    if elements > MAX_FOLDED:
        raise FoldError(f"a constant folds to {elements} elements; at most {MAX_FOLDED} are taken")
