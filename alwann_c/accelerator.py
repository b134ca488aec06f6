"""A quantized network on a target: which layers may be approximated, by what, at what energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from alwann_c.errors import InputError
from alwann_c.passes.quantize import LayerCodes
from alwann_c.quantized import QuantizedModel
from alwann_c.targets import (
    Assignment,
    Binding,
    EnergyReport,
    Layers,
    LayerWork,
    Library,
    Multiplier,
    Target,
    bind,
    canonical,
    check_bound,
    energy_report,
    feasibility,
    relative_energy,
)


@dataclass(frozen=True)
class Exclusions:
    """Layers kept exact on the user's wish, beside those the target excludes.

    Attributes:
        names: of layers, as patterns of `fnmatch`.
        first: whether the first layer is kept.
        last: whether the last layer is kept.
        approximate_dense: the opposite: dense layers may be approximated, whether or not the
            quantization scheme names them.
    """

    names: tuple[str, ...] = ()
    first: bool = False
    last: bool = False
    approximate_dense: bool = False


def layer_kind(layer: LayerCodes) -> str:
    """Kind of a layer in the target's words."""
    if layer.kind in ("dense", "matmul"):
        return layer.kind
    if layer.spec.groups == 1:
        return "conv2d"
    return "depthwise_conv2d" if layer.spec.groups == layer.spec.in_channels else "grouped_conv2d"


_PLURALS = {
    "conv2d": "convolutions",
    "dense": "dense layers",
    "matmul": "products of two activations",
}


def _asked_as(layer: LayerCodes) -> str:
    """Kind of a layer in the words of `QuantizationScheme.approximate`."""
    return layer.kind if layer.kind in ("dense", "matmul") else "conv2d"


def layer_work(layer: LayerCodes) -> LayerWork:
    """What the layer asks of an accelerator for one image; 8-bit tensors."""
    spec = layer.spec
    positions = spec.out_height * spec.out_width
    weight_bytes = layer.weight.size
    if layer.kind == "matmul":
        weight_bytes = spec.matrices * spec.taps * spec.out_channels
    return LayerWork(
        layer.name,
        layer_kind(layer),
        spec.macs,
        input_bytes=spec.height * spec.width * spec.in_channels,
        weight_bytes=weight_bytes,
        output_bytes=positions * spec.out_channels,
        positions=positions,
        taps=spec.taps,
        channels=spec.out_channels // spec.groups,
        groups=spec.groups,
    )


@dataclass(frozen=True, eq=False)
class Accelerator:
    """`quantized` on `binding`; `refusals` says why a layer stays exact."""

    quantized: QuantizedModel
    binding: Binding
    approximable: tuple[str, ...]
    refusals: dict[str, str]

    @property
    def target(self) -> Target:
        """The target description."""
        return self.binding.target

    @cached_property
    def works(self) -> list[LayerWork]:
        """Work of the approximable layers."""
        return [layer_work(self.quantized.layers[name]) for name in self.approximable]

    @cached_property
    def exact_works(self) -> list[LayerWork]:
        """Work of the layers that stay exact."""
        return [
            layer_work(layer)
            for name, layer in self.quantized.layers.items()
            if name not in self.approximable
        ]

    @cached_property
    def kinds(self) -> list[str]:
        """Kinds of the approximable layers."""
        return [work.kind for work in self.works]

    def multiplier(self, name: str) -> Multiplier:
        """A multiplier of the bound library."""
        return self.binding.library.find(name)

    def multipliers(self, assignment: Assignment) -> dict[str, Multiplier]:
        """Multiplier of every approximable layer."""
        names = assignment.layer_multipliers
        return {n: self.multiplier(m) for n, m in zip(self.approximable, names, strict=True)}

    def reasons(self, assignment: Assignment) -> list[str]:
        """Why the target forbids an assignment; empty when it is valid."""
        return check_bound(assignment, self.binding, self.kinds, self.works, self.exact_works)

    def canonical(self, assignment: Assignment) -> Assignment:
        """One form for all assignments that mean the same."""
        return canonical(assignment, self.target, self.binding.candidates)

    def relative_energy(self, names: Sequence[str]) -> float:
        """Multiplication energy of a multiplier per layer, relative to the exact one."""
        chosen = [self.multiplier(name) for name in names]
        return relative_energy(self.works, chosen, self.binding.reference, self.binding.cost)

    def energy(self, assignment: Assignment) -> EnergyReport:
        """Full energy report."""
        return energy_report(self.binding, assignment, self.works, self.exact_works)


def approximable_layers(
    quantized: QuantizedModel, exclusions: Exclusions, rules: Layers | None = None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Layers that may be approximated, and for every other one the reason why not.

    Raises InputError when an exclusion names no layer, or nothing is left.
    """
    rules = rules or Layers()
    names = list(quantized.layers)
    patterns = (*exclusions.names, *rules.exclude)
    for pattern in exclusions.names:
        if not any(fnmatchcase(name, pattern) for name in names):
            known = ", ".join(names)
            raise InputError(f"exclude: no layer matches '{pattern}'; the model has: {known}")
    refusals = dict(quantized.refusals)
    asked: set[str] = set(quantized.scheme.approximate)
    if rules.approximate_dense or exclusions.approximate_dense:
        asked.add("dense")
    for name in names:
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            refusals[name] = "excluded by name"
        elif (kind := _asked_as(quantized.layers[name])) not in asked:
            refusals[name] = f"{_PLURALS[kind]} stay exact unless asked"
    if exclusions.first or rules.exclude_first:
        refusals[names[0]] = "first layer excluded"
    if exclusions.last or rules.exclude_last:
        refusals[names[-1]] = "last layer excluded"
    approximable = tuple(name for name in names if name not in refusals)
    if not approximable:
        raise InputError("exclude: every layer is excluded; nothing is left to approximate")
    return approximable, refusals


def place(
    quantized: QuantizedModel,
    target: Target,
    library: Library,
    exclusions: Exclusions | None = None,
) -> Accelerator:
    """Puts a quantized network on a target. Raises InputError when it cannot run there."""
    exclusions = exclusions or Exclusions()
    approximable, refusals = approximable_layers(quantized, exclusions, target.layers)
    accelerator = Accelerator(quantized, bind(target, library), approximable, refusals)
    works, others = accelerator.works, accelerator.exact_works
    problems = feasibility(target, accelerator.kinds, library, works, others)
    if problems:
        raise InputError(f"target '{target.name}': {'; '.join(problems)}")
    return accelerator
