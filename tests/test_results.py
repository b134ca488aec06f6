"""What `compile` leaves: tables, operands, what a notebook shows of it."""

from __future__ import annotations

import csv
import json
import logging
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Compiled
from tiny import Case

import alwann_c as ax
from alwann_c.accelerator import Exclusions
from alwann_c.compensation import Compensator, Effort
from alwann_c.operands import describe_operands
from alwann_c.passes.approximate import uncompensated
from alwann_c.progress import Clock
from alwann_c.python_call import python_call
from alwann_c.targets import Target, load_builtin_library, load_target

LIBRARY = load_builtin_library()


def _json(compiled: Compiled, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((compiled.folder / name).read_text(encoding="utf-8"))
    return document


def test_front_csv_says_what_front_json_says(compiled: Compiled) -> None:
    front = _json(compiled, "front.json")
    with (compiled.folder / "front.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(front["front"])
    energies = [float(row["relative_energy"]) for row in rows]
    assert energies == sorted(energies)
    for row in rows:
        point = front["front"][int(row["point"])]
        assert float(row["accuracy"]) == point["accuracy"]
        assert [float(row["drop_low"]), float(row["drop_high"])] == point["drop_ci95"]
        assert float(row["expected_drop_bound"]) == point["expected_drop_bound"]
        assert float(row["test_drop"]) == point["test_drop"]
        assert (row["selected"] == "True") == (int(row["point"]) == front["selected"])
        units, placed = point["assignment"]["units"], point["assignment"]["layers"]
        assert [row["unit u0"], row["unit u1"]] == units
        assert [row["layer c1"], row["layer c2"]] == [units[unit] for unit in placed]


def test_front_json_says_why_the_plan_was_chosen(compiled: Compiled) -> None:
    front = _json(compiled, "front.json")
    bounds = [point["expected_drop_bound"] for point in front["front"]]
    keeping = [
        (point["relative_energy"], index)
        for index, (point, bound) in enumerate(zip(front["front"], bounds, strict=True))
        if bound <= front["max_drop"]
    ]
    chosen = min(keeping)[1] if keeping else bounds.index(min(bounds))
    assert front["selected"] == chosen
    for point in front["front"]:
        assert point["expected_drop"] <= point["expected_drop_bound"]


def test_front_json_says_what_plans_cost_and_how_they_were_found(compiled: Compiled) -> None:
    front, plan = _json(compiled, "front.json"), _json(compiled, "plan.json")
    chosen = front["front"][front["selected"]]
    assert chosen["total_pj"] == plan["energy"]["total_pj"]
    assert chosen["area_um2"] == plan["energy"]["area_um2"]
    assert chosen["latency_us"] == plan["energy"]["timing"]["latency_us"]
    assert (front["method"], front["third_objective"]) == ("nsga2", None)
    assert 0 <= front["stopped_early"] < front["evaluations"]


def test_front_json_holds_what_repeats_the_run(compiled: Compiled) -> None:
    front = _json(compiled, "front.json")
    target = load_target(compiled.target)
    assert Target.model_validate(front["target_content"]) == target
    assert front["target_sha256"] == target.content_hash
    other = target.model_copy(update={"clock_mhz": 101.0})
    assert other.content_hash != target.content_hash
    asked = asdict(ax.SearchOptions(population=6, generations=2))
    said = front["options"]
    assert {name: said[name] for name in asked} == asked
    assert said["exclusions"] == {**asdict(Exclusions()), "names": []}
    assert (said["approximate"], said["device"]) == (["conv2d"], "cpu")


def test_the_page_of_formats_names_every_field_of_front_json(compiled: Compiled) -> None:
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    named = set(
        re.findall(r"`(?:front\[\])?\.?(\w+)`", page.split("## Front\n")[1].split("\n## ")[0])
    )
    front = _json(compiled, "front.json")
    assert {*front, *front["front"][0], *front["options"], *front["options"]["quick"]} <= named


def test_a_call_is_written_as_the_python_that_repeats_it(tmp_path: Path) -> None:
    def job(
        model: str, *, output: Path, options: object = None, parts: tuple[str, ...] = (), say: int
    ) -> None:
        """Takes what `ax.compile` takes."""

    options = ax.SearchOptions(seed=3, quick=Effort(rows=9, sweeps=0), race=True)
    given = {"model": "a'b.onnx", "output": tmp_path, "options": options, "say": 5}
    written = python_call("job", job, {**given, "parts": ("dense",)}, {"say"})
    assert written == (
        f'job("a\'b.onnx", output={str(tmp_path)!r}, options='
        "SearchOptions(seed=3, quick=Effort(rows=9, sweeps=0)), parts=['dense'])"
    )
    target = load_target("power-gated-4")
    written = python_call("job", job, {**given, "options": target, "parts": ()}, {"say"})
    assert written.endswith("options=<Target power-gated-4>)")


def test_results_as_records_and_frame(compiled: Compiled) -> None:
    results = ax.load_results(compiled.folder)
    records = results.records()
    assert sum(record["selected"] for record in records) == 1
    chosen = next(record for record in records if record["selected"])
    assert chosen["relative_energy"] == compiled.data["selected"]["relative_energy"]
    assert chosen["test_drop"] == compiled.data["selected"]["test_drop"]
    pytest.importorskip("pandas")
    frame = results.to_frame()
    assert list(frame.columns) == list(records[0])
    assert frame.accuracy.tolist() == [record["accuracy"] for record in records]


class _Nesting(HTMLParser):
    """Elements that are open; the text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, _attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_notebooks_show_fronts_and_plans(compiled: Compiled) -> None:
    results = ax.load_results(compiled.folder)
    shown = results._repr_html_()
    page = _Nesting(shown)
    assert page.open == []
    assert shown.count('aria-roledescription="point"') == len(results.front.front)
    assert "net on three" in page.text
    assert "(chosen)" in page.text
    assert repr(results).startswith("<Results of net on three: front of ")
    plan = ax.load_plan(compiled.folder / "plan.json")
    page = _Nesting(plan._repr_html_())
    assert page.open == []
    for layer in plan.layers:
        assert layer.name in page.text
        assert layer.multiplier in page.text
    assert len(repr(plan)) < 200


def test_reprs_are_short(small: Case) -> None:
    assert repr(small.model).startswith("<Model net: image[3, 8, 8] -> ")
    assert repr(small.quantized) == "<QuantizedModel net: 3 integer layers>"


def test_operands_are_those_of_the_network(compiled: Compiled) -> None:
    operands = _json(compiled, "operands.json")
    plan = ax.load_plan(compiled.folder / "plan.json")
    assert [layer["name"] for layer in operands["layers"]] == ["c1", "c2"]
    for layer, inputs, weights in zip(operands["layers"], (3 * 64, 96), (162, 324), strict=True):
        assert sum(layer["activations"]) == operands["images"] * inputs
        assert sum(layer["weights"]) == weights
        planned = next(p for p in plan.layers if p.name == layer["name"])
        assert layer["multiplier"] == planned.multiplier
        assert layer["weight_changes"]["share"] == pytest.approx(planned.changed_weights)
        error = layer["output_error"]
        if layer["multiplier"] == "mul8u_exact":
            assert error["after"] == error["before"]
        else:
            assert error["after"] < error["before"]


def test_errors_of_the_operands_against_their_definition(small: Case) -> None:
    layer = small.quantized.layers["c1"]
    multiplier = LIBRARY.find("mul8u_p30")
    approximations = {"c1": uncompensated(layer, multiplier)}
    found = describe_operands(small.quantized, approximations)["layers"][0]
    table = multiplier.table.astype(np.int64)
    codes = np.repeat(np.arange(256), found["activations"])
    pairs = np.ix_(codes, layer.weight.ravel())
    errors = table[pairs] - np.outer(codes, layer.weight.astype(np.int64).ravel())
    figures = found["product_error"]
    assert figures["mean"] == pytest.approx(errors.mean())
    assert figures["absolute"] == pytest.approx(np.abs(errors).mean())
    assert figures["deviation"] == pytest.approx(errors.std())
    assert found["weight_changes"] == {"share": 0.0, "mean_step": 0.0, "largest_step": 0}
    assert found["output_error"]["before"] == found["output_error"]["after"] > 0.1
    exact = {"c1": uncompensated(layer, LIBRARY.find("mul8u_exact"))}
    found = describe_operands(small.quantized, exact)["layers"][0]
    assert set(found["product_error"].values()) == {0.0, found["product_error"]["product"]}
    assert found["output_error"]["before"] < 0.1


def test_the_fit_lowers_the_output_error(small: Case) -> None:
    multiplier = LIBRARY.find("mul8u_p30")
    fitted = Compensator(small.quantized).network({"c1": multiplier}, "full")
    error = describe_operands(small.quantized, fitted)["layers"][0]["output_error"]
    assert error["after"] < 0.5 * error["before"]


def test_stages_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.DEBUG, "alwann_c"), clock.stage("calibrate"):
        pass
    assert [record.name for record in caplog.records] == ["alwann_c.progress"]
    assert caplog.records[0].getMessage().startswith("calibrate took 0.")
    assert set(clock.total()) == {"calibrate", "total"}
