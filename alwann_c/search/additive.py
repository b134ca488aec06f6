"""What a plan fitted layers in order diverges, as a sum over its layers.

    D(m) = sum_l x[l, m(l)],    x[l, m] = a e[l, m] (1 + u[l, m])

e is the divergence of the network with layer l alone on multiplier m. Fitted in order, every layer
makes up for some of what those before it did, and plans diverge less than the sum, by a factor a
(about a half on ResNets), and not all layers alike: u is found by ridge regression on plans fitted in
order, in units of each plan's own divergence, with the mean 0 of a layer nothing is known of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

Float64 = npt.NDArray[np.float64]
Names = tuple[str, ...]

RIDGE = 0.01
"""Squared ratio of the model's error, as a share of a plan's divergence, to the deviation of u."""

LEAST_SHARE = 0.1
"""No layer is believed to do less than this share of what it was expected to."""


class AdditiveModel:
    """Predicts divergences of choices of a multiplier (of `multipliers`) per layer.

    `errors` [layer, multiplier] is e of the formula; `observed` are divergences of plans fitted in
    order.
    """

    def __init__(
        self, multipliers: Sequence[str], errors: Float64, observed: Mapping[Names, float]
    ) -> None:
        self._column = {name: j for j, name in enumerate(multipliers)}
        self.errors = np.asarray(errors, np.float64)
        if observed:
            self.errors = self._fitted(list(observed), np.array(list(observed.values())))

    def _cells(self, names: Names) -> tuple[list[int], list[int]]:
        return list(range(len(names))), [self._column[name] for name in names]

    def _fitted(self, plans: list[Names], divergences: Float64) -> Float64:
        sums = np.array([self.predict(names) for names in plans])
        told = (sums > 0) & (divergences > 0)
        if not told.any():
            return self.errors
        prior = self.errors * float(np.median(divergences[told] / sums[told]))
        design = np.zeros((int(told.sum()), *prior.shape))
        for row, i in zip(design, np.flatnonzero(told), strict=True):
            row[self._cells(plans[i])] = prior[self._cells(plans[i])] / divergences[i]
        flat = design.reshape(len(design), -1)
        used = flat.any(axis=0)
        known = flat[:, used]
        change = np.zeros(flat.shape[1])
        with threadpool_limits(1, "blas"):  # the same digits on any number of cores
            normal = known.T @ known + RIDGE * np.eye(known.shape[1])
            change[used] = np.linalg.solve(normal, known.T @ (1.0 - known.sum(axis=1)))
        factors = np.maximum(1.0 + change.reshape(prior.shape), LEAST_SHARE)
        return np.asarray(prior * factors)

    def predict(self, names: Names) -> float:
        """Divergence of a choice."""
        return float(self.errors[self._cells(names)].sum())
