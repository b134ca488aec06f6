"""Target files: the ones shipped, what is refused and how it is told, the JSON Schema."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from alwann_c.errors import InputError
from alwann_c.targets import (
    bind,
    builtin_target_names,
    expand_units,
    load_builtin_library,
    load_library,
    load_target,
    target_schema,
)
from alwann_c.targets.target_file import BUILTIN_TARGETS

MINIMAL = """\
schema = 1
name = "mine"
architecture = "power-gated"
clock_mhz = 100.0
[[unit]]
name = "u"
"""


def test_every_builtin_target_loads_and_is_named_like_its_file() -> None:
    for name in builtin_target_names():
        target = load_target(name)
        assert target.name == name
        assert bind(target, load_builtin_library()).reference.name == "mul8u_exact"
    shipped = {path.stem for path in BUILTIN_TARGETS["template"].parent.glob("*.toml")}
    assert shipped == set(builtin_target_names())


@pytest.mark.parametrize("architecture", ["power-gated", "pipelined"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_two_architectures_of_the_paper(architecture: str, count: int) -> None:
    target = load_target(f"{architecture}-{count}")
    assert target.architecture == architecture
    assert len(expand_units(target)) == count


def test_builtin_targets_take_evoapprox(evoapprox: Path) -> None:
    library = load_library(evoapprox)
    for name in builtin_target_names():
        binding = bind(load_target(name), library)
        assert binding.reference.name == "mul8u_1JFF"
        assert {len(names) for names in binding.candidates} == {36}


def test_the_template_shows_every_key() -> None:
    text = BUILTIN_TARGETS["template"].read_text(encoding="utf-8")
    schema = target_schema()
    for table in [schema, *schema["$defs"].values()]:
        for key in table["properties"]:
            assert any(
                line.lstrip("# []").startswith((f"{key} =", f"{key}]", f"energy.{key}]"))
                for line in text.splitlines()
            ), key


def test_a_minimal_target_has_the_stated_defaults(tmp_path: Path) -> None:
    target = _load(tmp_path, MINIMAL)
    (unit,) = expand_units(target)
    assert (unit.name, unit.rows, unit.columns, unit.macs_per_cycle) == ("u", 16, 16, 256.0)
    assert unit.layers == {"conv2d", "grouped_conv2d", "depthwise_conv2d", "dense", "matmul"}
    assert not target.layers.approximate_dense
    assert not target.operands.signed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rows = 0", "unit[0].rows: 0: give 1 or more"),
        ("rows = 2.5", "unit[0].rows: 2.5: give a whole number"),
        ("rows = true", "unit[0].rows: True"),
        ('layers = ["conv3d"]', "unit[0].layers[0]: 'conv3d': give 'conv2d'"),
        ("layers = []", "unit[0].layers"),
        ("multipliers = []", "unit[0].multipliers: []: give 1 or more"),
        ('multipliers = "m"', "unit[0].multipliers: 'm': give a list"),
        ('multiplier = "a"\nmultipliers = ["b"]', "unit[0].multiplier: given beside multipliers"),
        ("macs_per_cycle = 257.0", "unit[0].macs_per_cycle: 257 from 256 MACs"),
        ("leakage_mw = inf", "unit[0].leakage_mw: inf"),
        ("colums = 3", "unit[0].colums: unknown key: did you mean 'columns'?"),
        ('[[unit]]\nname = "u"', "unit[1].name: 'u' is used before"),
        ("count = 65", "unit[0].count: 65"),
        ("[energy]\nfrm = 1", "energy.frm: unknown key: did you mean 'from'?"),
        ('[energy]\nsource = "table"', "energy.source: unknown key"),
        ('[energy]\nfrom = "table"', "energy.multiplication_pj: missing"),
        ("[energy.multiplication_pj]\na = 1.0", 'energy.multiplication_pj: not used: set from = "'),
        (
            '[energy]\nfrom = "table"\nreference = "b"\n[energy.multiplication_pj]\na = 1.0',
            "energy.multiplication_pj: nothing for the reference 'b'",
        ),
        ("[energy]\nmac_overhead_pj = -1", "energy.mac_overhead_pj: -1"),
        ("[operands]\nactivation_bits = 16", "operands.activation_bits: 16"),
        ("[constraints]\narea_um2 = 0", "constraints.area_um2: 0"),
        ("[constrains]", "constrains: unknown key: did you mean 'constraints'?"),
    ],
)
def test_bad_targets_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _load(tmp_path, f"{MINIMAL}{line}\n")
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"{tmp_path / 'mine.toml'}: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('[[unit]]\nname = "u"\n', "", "unit: missing: give it"),
        ('[[unit]]\nname = "u"\n', "unit = []", "unit: []"),
        ("[[unit]]", "[unit]", "unit: one table where a list belongs: write [[unit]]"),
        ('"power-gated"', '"gated"', "architecture: 'gated': give 'power-gated' or 'pipelined'"),
        ("clock_mhz = 100.0", "", "clock_mhz: missing"),
        ("clock_mhz = 100.0", 'clock_mhz = "fast"', "clock_mhz: 'fast'"),
        ("schema = 1", "schema = 9", "schema: 9: give 1"),
        ('"mine"', '"my target"', "is no name"),
        ("schema = 1", "schema 1", "not valid TOML"),
    ],
)
def test_other_bad_targets_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _load(tmp_path, MINIMAL.replace(old, new))
    assert message in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _load(tmp_path, MINIMAL.replace("100.0", "-1") + "rows = 0\ncolour = 1\n")
    for part in ("clock_mhz", "unit[0].rows", "unit[0].colour"):
        assert part in str(caught.value)
    assert "unit: " not in str(caught.value)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "large.toml").write_bytes(b"#" * (5 << 20))
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000, encoding="utf-8")
    for name, message in {
        "absent.toml": "no such file",
        "binary.toml": "not UTF-8",
        "large.toml": "larger than",
        "deep.toml": "not valid TOML",
        ".": "cannot be read",
    }.items():
        with pytest.raises(InputError, match=message):
            load_target(tmp_path / name)


def test_an_unknown_builtin_name_is_corrected() -> None:
    with pytest.raises(InputError, match="did you mean 'power-gated-4'"):
        load_target("power-gated4")


def test_schema_describes_the_files() -> None:
    schema = target_schema()
    json.dumps(schema)
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["required"]) == {"name", "architecture", "clock_mhz", "unit"}
    assert schema["additionalProperties"] is False
    assert {"from", "reference"} <= set(schema["$defs"]["Energy"]["properties"])
    for name in builtin_target_names():
        document = tomllib.loads(BUILTIN_TARGETS[name].read_text(encoding="utf-8"))
        assert set(document) <= set(schema["properties"])


def _load(folder: Path, text: str) -> Any:
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return load_target(folder / "mine.toml")
