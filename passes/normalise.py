"""Brings an imported float module into canonical form.

Afterwards every convolution is `relax.nn.conv2d` in NHWC/HWIO layout with a constant weight,
followed by at most one `add` of a constant bias and its activation; batch normalisation is gone.
"""

from __future__ import annotations

import tvm
from tvm import relax

from alwann_c.passes.fold_affine import FoldAffine


def normalise() -> tvm.transform.Pass:
    """The normalisation pipeline."""
    return tvm.transform.Sequential(
        [
            # constants where they can be
            relax.transform.Normalize(),
            relax.transform.DecomposeOpsForInference(),
            relax.transform.FoldConstant(),
            # channels last: the kernels add whole rows of output channels
            relax.transform.ConvertLayout({"relax.nn.conv2d": ["NHWC", "HWIO"]}),
            relax.transform.Normalize(),
            relax.transform.FoldConstant(),
            relax.transform.CanonicalizeBindings(),
            relax.transform.DeadCodeElimination(),
            # one canonical conv + bias + activation
            FoldAffine(),
            relax.transform.CanonicalizeBindings(),
            relax.transform.DeadCodeElimination(),
        ],
        name="Normalise",
    )
