"""Brings an imported float module into canonical form.

Afterwards every convolution is `relax.nn.conv2d` in NHWC/HWIO layout with a constant weight,
followed by at most one `add` of a constant bias and its activation; batch normalisation is gone.
"""

from __future__ import annotations

import tvm
from tvm import relax

import alwann_c.ir.ops  # noqa: F401  (registers the operators named below)
from alwann_c.passes.fold_affine import FoldAffine
from alwann_c.passes.move_codes import MoveCodes

_ELEMENTWISE = ("relax.clip", "relax.nn.leakyrelu", "alwann.quantize", "alwann.dequantize")


_LAYOUTS = {
    "relax.nn.conv2d": ["NHWC", "HWIO"],
    "relax.nn.conv2d_transpose": ["NCHW", "IOHW"],  # TVM has no other kernel
}


def _let_layouts_through() -> None:
    """TVM has no layout rule for these; they are elementwise, ReLU's rule is theirs."""
    rule = tvm.ir.Op.get("relax.nn.relu").get_attr("FRelaxInferLayout")
    for name in _ELEMENTWISE:
        tvm.ir.Op.get(name).set_attr("FRelaxInferLayout", rule, 11)


_let_layouts_through()


def normalise() -> tvm.transform.Pass:
    """The normalisation pipeline."""
    return tvm.transform.Sequential(
        [
            # constants where they can be
            relax.transform.Normalize(),
            relax.transform.DecomposeOpsForInference(),
            relax.transform.FoldConstant(),
            # channels last: the kernels add whole rows of output channels
            relax.transform.ConvertLayout(_LAYOUTS),
            relax.transform.Normalize(),
            relax.transform.FoldConstant(),
            relax.transform.CanonicalizeBindings(),
            relax.transform.DeadCodeElimination(),
            # one canonical conv + bias + activation
            FoldAffine(),
            # a quantized file's codes go as far as they can
            MoveCodes(),
            relax.transform.CanonicalizeBindings(),
            relax.transform.DeadCodeElimination(),
        ],
        name="Normalise",
    )
