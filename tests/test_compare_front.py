"""The comparison with published fronts, on synthetic ones."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "compare_front.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """tools/compare_front.py."""
    spec = importlib.util.spec_from_file_location("compare_front", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def published(folder: Path) -> Path:
    points = [(0.80, 0.391), (0.81, 0.2), (0.78, 0.1955), (0.70, 0.1)]
    entry = {"network": "net", "units": 4, "exact_accuracy": 0.8, "points": []}
    entry["points"] = [{"accuracy": a, "mean_power_mw": p, "assignment": []} for a, p in points]
    path = folder / "published.json"
    path.write_text(json.dumps({"fronts": [entry, {**entry, "units": 2}]}), encoding="utf-8")
    return path


def compiled(folder: Path, points: list[tuple[float, float]], **changes: Any) -> Path:
    document = {
        "model": {"name": "ours"},
        "target": "four",
        "data": {"test": {"images": 500}, "search": {"images": 100}},
        "int8_accuracy": {"search": 0.95, "test": 0.9},
        "front": [
            {"relative_energy": e, "accuracy": 0.1, "test_accuracy": 0.9 - loss}
            for e, loss in points
        ],
        **changes,
    }
    folder.mkdir(exist_ok=True)
    (folder / "front.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def run(
    tool: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    code = tool.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_hypervolume_is_the_dominated_area(tool: ModuleType) -> None:
    points = [(0.9, 0.0), (0.5, 0.01), (0.6, 0.02), (0.2, 0.04), (0.1, 0.2)]
    draw = np.random.default_rng(0)
    energy, loss = draw.random(200_000), 0.05 * draw.random(200_000)
    inside = np.zeros(len(energy), bool)
    for e, x in points:
        inside |= (energy >= e) & (loss >= x)
    assert tool.hypervolume(points, 0.05) == pytest.approx(inside.mean(), abs=0.005)
    assert tool.hypervolume([(1.0, 0.0)], 0.05) == 0
    assert tool.hypervolume([(0.0, 0.0)], 0.05) == 1


def test_losses_are_against_the_exact_network_of_each(tool: ModuleType, tmp_path: Path) -> None:
    """Theirs: exact_accuracy - accuracy, luck counted as none. Ours: of the test data."""
    (front,) = tool.published_fronts(published(tmp_path), "net", 4, 0.391)
    expected = [(1.0, 0.0), (0.2 / 0.391, 0.0), (0.5, 0.02), (0.1 / 0.391, 0.1)]
    np.testing.assert_allclose(front.points, expected)
    own = tool.own_front(compiled(tmp_path / "a", [(0.5, 0.01), (0.3, -0.02)]))
    np.testing.assert_allclose(own.points, [(0.5, 0.01), (0.3, 0.0)], atol=1e-12)
    untested = {"int8_accuracy": {"search": 0.15, "test": None}}
    searched = tool.own_front(compiled(tmp_path / "b", [(0.5, 0.01)], **untested))
    np.testing.assert_allclose(searched.points, [(0.5, 0.05)])
    assert "100 images" in searched.name


def test_domination_and_picture(
    tool: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, better = published(tmp_path), compiled(tmp_path / "better", [(0.45, 0.0), (0.3, 0.02)])
    picture = tmp_path / "picture.svg"
    asked = [better, "--published", file, "--network", "net", "--units", 4]
    code, out, _ = run(tool, capsys, *asked, "-o", picture, "--json")
    assert code == 0
    result = json.loads(out)
    (pair,) = result["pairs"]
    assert pair["plans"] == 2  # (0.51, 0) and (0.5, 0.02); the others are beaten or lose 10 points
    assert pair["undominated"] == []
    ours, theirs = result["hypervolume"].values()
    assert ours > theirs > 0
    text = picture.read_text(encoding="utf-8")
    assert text.startswith("<svg")
    assert "published, net on 4 units" in text
    worse = compiled(tmp_path / "worse", [(0.9, 0.0)])
    code, out, _ = run(tool, capsys, worse, *asked[1:])
    assert "dominates 0 of 2 plans" in out
    assert "not: energy 0.512, loss 0.00 points" in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--units", "9"], "no such front: it has net on 4, net on 2 units"),
        (["-o", "x.gif"], "x.gif: give a name ending in"),
    ],
)
def test_bad_input_is_one_line(
    tool: ModuleType,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    change: list[str],
    said: str,
) -> None:
    folder, file = compiled(tmp_path / "a", [(0.5, 0.01)]), published(tmp_path)
    code, _, err = run(tool, capsys, folder, "--published", file, *change)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    (tmp_path / "a" / "front.json").write_text("{}", encoding="utf-8")
    code, _, err = run(tool, capsys, folder, "--published", file)
    assert (code, err.count("\n")) == (2, 1)
    assert "no front.json of `compile`" in err
