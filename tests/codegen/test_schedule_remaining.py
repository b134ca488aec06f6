"""Default schedules change speed, not results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline

from alwann_c.codegen.cpu.schedule import ScheduleRemaining
from alwann_c.codegen.machine import host_target

TARGET = host_target()
op = relax.op

OPERATORS: dict[str, Callable[[relax.Expr], relax.Expr]] = {
    "elementwise": lambda x: op.nn.relu(op.add(x, x)),
    "max_pool": lambda x: op.nn.max_pool2d(x, (2, 2), (2, 2), layout="NHWC"),
    "avg_pool": lambda x: op.nn.avg_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1), layout="NHWC"),
    "mean": lambda x: op.mean(x, [1, 2]),
    "softmax": lambda x: op.nn.softmax(x, -1),
    "transpose": lambda x: op.permute_dims(x, [0, 3, 1, 2]),
    "sum": lambda x: op.sum(x),
    "pad": lambda x: op.nn.pad(x, [0, 0, 1, 1, 0, 1, 2, 3]),
    "slice": lambda x: op.strided_slice(x, [1, 2], [0, 0], [8, 8], [2, 2]),
}


def _lowered(operator: Callable[[relax.Expr], relax.Expr], schedule: bool) -> tvm.IRModule:
    batch = tvm.tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((batch, 8, 8, 20), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(operator(x)))
        builder.emit_func_output(result)
    transform = relax.transform
    passes = [
        transform.LegalizeOps(),
        transform.AnnotateTIROpPattern(),
        transform.FuseOps(),
        transform.FuseTIR(),
    ]
    with TARGET:
        mod = tvm.transform.Sequential(passes)(builder.get())
        return ScheduleRemaining()(mod) if schedule else mod


def _run(mod: tvm.IRModule, x: np.ndarray) -> np.ndarray:
    with TARGET:
        passes = [*pipeline.dataflow_lower_passes(TARGET), *pipeline.finalize_passes(TARGET)]
        lowered = tvm.transform.Sequential(passes)(mod)
    machine = relax.VirtualMachine(tvm.compile(lowered, TARGET, relax_pipeline=None), tvm.cpu())
    return np.asarray(machine["main"](tvm.runtime.tensor(x)).numpy())


@pytest.mark.parametrize("name", OPERATORS)
def test_same_result(name: str) -> None:
    """Bit for bit what TVM's own loops compute."""
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 20)).astype(np.float32)
    plain = _lowered(OPERATORS[name], schedule=False)
    scheduled = _lowered(OPERATORS[name], schedule=True)
    np.testing.assert_array_equal(_run(scheduled, x), _run(plain, x))
    if name != "sum":
        assert "T.parallel" in scheduled.script()
