"""`TapResidual` in numpy, straight from its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alwann_c.passes.compensate.data import TapCosts

Array = npt.NDArray[Any]


class PlainResidual:
    """The residual in 64 bits; costs from the formula of `alwann_c.passes.compensate.joint`."""

    def __init__(self, columns: Array, residual: Array) -> None:
        self.columns, self.residual = columns, residual.astype(np.float64)

    def sweep(self, costs: TapCosts, codes: Array, assumed: Array) -> tuple[Array, int]:
        """Tap after tap."""
        chosen, moved = codes.copy(), 0
        for k, column in enumerate(self.columns):
            with_tap = self.residual + assumed[column[:, None], codes[k]]
            products = costs.products[column]  # [rows, c]
            for n in range(codes.shape[1]):
                gain = with_tap[:, n] @ (products - costs.means[k])
                cost = costs.energy[k] - 2 * gain
                best = int(cost.argmin())
                if cost[best] < cost[codes[k, n]] - costs.margins[k]:
                    chosen[k, n], moved = best, moved + 1
                    self.residual[:, n] = with_tap[:, n] - products[:, best]
        return chosen, moved

    def subtract(self, codes: Array, table: Array) -> None:
        """Tap after tap."""
        for column, row in zip(self.columns, codes, strict=True):
            self.residual -= table[column[:, None], row[None]]

    def center(self) -> None:
        """Every channel."""
        self.residual -= self.residual.mean(axis=0)

    def values(self) -> Array:
        """In 32 bits, as the compiled one has them."""
        return self.residual.astype(np.float32)
