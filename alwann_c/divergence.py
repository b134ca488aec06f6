"""How far a network's outputs are from those of a reference: mean KL divergence of the classes.

    D = 1/n sum_i sum_c p_i(c) log(p_i(c) / q_i(c)),  p reference, q approximate, by softmax

It needs no labels, and its sampling error is a small part of that of an accuracy, which only sees
images whose class changes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_LEAST = 1e-12


def log_probabilities(outputs: Float32) -> Float64:
    """Logarithms of class probabilities [n, classes], from probabilities or scores."""
    values = outputs.astype(np.float64)
    if (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3):
        return np.log(np.maximum(values, _LEAST))
    shifted = values - values.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def divergence(reference: Float64, outputs: Float32) -> float:
    """Mean KL divergence of `outputs` from the reference's log probabilities, in nats."""
    terms = np.exp(reference) * (reference - log_probabilities(outputs))
    return max(float(terms.sum(axis=1).mean()), 0.0)
