"""TVM's lowering passes for CPU PrimFuncs, without those that only concern GPUs.

TVM's default list spends most of its time on our kernels in `CompactBufferAllocation`, which shrinks
intermediate buffers of fused loop nests; neither our kernels nor `ScheduleRemaining` produce any.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.pipeline import finalize_device_passes, finalize_host_passes
from tvm.tirx.compilation_pipeline import register_tir_pipeline

TIR_PIPELINE = "alwann_cpu"
"""Name to give to `tvm.compile(..., tir_pipeline=TIR_PIPELINE)`."""


def _passes() -> list[tvm.transform.Pass]:
    return [
        # Blocks and loops to plain statements.
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        tirx.transform.VectorizeLoop(True),
        tirx.transform.StorageRewrite(),
        tirx.transform.UnrollLoop(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
        # Statements to a function with the packed calling convention.
        tirx.transform.VerifyMemory(),
        tirx.transform.AnnotateEntryFunc(),
        tirx.transform.SplitHostDevice(),
        tirx.transform.MakePackedAPI(),
    ]


def _pipeline() -> tuple[tvm.transform.Pass, Any, Any]:
    return tvm.ir.transform.Sequential(_passes()), finalize_host_passes, finalize_device_passes


register_tir_pipeline(TIR_PIPELINE, _pipeline)
