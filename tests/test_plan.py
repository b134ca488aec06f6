"""Plans: what is written is what is read; anything altered is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tiny import Case, make_target, random_multiplier, residual_net, tiny_library

from alwann_c.accelerator import Accelerator, Exclusions, place
from alwann_c.builder import make_plan
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.passes.approximate import LayerApproximation, uncompensated
from alwann_c.passes.compensate import recode
from alwann_c.plan import PackedArray, Plan, load_plan, write_plan
from alwann_c.quantized import QuantizationScheme, quantize
from alwann_c.targets import Assignment, Library

LIBRARY = tiny_library()
UNITS = ("cut9", "cut6")


@pytest.fixture(scope="module")
def accelerator(small: Case) -> Accelerator:
    """The small network on two units."""
    return place(small.quantized, make_target(), LIBRARY)


@pytest.fixture(scope="module")
def chosen(small: Case) -> dict[str, LayerApproximation]:
    """c1 on cut9, c2 on cut6, with offsets and scales that are not the original ones."""
    made = {}
    for name, multiplier in zip(small.convolutions, UNITS, strict=True):
        layer = small.quantized.layers[name]
        coded = recode(layer, layer.weight_scale * np.float32(0.8), layer.weight_zero_point - 17)
        plain = uncompensated(coded, LIBRARY.find(multiplier))
        scale = plain.scale * np.float32(0.7)
        made[name] = LayerApproximation(
            coded, plain.multiplier, 255 - plain.weight, plain.offset - 77, scale
        )
    return made


@pytest.fixture
def plan(accelerator: Accelerator, chosen: dict[str, LayerApproximation]) -> Plan:
    """A plan with the layers on units of their own."""
    return make_plan(accelerator, Assignment(UNITS, (0, 1)), chosen, "full")


def test_round_trip(
    tmp_path: Path, small: Case, plan: Plan, chosen: dict[str, LayerApproximation]
) -> None:
    write_plan(plan, tmp_path / "plan.json")
    read = load_plan(tmp_path / "plan.json")
    assert read.model_dump(mode="json") == plan.model_dump(mode="json")
    assert read.sha256 == plan.sha256
    found = read.approximations(small.quantized, LIBRARY)
    assert list(found) == list(chosen)
    for name, wanted in chosen.items():
        for field in ("weight", "offset", "scale"):
            got, expected = getattr(found[name], field), getattr(wanted, field)
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == expected.dtype
        assert found[name].multiplier == wanted.multiplier


def test_says_what_was_chosen(accelerator: Accelerator, plan: Plan, small: Case) -> None:
    rows = {layer.name: layer for layer in plan.layers}
    assert list(rows) == ["c1", "c2", "fc"]
    assert [rows[n].multiplier for n in rows] == ["cut9", "cut6", "exact"]
    assert [rows[n].unit for n in rows] == ["u0", "u1", None]
    assert [rows[n].excluded for n in rows] == [False, False, True]
    assert [rows[n].relative_cost for n in rows] == [0.5, 0.8, 1.0]
    macs = {name: layer.spec.macs for name, layer in small.quantized.layers.items()}
    assert macs == {"c1": 4 * 4 * 6 * 27, "c2": 4 * 4 * 6 * 54, "fc": 24}
    expected = (macs["c1"] * 0.5 + macs["c2"] * 0.8) / (macs["c1"] + macs["c2"])
    assert plan.relative_energy == pytest.approx(expected)
    assert accelerator.refusals == {"fc": "dense layers stay exact unless asked"}
    assert rows["fc"].weight is None
    assert set(plan.multipliers) == set(UNITS)


def _layer(document: dict[str, Any], index: int = 0) -> Any:
    return document["layers"][index]


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def alter(document: dict[str, Any]) -> None:
        for part in path[:-1]:
            document = document[part]
        document[path[-1]] = to

    return alter


def _swap(field: str) -> Callable[[dict[str, Any]], None]:
    def alter(document: dict[str, Any]) -> None:
        first, second = _layer(document, 0), _layer(document, 1)
        first[field], second[field] = second[field], first[field]

    return alter


WEIGHT = ("layers", 0, "weight")
ALTERED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "not base64": (_set(*WEIGHT, "data", to="***"), "layer 'c1': damaged array"),
    "not zlib": (_set(*WEIGHT, "data", to="AAAA"), "layer 'c1': damaged array"),
    "empty": (_set(*WEIGHT, "data", to=""), "layer 'c1': damaged array"),
    "other shape": (_set(*WEIGHT, "shape", to=[3, 3, 3, 5]), "damaged array"),
    "transposed": (_set(*WEIGHT, "shape", to=[3, 3, 6, 3]), "'c1' does not fit"),
    "negative shape": (_set(*WEIGHT, "shape", to=[-3, -3, 3, 6]), "'c1'"),
    "huge shape": (_set(*WEIGHT, "shape", to=[1 << 40]), "out of bounds"),
    "weights of another layer": (_swap("weight"), "'c1' does not fit"),
    "offset as floats": (_set("layers", 0, "offset", "dtype", to="float32"), "'c1'"),
    "scale as integers": (_set("layers", 0, "scale", "dtype", to="int32"), "'c1'"),
    "short offset": (
        _set("layers", 0, "offset", to=PackedArray.pack(np.zeros(5, np.int32)).model_dump()),
        "'c1' does not fit",
    ),
    "scale of another rank": (
        _set("layers", 0, "scale", to=PackedArray.pack(np.ones((1, 6), np.float32)).model_dump()),
        "'c1' does not fit",
    ),
    "infinite scale": (
        _set("layers", 0, "scale", to=PackedArray.pack(np.full(6, np.inf, "f4")).model_dump()),
        "'c1'",
    ),
    "unknown layer": (_set("layers", 0, "name", to="c9"), "'c9' does not fit"),
    "unknown multiplier": (_set("layers", 0, "multiplier", to="cut7"), "no multiplier 'cut7'"),
    "other table": (_set("layers", 0, "multiplier_sha256", to="0" * 64), "another table"),
    "other model": (_set("model", "sha256", to="0" * 64), "another content hash"),
    "other codes": (_set("quantization", "codes_sha256", to="0" * 64), "the codes differ"),
    "newer version": (_set("version", to=2), "version"),
    "unknown key": (_set("colour", to="red"), "colour"),
    "no energy": (_set("relative_energy", to=None), "relative_energy"),
}


@pytest.mark.parametrize(("alter", "message"), ALTERED.values(), ids=ALTERED.keys())
def test_altered_plans_are_refused(
    tmp_path: Path,
    small: Case,
    plan: Plan,
    alter: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    document = plan.model_dump(mode="json")
    alter(document)
    with contextlib.suppress(ValidationError):  # a seal that fits, so that the rest is looked at
        document["content_sha256"] = Plan.model_validate(document).sha256
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_plan(path).approximations(small.quantized, LIBRARY)


def test_the_seal_is_checked(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "plan.json"
    write_plan(plan, path)
    assert load_plan(path).sha256 == plan.sha256
    document = json.loads(path.read_text())
    document["relative_energy"] += 0.001
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=r"content_sha256: the plan was altered"):
        load_plan(path)
    del document["content_sha256"]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=r"content_sha256: missing"):
        load_plan(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json: "):
        load_plan(tmp_path / "plan.json")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_plan(tmp_path / "plan.json")


def test_plan_of_another_quantization(small: Case, plan: Plan) -> None:
    data = load_dataset(small.calibration.path)
    other = quantize(small.model, data, QuantizationScheme("per-tensor"))
    with pytest.raises(InputError, match="the codes differ"):
        plan.approximations(other, LIBRARY)


def test_plan_of_another_library(small: Case, plan: Plan) -> None:
    fakes = {name: random_multiplier(1) for name in ("cut9", "cut6")}
    with pytest.raises(InputError, match="another table in this library"):
        plan.approximations(small.quantized, Library("fake", "", None, fakes))


@pytest.mark.parametrize(
    ("exclusions", "kept"),
    [
        (Exclusions(), ("c1", "c2")),
        (Exclusions(first=True), ("c2",)),
        (Exclusions(last=True, approximate_dense=True), ("c1", "c2")),
        (Exclusions(approximate_dense=True), ("c1", "c2", "fc")),
        (Exclusions(names=("c*",), approximate_dense=True), ("fc",)),
    ],
)
def test_exclusions(small: Case, exclusions: Exclusions, kept: tuple[str, ...]) -> None:
    placed = place(small.quantized, make_target(), LIBRARY, exclusions)
    assert placed.approximable == kept
    assert set(placed.refusals) == {"c1", "c2", "fc"} - set(kept)


def test_impossible_exclusions(small: Case) -> None:
    with pytest.raises(InputError, match="no layer matches 'conv9'; the model has: c1, c2, fc"):
        place(small.quantized, make_target(), LIBRARY, Exclusions(names=("conv9",)))
    with pytest.raises(InputError, match="every layer is excluded"):
        place(small.quantized, make_target(), LIBRARY, Exclusions(names=("c*",)))


def test_more_pipeline_units_than_layers(small: Case) -> None:
    with pytest.raises(InputError, match="3 pipelined units for 2 approximable layers"):
        place(small.quantized, make_target("pipelined", 3), LIBRARY)


def test_depends_on_nothing_but_its_inputs(
    accelerator: Accelerator, chosen: dict[str, LayerApproximation], plan: Plan
) -> None:
    again = make_plan(accelerator, Assignment(UNITS, (0, 1)), chosen, "full")
    assert again.sha256 == plan.sha256
    assert residual_net(seed=3) == residual_net(seed=3)
