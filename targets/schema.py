"""What a target file may say: the description of an accelerator as its designers would write it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alwann_c.targets.toml_input import Flag, Name, NonNegative, Positive, Text

LayerKind = Literal["conv2d", "grouped_conv2d", "depthwise_conv2d", "dense", "matmul"]
LAYER_KINDS: tuple[LayerKind, ...] = (
    *("conv2d", "grouped_conv2d", "depthwise_conv2d"),
    *("dense", "matmul"),
)

Architecture = Literal["power-gated", "pipelined"]
Dataflow = Literal["ideal", "weight-stationary", "output-stationary"]
DramTraffic = Literal["all", "weights", "none"]

MAX_UNITS = 64

Pattern = Annotated[str, Field(strict=True, min_length=1, max_length=64)]
Size = Annotated[int, Field(strict=True, ge=1, le=1 << 16)]
Width = Annotated[int, Field(strict=True, ge=2, le=8)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UnitGroup(_Table):
    """`[[unit]]`: one compute unit, or `count` equal ones that may differ in their multiplier."""

    name: Annotated[Name, Field(description="Name of the unit; numbered from 0 if count > 1.")]
    count: Annotated[
        int, Field(strict=True, ge=1, le=MAX_UNITS, description="How many units of this kind.")
    ] = 1
    rows: Annotated[Size, Field(description="Rows of the MAC array.")] = 16
    columns: Annotated[Size, Field(description="Columns of the MAC array.")] = 16
    macs_per_cycle: Annotated[
        Positive | None,
        Field(description="MACs issued per clock cycle; rows x columns if not given."),
    ] = None
    dataflow: Annotated[
        Dataflow, Field(description="How a layer is laid over the array; sets the utilisation.")
    ] = "ideal"
    multipliers: Annotated[
        tuple[Pattern, ...] | None,
        Field(
            min_length=1,
            description="Candidate multipliers, names or glob patterns; any if not given.",
        ),
    ] = None
    multiplier: Annotated[
        Name | None, Field(description="The one multiplier of a unit that is already built.")
    ] = None
    leakage_mw: Annotated[NonNegative, Field(description="Leakage of the unit while on, mW.")] = 0.0
    mac_area_um2: Annotated[
        NonNegative, Field(description="Area of a MAC apart from its multiplier, um^2.")
    ] = 0.0
    layers: Annotated[
        tuple[LayerKind, ...], Field(min_length=1, description="Layer kinds the unit can run.")
    ] = LAYER_KINDS


class Operands(_Table):
    """`[operands]`: format of the codes that enter the multipliers."""

    activation_bits: Annotated[Width, Field(description="Width of an activation code.")] = 8
    weight_bits: Annotated[Width, Field(description="Width of a weight code.")] = 8
    signed: Annotated[Flag, Field(description="Signed multipliers and codes.")] = False

    @property
    def bits(self) -> int:
        """Width a multiplier must have at least."""
        return max(self.activation_bits, self.weight_bits)


class Energy(_Table):
    """`[energy]`: where the energy of a multiplication comes from, and of everything around it."""

    source: Annotated[
        Literal["library", "table"],
        Field(alias="from", description="Power figures of the library, or multiplication_pj."),
    ] = "library"
    reference: Annotated[
        Name | None,
        Field(description="Multiplier of relative energy 1.0; the library's exact one if absent."),
    ] = None
    reference_pj: Annotated[
        Positive | None,
        Field(description="Energy of one exact multiplication, pJ; others scale with power."),
    ] = None
    multiplication_pj: Annotated[
        dict[Name, NonNegative] | None,
        Field(min_length=1, description='Energy per multiplication, pJ, if from = "table".'),
    ] = None
    mac_overhead_pj: Annotated[
        NonNegative, Field(description="Adder, registers and wires of a MAC, pJ.")
    ] = 0.0
    buffer_pj_per_byte: Annotated[
        NonNegative, Field(description="On-chip buffer, read or written, pJ per byte.")
    ] = 0.0
    dram_pj_per_byte: Annotated[
        NonNegative, Field(description="Off-chip memory, read or written, pJ per byte.")
    ] = 0.0
    dram_traffic: Annotated[
        DramTraffic, Field(description="What crosses to off-chip memory, once per image.")
    ] = "all"


class Layers(_Table):
    """`[layers]`: which layers of a network are kept exact."""

    exclude_first: Annotated[Flag, Field(description="Keep the first layer exact.")] = False
    exclude_last: Annotated[Flag, Field(description="Keep the last layer exact.")] = False
    exclude: Annotated[
        tuple[Pattern, ...], Field(description="Layers kept exact, names or glob patterns.")
    ] = ()
    approximate_dense: Annotated[Flag, Field(description="Approximate dense layers too.")] = False


class Constraints(_Table):
    """`[constraints]`: what a configuration must keep to."""

    area_um2: Annotated[Positive | None, Field(description="Largest area of the units.")] = None
    min_images_per_second: Annotated[Positive | None, Field(description="Lowest rate.")] = None
    max_latency_ms: Annotated[Positive | None, Field(description="Longest time per image.")] = None


class Target(_Table):
    """An accelerator: the whole of a target file, version 1 of the format."""

    version: Annotated[Literal[1], Field(alias="schema", description="Format version.")] = 1
    name: Annotated[Name, Field(description="Name of the accelerator.")]
    description: Annotated[Text, Field(description="One or two sentences for people.")] = ""
    architecture: Annotated[
        Architecture,
        Field(
            description="power-gated: layers one after another, each on any unit, idle units off."
            " pipelined: each unit runs a run of consecutive layers, units in order."
        ),
    ]
    clock_mhz: Annotated[Positive, Field(description="Clock of the arrays, MHz.")]
    unit: Annotated[
        tuple[UnitGroup, ...],
        Field(min_length=1, max_length=MAX_UNITS, description="The compute units, in order."),
    ]
    operands: Operands = Operands()
    energy: Energy = Energy()
    layers: Layers = Layers()
    constraints: Constraints = Constraints()

    @model_validator(mode="after")
    def _consistent(self) -> Target:
        problems = _unit_problems(self) + _energy_problems(self.energy)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def content(self) -> dict[str, Any]:
        """Every field, given or not, as JSON; `Target.model_validate` takes it back."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def content_hash(self) -> str:
        """SHA-256 of `content` as JSON, keys sorted, separators `,` and `:`."""
        text = json.dumps(self.content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def unit_names(group: UnitGroup) -> list[str]:
    """Names of the units of a group: its own, or that with 0, 1, … appended if there are more."""
    if group.count == 1:
        return [group.name]
    return [f"{group.name}{index}" for index in range(group.count)]


def _unit_problems(target: Target) -> list[str]:
    problems: list[str] = []
    names: set[str] = set()
    for index, group in enumerate(target.unit):
        where = f"unit[{index}]"
        if group.multiplier is not None and group.multipliers is not None:
            problems.append(
                f"{where}.multiplier: given beside multipliers: keep one, multiplier for a unit"
                " that is already built, multipliers for candidates"
            )
        peak = group.rows * group.columns
        if group.macs_per_cycle is not None and group.macs_per_cycle > peak:
            problems.append(
                f"{where}.macs_per_cycle: {group.macs_per_cycle:g} from {peak} MACs: give at most"
                " rows x columns"
            )
        again = sorted(names & set(unit_names(group)))
        if again:
            problems.append(f"{where}.name: {again[0]!r} is used before: give another name")
        names.update(unit_names(group))
    if len(names) > MAX_UNITS:
        problems.append(f"unit: {len(names)} units: give at most {MAX_UNITS}")
    return problems


def _energy_problems(energy: Energy) -> list[str]:
    table = energy.multiplication_pj
    if energy.source == "library":
        if table is None:
            return []
        return ['energy.multiplication_pj: not used: set from = "table" or leave it out']
    problems: list[str] = []
    if table is None:
        problems.append('energy.multiplication_pj: missing: from = "table" needs it')
    elif energy.reference is not None and energy.reference not in table:
        problems.append(
            f"energy.multiplication_pj: nothing for the reference {energy.reference!r}: add it"
        )
    if energy.reference_pj is not None:
        problems.append('energy.reference_pj: not used with from = "table": leave it out')
    return problems
