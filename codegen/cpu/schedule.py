"""Default schedules for whatever has no kernel of its own (pooling, means, softmax, glue).

Before, for a block over spatial loops s0..sn and reduction loops r0..rm:

    for s0, ..., sn, r0, ..., rm: block            one thread, scalar

after, when the innermost spatial loop runs along memory:

    parallel for s0 * ... * s(n-1):
        vectorised for sn: initialise
        for r0, ..., rm: vectorised for sn: update

Each output element is still reduced in the same order, so the results do not change.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import ScheduleError
from tvm.tirx import IntImm, PrimFunc

from alwann_c.codegen.cpu.machine import Machine

SCHEDULED = "tirx.is_scheduled"
_SPATIAL, _REDUCTION = 0, 2


def _extent(sch: Schedule, loop: Any) -> int | None:
    extent = sch.get(loop).extent
    return int(extent) if isinstance(extent, IntImm) else None


def _kinds(sch: Schedule, block: Any) -> list[int]:
    return [int(var.iter_type) for var in sch.get(block).iter_vars]


def _blocks(sch: Schedule) -> list[Any]:
    return list(sch.get_child_blocks(sch.get_sblock("root")))


def _inline_producers(sch: Schedule) -> None:
    """Compute elementwise producers where they are used, if that is legal."""
    for block in _blocks(sch)[:-1]:
        if _REDUCTION in _kinds(sch, block):
            continue
        try:
            sch.compute_inline(block)
        except ScheduleError:  # written twice, or read by an opaque block: keep it
            continue


def _split_vector(sch: Schedule, loop: Any, lanes: int) -> tuple[list[Any], Any]:
    """Outer part (if any) and the part of at most `lanes` iterations to vectorise."""
    extent = _extent(sch, loop)
    if extent is not None and extent <= lanes:
        return [], loop
    outer, inner = sch.split(loop, factors=[None, lanes])
    return [outer], inner


def _schedule_block(sch: Schedule, block: Any, lanes: int) -> None:
    """Parallel outer spatial loops, vectorised innermost spatial loop."""
    loops, kinds = list(sch.get_loops(block)), _kinds(sch, block)
    if len(loops) != len(kinds) or any(kind not in (_SPATIAL, _REDUCTION) for kind in kinds):
        return
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
    reduction = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _REDUCTION]
    if not spatial:
        return
    width = _extent(sch, spatial[-1])
    if len(spatial) == 1 and (reduction or width is not None):
        sch.parallel(spatial[0])
        return
    outer, inner = _split_vector(sch, spatial[-1], lanes)
    if len(spatial) > 1:
        shared = sch.fuse(*spatial[:-1])
    else:
        shared, outer = outer[0], []
    if reduction:
        sch.reorder(shared, *outer, *reduction, inner)
    sch.vectorize(inner)
    sch.parallel(shared)
    if reduction:
        start = sch.decompose_reduction(block, reduction[0])
        sch.vectorize(sch.get_loops(start)[-1])


def scheduled(func: PrimFunc, lanes: int) -> PrimFunc:
    """`func` with parallel and vectorised loops; blocks that cannot be scheduled stay as they are.

    Args:
        func: a PrimFunc as TVM legalizes and fuses it, one block per statement.
        lanes: elements of a vector.
    """
    sch = Schedule(func)
    _inline_producers(sch)
    for index in reversed(range(len(_blocks(sch)))):  # decomposing adds blocks behind the index
        attempt = sch.copy()
        try:
            _schedule_block(attempt, _blocks(attempt)[index], lanes)
        except ScheduleError:  # not a plain loop nest: the default loops remain
            continue
        sch = attempt
    return sch.mod["main"].with_attr(SCHEDULED, True)


@tvm.transform.module_pass(opt_level=0, name="ScheduleRemaining")
class ScheduleRemaining:
    """Schedules every PrimFunc of a module that has no schedule yet, for the current target."""

    def transform_module(self, mod: tvm.IRModule, _: tvm.transform.PassContext) -> tvm.IRModule:
        """New module; functions marked `tirx.is_scheduled` are left alone."""
        target = tvm.target.Target.current(allow_none=True) or tvm.target.Target("llvm")
        lanes = Machine.of(target).vector_bytes // 4
        result = tvm.IRModule(mod.functions, attrs=mod.attrs)
        for name, func in mod.functions.items():
            if isinstance(func, PrimFunc) and not func.attrs.get(SCHEDULED, False):
                result[name] = scheduled(func, lanes)
        return result
