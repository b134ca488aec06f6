"""What the report reads of an output folder, validated. Keys it does not use are ignored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from alwann_c.errors import InputError
from alwann_c.notebook import FrontView
from alwann_c.report.energy_file import Energy
from alwann_c.report.operand_file import Operands
from alwann_c.report.ranges import FrontData

MAX_FILE_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 1 << 24

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Drop = Annotated[float, Field(ge=-4, le=4, allow_inf_nan=False)]
Relative = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)]
Signed = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**18)]
Divergence = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Interval = tuple[Drop, Drop]


class _Table(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Identity(_Table):
    """A named thing and the hash of its content."""

    name: str
    sha256: str


class UsedLibrary(Identity):
    """A multiplier library."""

    multipliers: Count


class UsedData(_Table):
    """A data set as given on the command line."""

    path: str
    sha256: str
    images: Count


class DataSets(_Table):
    """The data of a run; `test` chose nothing."""

    calibration: UsedData
    search: UsedData
    test: UsedData | None = None


class Accuracies(_Table):
    """One network's accuracy on the search data and on the test data."""

    search: Share
    test: Share | None = None


class SearchedLayer(_Table):
    """An approximable layer."""

    name: str
    kind: str
    macs: Count
    unit_choice: bool = True


class PointAssignment(_Table):
    """`units[u]`: multiplier of unit u; `layers[l]`: unit of the l-th searched layer."""

    units: list[str] = Field(min_length=1)
    layers: list[Annotated[int, Field(ge=0)]]


class FrontPoint(_Table):
    """A plan of the front. Drops are against the float network on the same images.

    `expected_drop_bound` is what was compared with the limit (`alwann_c.search.select`).
    """

    accuracy: Share
    drop: Drop
    drop_ci95: Interval
    relative_energy: Relative
    assignment: PointAssignment
    divergence: Divergence | None = None
    expected_drop: Drop | None = None
    expected_drop_bound: Drop | None = None
    test_accuracy: Share | None = None
    test_drop: Drop | None = None
    test_drop_ci95: Interval | None = None


class Candidate(_Table):
    """A candidate the search judged to the end; its accuracy is on a part of the search data."""

    accuracy: Share
    relative_energy: Relative


class Front(_Table):
    """`front.json`. The target's content and `options`, which older files lack, are shown as they
    are."""

    version: Literal[1]
    tool: str
    model: Identity
    target: str
    architecture: str
    libraries: list[UsedLibrary]
    data: DataSets
    seed: int
    population: Count
    generations: Count
    max_drop: Drop
    float_accuracy: Accuracies
    int8_accuracy: Accuracies
    layers: list[SearchedLayer] = Field(min_length=1)
    front: list[FrontPoint] = Field(min_length=1)
    selected: Annotated[int, Field(ge=0)]
    evaluated: list[Candidate]
    evaluations: Count
    stopped_early: Count = 0
    method: str = "nsga2"
    third_objective: str | None = None
    target_sha256: str | None = None
    target_content: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    seconds: dict[str, Amount]
    command: str
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.selected >= len(self.front):
            raise ValueError(f"selected: {self.selected}, but front has {len(self.front)} points")
        for index, point in enumerate(self.front):
            placed = point.assignment
            if len(placed.layers) != len(self.layers):
                raise ValueError(
                    f"front.{index}.assignment.layers: {len(placed.layers)} entries for"
                    f" {len(self.layers)} layers"
                )
            if max(placed.layers) >= len(placed.units):
                raise ValueError(
                    f"front.{index}.assignment.layers: unit {max(placed.layers)} of"
                    f" {len(placed.units)} units"
                )
        return self

    @property
    def chosen(self) -> FrontPoint:
        """The selected point."""
        return self.front[self.selected]

    @property
    def drawn(self) -> FrontData:
        """What is drawn of it."""
        return FrontData(
            points=[point.model_dump() for point in self.front],
            selected=self.selected,
            seen=[(seen.relative_energy, seen.accuracy) for seen in self.evaluated],
            float_accuracy=self.float_accuracy.search,
            int8_accuracy=self.int8_accuracy.search,
            max_drop=self.max_drop,
        )


class PlanUnit(_Table):
    """A unit of the accelerator and its multiplier."""

    name: str
    multiplier: str


class PlanLayer(_Table):
    """A layer of the chosen plan; `unit` is None where it stays exact."""

    name: str
    kind: str
    macs: Count
    unit: str | None = None
    multiplier: str
    relative_cost: Relative
    excluded: bool = False
    changed_weights: Share = 0.0
    mean_correction: Signed | None = None


class Circuit(_Table):
    """Published figures of a multiplier."""

    power_mw: Amount | None = None
    area_um2: Amount | None = None
    mae: Amount | None = None
    wce: Amount | None = None


class Plan(_Table):
    """`plan.json`."""

    version: Literal[1]
    units: list[PlanUnit] = Field(min_length=1)
    layers: list[PlanLayer] = Field(min_length=1)
    energy: Energy | None = None
    multipliers: dict[str, Circuit] = Field(default_factory=dict)
    compensation: str | None = None
    relative_energy: Relative | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_energy(cls, data: Any) -> Any:
        return (
            {**data, "energy": None}
            if isinstance(data, dict) and data.get("energy") == {}
            else data
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = {unit.name for unit in self.units}
        for index, layer in enumerate(self.layers):
            if layer.unit is not None and layer.unit not in names:
                raise ValueError(f"layers.{index}.unit: {layer.unit!r} is none of `units`")
        return self


class Manifest(BaseModel):
    """`manifest.json`: shown as it is, whatever it contains."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: Literal[1] = 1


@dataclass(frozen=True, repr=False)
class Results(FrontView):
    """The validated files of one output folder."""

    front: Front
    plan: Plan
    manifest: Manifest | None
    operands: Operands | None = None

    def unit_names(self, count: int) -> list[str]:
        """Names of the units of a point; numbered where the plan does not name as many."""
        if count == len(self.plan.units):
            return [unit.name for unit in self.plan.units]
        return [f"unit{index}" for index in range(count)]

    def front_data(self) -> FrontData:
        """What is drawn of the front."""
        return self.front.drawn

    def columns(self) -> tuple[list[str], list[str]]:
        """Names of the units and of the layers."""
        units = self.unit_names(len(self.front.chosen.assignment.units))
        return units, [layer.name for layer in self.front.layers]

    def _subject(self) -> str:
        return f"{self.front.model.name} on {self.front.target}"

    @property
    def agree(self) -> bool:
        """False where plan.json is visibly not the plan of the selected point."""
        stated = self.plan.relative_energy
        return stated is None or abs(stated - self.front.chosen.relative_energy) < 1e-6


Document = TypeVar("Document", bound=BaseModel)


def load_results(directory: str | Path) -> Results:
    """Reads `front.json`, `plan.json` and, if they exist, `manifest.json` and `operands.json`.

    Raises InputError, one line naming file, field and remedy, for a file that is missing, cannot
    be read, is no JSON, does not have the fields or is of another version.
    """
    directory = Path(directory)
    front = _read(directory / "front.json", Front, MAX_FILE_BYTES)
    plan = _read(directory / "plan.json", Plan, MAX_FILE_BYTES)
    path = directory / "manifest.json"
    manifest = _read(path, Manifest, MAX_MANIFEST_BYTES) if path.exists() else None
    path = directory / "operands.json"
    operands = _read(path, Operands, MAX_FILE_BYTES) if path.exists() else None
    return Results(front, plan, manifest, operands)


def _read(path: Path, model: type[Document], limit: int) -> Document:
    remedy = "give the output folder of `alwann-c compile`, or run it again"
    try:
        if path.stat().st_size > limit:
            raise InputError(f"{path}: larger than {limit} bytes: {remedy}")
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as e:
        raise InputError(f"{path}: no such file: {remedy}") from e
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror or e}): {remedy}") from e
    except ValidationError as e:
        raise InputError(f"{path}: {_problem(e)}: {remedy}") from e


def _problem(error: ValidationError) -> str:
    """The first problem in words; a wrong version is told before anything it causes."""
    found = error.errors(include_url=False)
    first = next((problem for problem in found if problem["loc"] == ("version",)), found[0])
    where = ".".join(str(part) for part in first["loc"])
    if where == "version" and first["type"] == "literal_error":
        return f"version: {first['input']!r}, but this alwann-c reads version 1"
    if first["type"] == "missing":
        return f"{where}: missing"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{where}: {first['msg']}" if where else first["msg"]
