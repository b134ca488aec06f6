"""Errors that compensation leaves, and products to evolve for that keep them small.

Evolution compares products with wanted ones. What compensation takes away of an error depends on the
circuit: so the wanted products follow from the circuit a round starts from, and every round starts from
those of what the one before has found.

`spread`: RMS error once the mean error of every weight code is taken out, as a corrected bias does.
Wanted are products that are off as the circuit's are on average, weight code by weight code.

`tuned`: the same once, moreover, every weight u is replaced by the code t(u) that stands for it best,
as tuning does: its products M(a, t(u)) vary least about u a. Wanted of a code are the products of the
weights that it stands for, plus its mean error; codes that stand for none may do as they do, and count
little.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNUSED = 0.4
"""`tuned`: part of the weights taken as spread over all codes, as joint tuning uses others as well."""

Float64 = NDArray[np.float64]


class Weighting(NamedTuple):
    """Values [codes] of the operands' codes, and their shares, which add up to 1."""

    values: Float64
    activations: Float64
    weights: Float64


class Aim(NamedTuple):
    """Products [activations, weights] to give, and the share of each weight code in the error."""

    products: Float64
    weights: Float64


def spread(products: Float64, shares: Weighting) -> float:
    """RMS error of a table of products under the shares, the weights' mean errors taken out."""
    error = products - np.outer(shares.values, shares.values)
    variance = shares.activations @ (error - shares.activations @ error) ** 2
    return float(np.sqrt(variance @ shares.weights))


def spread_aim(products: Float64, shares: Weighting) -> Aim:
    """Exact products plus the mean error of each weight code."""
    exact = np.outer(shares.values, shares.values)
    return Aim(exact + shares.activations @ (products - exact), shares.weights)


def _variances(products: Float64, shares: Weighting) -> Float64:
    """[weight, code]: the variance of M(a, code) - weight * a over the activations."""
    a, p = shares.values, shares.activations
    centred = products - p @ products
    about = a - p @ a
    own = p @ centred**2
    common = (p * about) @ centred
    weight = shares.values[:, None]
    return np.asarray(own - 2 * weight * common + weight**2 * (p @ about**2))


def tuned(products: Float64, shares: Weighting) -> float:
    """RMS error of a table of products under the shares, means taken out, best codes chosen."""
    left = _variances(products, shares).min(axis=1).clip(0)
    return float(np.sqrt(left @ shares.weights))


def tuned_aim(products: Float64, shares: Weighting) -> Aim:
    """What the codes stand for, each with its mean error."""
    a, p = shares.values, shares.activations
    about = a - p @ a
    means = p @ products
    slopes = (p * about) @ (products - means) / (p @ about**2)
    best = _variances(products, shares).argmin(axis=1)
    used = np.bincount(best, shares.weights, len(a))
    total = np.bincount(best, shares.weights * a, len(a))
    slopes = np.where(used > 0, total / np.where(used > 0, used, 1), slopes)
    weights: Float64 = np.asarray((1 - UNUSED) * used + UNUSED / len(a), np.float64)
    return Aim(np.outer(about, slopes) + means, weights)


SIZES = {"spread": spread, "tuned": tuned}
AIMS = {"spread": spread_aim, "tuned": tuned_aim}
