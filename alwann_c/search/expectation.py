"""The drop to expect on new images: measured drops, steadied by what divergence says.

A drop measured on n images has a standard error of sqrt(share of changed images / n), a fifth of a
point at n = 5,000. Divergence has next to none, and over the plans of one network the drop grows
with it nearly linearly. Against the exact integer network on the same images:

    drop_i = k D_i (1 + delta_i),   delta_i of standard deviation SPREAD

For every plan, k is fitted by weighted least squares to the *other* plans judged (a plan must not
vouch for itself), which gives a prediction with its own error; prediction and measurement are
averaged by their precisions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alwann_c.statistics import Drop

SPREAD = 0.25
"""Relative deviation of single plans from the line."""

FAR = 0.05
"""Plans that lose more say nothing about the line near its origin."""


def expected_drops(measured: Sequence[Drop], divergences: Sequence[float]) -> list[Drop]:
    """Expected drop of each plan, from its measured one and its divergence, both against the exact
    integer network."""
    drops = np.array([drop.mean for drop in measured])
    errors = np.array([drop.standard_error for drop in measured])
    distance = np.asarray(divergences, np.float64)
    near = (drops <= FAR) & (distance > 0)
    found = []
    for i, own in enumerate(measured):
        others = near.copy()
        others[i] = False
        noise = errors**2 + (SPREAD * np.maximum(drops, 0)) ** 2
        information = float((distance**2 / noise)[others].sum())
        if information == 0 or distance[i] == 0:
            found.append(own)
            continue
        slope = max(float((distance * drops / noise)[others].sum()) / information, 0.0)
        predicted = slope * distance[i]
        variance = distance[i] ** 2 / information + (SPREAD * slope * distance[i]) ** 2
        weights = np.array([1 / own.standard_error**2, 1 / variance])
        mean = float(np.average([own.mean, predicted], weights=weights))
        found.append(Drop(mean, float(1 / np.sqrt(weights.sum())), own.images))
    return found
