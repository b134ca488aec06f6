"""A compiled network that runs layer by layer, so that candidates which agree on their first layers
share them, and so that what a layer reads can be looked at.

Computes what `CompiledNetwork` computes, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.codegen.lower import lower
from alwann_c.codegen.machine import host_target, use_all_cores
from alwann_c.codegen.network import Array, Lifter, Operands
from alwann_c.codegen.parallel_build import compile_lowered
from alwann_c.codegen.pieces import cut
from alwann_c.ir import ops

Float32 = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]

PREFIX_BYTES = 512 << 20
"""Most that the activations kept for other candidates may take."""


@dataclass(frozen=True, eq=False)
class State:
    """A batch of images on its way: `layer` is the next one's number, `tensors` go by slot."""

    images: int
    layer: int
    tensors: Mapping[int, Any]


@dataclass(frozen=True, eq=False)
class ProbedRun:
    """The input codes of integer layers, and what is added to their output (codes or float32, see
    `Epilogue.residual`) where something is."""

    codes: dict[str, Codes]
    residuals: dict[str, Array]


class StepwiseNetwork:
    """`mod` (quantized, fused) compiled layer by layer, with the layers' operands as inputs.

    Args:
        mod: IRModule of integer layers; its constants become the default bindings.
        target: TVM target; this machine when None.
        batch: images run together.
    """

    def __init__(
        self, mod: tvm.IRModule, target: tvm.target.Target | None = None, *, batch: int = 250
    ) -> None:
        use_all_cores()
        target = target or host_target()
        lifter = Lifter(mod)
        self._cut = cut(lifter.lift(), lifter.params)
        self.batch = batch
        self.layer_names = list(lifter.layers)
        self.defaults = lifter.defaults()
        self.residual_codes = {
            name: ops.conv_spec(lifter.layers[name]).epilogue.residual_code
            for name in self._cut.residuals
        }
        """Codes of the residuals that layers add; None where they are float32."""
        executable = compile_lowered(lower(self._cut.module, target), target, load=True)
        machine = relax.VirtualMachine(executable, tvm.cpu())
        self._functions = [machine[piece.name] for piece in self._cut.pieces]

    def _checked(self, bindings: Mapping[str, Operands] | None) -> list[Operands]:
        """Operands of every layer."""
        bindings = bindings or {}
        unknown = set(bindings) - set(self.layer_names)
        if unknown:
            raise KeyError(f"no such layer: {', '.join(sorted(unknown))}")
        return [bindings.get(name, self.defaults[name]) for name in self.layer_names]

    def _step(
        self, images: int, number: int, tensors: Mapping[int, Any], operands: Sequence[Any]
    ) -> State:
        piece = self._cut.pieces[number]
        given = self._functions[number](*(tensors[slot] for slot in piece.reads), *operands)
        kept = {slot: tensor for slot, tensor in tensors.items() if slot not in piece.done}
        return State(images, number, {**kept, **dict(zip(piece.writes, given, strict=True))})

    def start(self, images: Float32) -> State:
        """A batch of float32 images [n, ...] before the first layer."""
        given = {0: tvm.runtime.tensor(np.ascontiguousarray(images))}
        return self._step(len(images), 0, given, ())

    def advance(self, state: State, operands: Operands | None = None) -> State:
        """The batch after the next layer with `operands`; its default ones when None."""
        chosen = operands or self.defaults[self.layer_names[state.layer]]
        given = [getattr(chosen, field.name) for field in fields(chosen)]
        return self._step(state.images, state.layer + 1, state.tensors, given)

    def output(self, state: State) -> Float32:
        """Output [n, classes] of a batch after the last layer."""
        found: Float32 = state.tensors[self._cut.result].numpy()
        return found

    def codes(self, state: State) -> Codes:
        """What the next layer reads."""
        name = self.layer_names[state.layer]
        found: Codes = state.tensors[self._cut.inputs[name]].numpy()
        return found

    def residual(self, state: State) -> Array | None:
        """What the next layer adds to its output, if anything."""
        slot = self._cut.residuals.get(self.layer_names[state.layer])
        if slot is None:
            return None
        found: Array = state.tensors[slot].numpy()
        return found

    def batches(self, images: Float32) -> Iterator[State]:
        """The batches of images before the first layer."""
        for start in range(0, len(images), self.batch):
            yield self.start(images[start : start + self.batch])

    def run(self, images: Float32, bindings: Mapping[str, Operands] | None = None) -> Float32:
        """Outputs [n, classes] for float32 images [n, ...]; layers not bound keep their default."""
        operands = self._checked(bindings)
        outputs = []
        for state in self.batches(images):
            for chosen in operands:
                state = self.advance(state, chosen)
            outputs.append(self.output(state))
        return np.concatenate(outputs)

    def run_probed(
        self,
        images: Float32,
        bindings: Mapping[str, Operands] | None = None,
        layers: Sequence[str] | None = None,
    ) -> ProbedRun:
        """What `layers` read (all when None)."""
        wanted = self.layer_names if layers is None else list(layers)
        operands = self._checked(bindings)
        codes: dict[str, list[Codes]] = {name: [] for name in wanted}
        residuals: dict[str, list[Array]] = {n: [] for n in self.residual_codes if n in codes}
        last = max(self.layer_names.index(name) for name in wanted)
        for state in self.batches(images):
            for name, chosen in zip(self.layer_names[: last + 1], operands, strict=False):
                if name in codes:
                    codes[name].append(self.codes(state))
                    added = self.residual(state)
                    if added is not None:
                        residuals[name].append(added)
                state = self.advance(state, chosen)
        return ProbedRun(
            {name: np.concatenate(parts) for name, parts in codes.items()},
            {name: np.concatenate(parts) for name, parts in residuals.items()},
        )

    def run_many(self, images: Float32, candidates: Sequence[Sequence[Operands]]) -> list[Float32]:
        """Outputs for float32 images with each candidate's operands, one for every layer.

        Candidates that begin with the same operands (the same objects) share those layers. Their
        activations are kept while they take at most `PREFIX_BYTES`, beyond that computed again.
        """
        outputs: list[list[Float32]] = [[] for _ in candidates]
        for state in self.batches(images):
            for i, found in self._shared(state, candidates):
                outputs[i].append(found)
        return [np.concatenate(parts) for parts in outputs]

    def _shared(
        self, start: State, candidates: Sequence[Sequence[Operands]]
    ) -> Iterator[tuple[int, Float32]]:
        """The output of each candidate for one batch, depth first over the tree of prefixes."""
        most = max(1, PREFIX_BYTES // max(start.images * max(self._cut.live_bytes), 1))
        stack = [(start, list(range(len(candidates))))]
        while stack:
            state, members = stack.pop()
            while members and state.layer < len(self.layer_names):
                groups: dict[int, list[int]] = {}
                for i in members:
                    groups.setdefault(id(candidates[i][state.layer]), []).append(i)
                members, *others = groups.values()
                waiting = [i for group in others for i in group]
                if waiting and len(stack) < most:
                    stack.append((state, waiting))
                elif waiting:  # they begin as what waits there does
                    stack[-1][1].extend(waiting)
                state = self.advance(state, candidates[members[0]][state.layer])
            for i in members:
                yield i, self.output(state)

    def fits(self, images: int) -> bool:
        """Whether the activations of so many images may be kept, see `PREFIX_BYTES`."""
        return images * max(self._cut.live_bytes) <= PREFIX_BYTES


class Walk:
    """All images on their way through a network, in the order of its layers."""

    def __init__(self, network: StepwiseNetwork, images: Float32) -> None:
        self._network, self._images = network, images
        self._operands: list[Operands | None] = []
        self._kept = list(network.batches(images)) if network.fits(len(images)) else None

    def _states(self) -> Iterator[State]:
        """The batches before the next layer; computed again from the first one if not kept."""
        network = self._network
        if self._kept is not None:
            for i, state in enumerate(self._kept):
                for chosen in self._operands[state.layer :]:
                    state = network.advance(state, chosen)
                self._kept[i] = state
            yield from self._kept
            return
        for state in network.batches(self._images):
            for chosen in self._operands:
                state = network.advance(state, chosen)
            yield state

    def advance(self, operands: Operands | None) -> None:
        """Passes the next layer with these operands, its default ones when None; nothing is
        computed before `read`."""
        self._operands.append(operands)

    def read(self) -> ProbedRun:
        """What the next layer reads."""
        name = self._network.layer_names[len(self._operands)]
        pairs = [(self._network.codes(s), self._network.residual(s)) for s in self._states()]
        residuals = [added for _, added in pairs if added is not None]
        return ProbedRun(
            {name: np.concatenate([codes for codes, _ in pairs])},
            {name: np.concatenate(residuals)} if residuals else {},
        )
