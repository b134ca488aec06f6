"""How far a network's outputs are from those of a reference: KL divergence of the classes.

    d_i = sum_c p_i(c) log(p_i(c) / q_i(c)),  p reference, q approximate, by softmax;  D = mean d_i

It needs no labels, and its sampling error is a small part of that of an accuracy, which only sees
images whose class changes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_LEAST = 1e-12


class Reference:
    """The outputs [n, classes] of the reference: class probabilities, or scores to take them of."""

    def __init__(self, outputs: Float32) -> None:
        self._probabilities = bool(
            (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3)
        )
        self._logarithms = self._log_probabilities(outputs)

    def _log_probabilities(self, outputs: Float32) -> Float64:
        values = outputs.astype(np.float64)
        if self._probabilities:
            return np.log(np.maximum(values, _LEAST))
        shifted = values - values.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))

    def divergences(self, outputs: Float32, start: int = 0) -> Float32:
        """Divergence in nats of each image's outputs [m, classes], from image `start` on.

        What it says of an image does not depend on the images beside it.
        """
        ours = self._logarithms[start : start + len(outputs)]
        terms = np.exp(ours) * (ours - self._log_probabilities(outputs))
        found: Float32 = np.maximum(terms.sum(axis=1), 0.0).astype(np.float32)
        return found
