"""Kernels of a compiled network: shared, overridable, the same results from all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tvm
from tiny import Case

from alwann_c.codegen.cpu import Gather, Strategy, kernel_spec
from alwann_c.codegen.lower import lower
from alwann_c.codegen.machine import host_target
from alwann_c.codegen.network import CompiledNetwork
from alwann_c.codegen.parallel_build import compile_lowered
from alwann_c.ir.interpret import interpret
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization


def test_layers_that_differ_in_numbers_share_a_kernel() -> None:
    spec = ConvSpec(8, 8, 4, 8, (3, 3), epilogue=Epilogue("relu", output=Quantization(0.05, 3)))
    other = replace(spec, epilogue=Epilogue("relu", output=Quantization(0.2, 7)))
    clipped = replace(spec, epilogue=replace(spec.epilogue, activation="clip", clip_max=6.0))
    assert kernel_spec(spec) == kernel_spec(other)
    assert kernel_spec(spec) != kernel_spec(clipped)
    assert kernel_spec(spec) != kernel_spec(replace(spec, zero_point=1))


def test_override_gets_a_kernel_of_its_own_and_equal_outputs(small: Case) -> None:
    module, images = small.quantized.module, small.search.images[:4]
    strategies: dict[str, Strategy] = {"c1": Gather()}
    target = host_target()
    plain, changed = lower(module, target), lower(module, target, strategies)
    assert plain.script() != changed.script()
    network = CompiledNetwork(module, strategies=strategies)
    np.testing.assert_array_equal(network.run(images), interpret(module, images))


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_split_over_any_number_of_cores(
    small: Case, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    available: Callable[[], int] = lambda: cores  # noqa: E731
    monkeypatch.setattr("alwann_c.codegen.parallel_build.available_cores", available)
    module, images = small.quantized.module, small.search.images[:4]
    target = host_target()
    executable = compile_lowered(lower(module, target), target, load=True)
    machine = tvm.relax.VirtualMachine(executable, tvm.cpu())
    found = machine["main"](tvm.runtime.tensor(images)).numpy()
    np.testing.assert_array_equal(found, interpret(module, images))
