"""The report: content, escaping, refusals."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from folder import LAYERS, results_folder

from alwann_c.errors import InputError
from alwann_c.report import render_report, write_report

VOID = {"meta", "link", "br", "input"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return results_folder(tmp_path / "out")


def _edit(folder: Path, name: str, *where: str | int, value: Any) -> None:
    content = json.loads((folder / name).read_text())
    at = content
    for part in where[:-1]:
        at = at[part]
    at[where[-1]] = value
    (folder / name).write_text(json.dumps(content))


class _Page(HTMLParser):
    """Checks nesting; collects the text, the ids and every address the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"inline handler {name}"
            assert name != "style"
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "action", "data", "xlink:href"):
                self.addresses.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


def test_sections_come_in_order_and_hold_the_figures(folder: Path) -> None:
    page = _Page(render_report(folder))
    wanted = [
        "result",
        "front",
        "assignment",
        "energy",
        "operands",
        "compensation",
        "time",
        "repeat",
    ]
    assert [i for i in page.ids if i in wanted] == wanted
    assert len(page.ids) == len(set(page.ids))
    assert not page.open
    chosen = json.loads((folder / "front.json").read_text())["front"][4]
    figures = [
        f"{100 * (1 - chosen['relative_energy']):.1f} %",
        "float 87.00 %",
        "31.0 %",
        "11.2 s",
    ]
    figures += [f"{100 * chosen['test_accuracy']:.2f} %", f"{100 * chosen['test_drop']:.2f} points"]
    for text in (*figures, "1,000 test images", "−0.0123", "a" * 64, "alwann-c compile model.onnx"):
        assert text in page.text
    assert "different runs" not in page.text
    _edit(folder, "plan.json", "relative_energy", value=0.123)
    assert "different runs" in render_report(folder)


def _cells(page: str, caption: str) -> list[list[str]]:
    """The text of a table's cells, row by row, the heading first."""
    body = page.split(f">{caption}<")[1].split("</table>")[0]
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in re.findall(r"<tr>.*?</tr>", body)
    ]


def test_every_unit_stands_beside_its_own_energy(folder: Path) -> None:
    heading, *rows = _cells(render_report(folder), "Per unit and image")
    told = [dict(zip(heading, row, strict=True)) for row in rows]
    energy = json.loads((folder / "plan.json").read_text())["energy"]
    assert [row["Unit"] for row in told] == ["tile0", "tile1", "tile2"]
    assert {len({unit[key] for unit in energy["units"]}) for key in ("macs", "total_pj")} == {3}
    for row, unit in zip(told, energy["units"], strict=True):
        own = [layer for layer in energy["layers"] if layer["unit"] == row["Unit"]]
        assert row["Multiplier"] == unit["multiplier"]
        assert row["Layers"] == str(len(own))
        assert row["Busy"] == f"{100 * unit['busy']:.0f} %"
        for column, key in (("Mult., µJ", "multiplication_pj"), ("Total, µJ", "total_pj")):
            assert row[column] == f"{sum(layer[key] for layer in own) / 1e6:.2f}", column


def test_everything_that_repeats_the_run_is_named(folder: Path) -> None:
    text = _Page(render_report(folder)).text
    repeat = text[text.index("To repeat it") :]
    for told in ("greedy", "e" * 64, "search_images321", "raceTrue", "quick.rows16384"):
        assert told in repeat, told
    for told in ("exclusions.namesconv0, fc", "unit[0].rows17"):
        assert told in repeat, told
    for key in ("options", "target_sha256", "target_content", "method"):
        content = json.loads((folder / "front.json").read_text())
        del content[key]  # files written before have no such keys
        (folder / "front.json").write_text(json.dumps(content))
    older = _Page(render_report(folder)).text
    assert "nsga2" in older
    assert "Target as it was described" not in older


def test_operands_and_what_compensation_changed(folder: Path) -> None:
    text = render_report(folder)
    page = _Page(text)
    assert text.count('class="operand-card"') == len(LAYERS)
    assert text.count('class="histogram"') == len(LAYERS)
    for figure in ("87.5", "−61.2", "1.1 k", "98.7 %", "5.0 %", "2.75", "96 calibration images"):
        assert figure in page.text, figure
    (folder / "operands.json").unlink()
    without = render_report(folder)
    assert "holds no operands.json" in without
    assert "98.7 %" not in without


def test_self_contained_with_marks_and_panels(folder: Path) -> None:
    text = render_report(folder)
    assert all(a.startswith("#") or a == "data:," for a in _Page(text).addresses)
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    found = set(re.findall(r"https?://[^\s\"'\\]*", own))
    assert all("www.w3.org/" in address or "schema/vega-lite" in address for address in found)
    assert "default-src &#x27;none&#x27;" in text
    assert "unsafe" not in own
    charts = json.loads(re.findall(r'id="charts">(.*?)</script>', text)[0])
    for chart in charts.values():
        points = [row["point"] for row in chart["data"]["values"]]
        assert sorted(points) == list(range(6))
    assert own.count('aria-roledescription="point"') == 6  # the still picture
    assert len(text) < 1_500_000
    assert text.count('<article id="point-') == 6
    assert text.count("point-panel is-shown") == 1


def test_same_input_gives_same_file_and_replaces_the_old(folder: Path) -> None:
    content = write_report(folder).read_bytes()
    (folder / "report.html").write_text("old")
    assert write_report(folder).read_bytes() == content
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def _poisoned(value: Any, poison: str) -> Any:
    if isinstance(value, dict):
        return {k: _poisoned(v, poison) for k, v in value.items()}
    if isinstance(value, list):
        return [_poisoned(v, poison) for v in value]
    return value + poison if isinstance(value, str) else value


POISONS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onload='x", "]]>-->"]
POISONS += ["</title>&amp;", "$body ${x} $$", "\u0000\u001b[31m\u202e", "x" * 5000]


@pytest.mark.parametrize("poison", POISONS)
def test_untrusted_text_stays_text(folder: Path, poison: str) -> None:
    pages = []
    for told in ("plain", poison):
        _edit(folder, "front.json", "seconds", value={told: 1.0, "total": 1.0})
        _edit(folder, "manifest.json", "self_test", value={told: told})
        for name in ("front.json", "plan.json", "manifest.json", "operands.json"):
            content = _poisoned(json.loads((folder / name).read_text()), told)
            (folder / name).write_text(json.dumps(content))
        pages.append(_Page(render_report(folder)))
    plain, page = pages
    assert (page.ids, page.addresses) == (plain.ids, plain.addresses)
    assert [t for t in page.tags if t != "span"] == [t for t in plain.tags if t != "span"]


def test_optional_parts_may_be_absent(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    _edit(folder, "plan.json", "energy", value={})
    _edit(folder, "front.json", "data", "test", value=None)
    for key in ("test_accuracy", "test_drop", "test_drop_ci95"):
        for index in range(6):
            _edit(folder, "front.json", "front", index, key, value=None)
    page = _Page(render_report(folder))
    assert "no test data was given" in page.text
    assert "1,000 search images" in page.text
    assert "holds no energy report" in page.text


@pytest.mark.parametrize(
    ("drop", "bounds", "told"),
    [
        (0.001, [-0.001, 0.004], "The whole 95 % interval"),
        (0.004, [-0.001, 0.02], "keeps the limit"),
        (0.007, [0.004, 0.01], "still holds it"),
        (0.02, [0.01, 0.03], "breaks the limit"),
    ],
)
def test_the_verdict_follows_the_interval(
    folder: Path, drop: float, bounds: list[float], told: str
) -> None:
    for name, value in (("test_drop", drop), ("test_drop_ci95", bounds)):
        _edit(folder, "front.json", "front", 4, name, value=value)
    assert told in _Page(render_report(folder)).text


@pytest.mark.parametrize("name", ["front.json", "plan.json"])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file: give the output folder"):
        write_report(folder)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 100_000, b"[]", b"null", b'{"version": 1', b"NaN"]
)
@pytest.mark.parametrize("name", ["front.json", "plan.json", "manifest.json", "operands.json"])
def test_corrupt_file(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: .*run it again") as caught:
        render_report(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "where", "value", "told"),
    [
        ("front.json", ("version",), 2, "version: 2, but this alwann-c reads version 1"),
        ("manifest.json", ("version",), 3, "version: 3"),
        ("front.json", ("front",), [], "front: "),
        ("front.json", ("selected",), 6, "selected: 6, but front has 6 points"),
        ("front.json", ("model",), {"name": "m"}, "model.sha256: missing"),
        ("front.json", ("front", 1, "accuracy"), 1.5, "front.1.accuracy: "),
        ("front.json", ("front", 1, "drop"), float("nan"), "front.1.drop: "),
        ("front.json", ("front", 2, "assignment", "layers"), [0], "1 entries for 4 layers"),
        ("front.json", ("front", 2, "assignment", "layers", 0), 3, "unit 3 of 3 units"),
        ("plan.json", ("layers", 0, "unit"), "nope", "layers.0.unit: 'nope' is none of"),
        ("plan.json", ("energy", "layers", 0, "dram_pj"), -1, "energy.layers.0.dram_pj: "),
    ],
)
def test_wrong_field(
    folder: Path, name: str, where: tuple[str | int, ...], value: Any, told: str
) -> None:
    _edit(folder, name, *where, value=value)
    with pytest.raises(InputError, match=re.escape(f"{name}: ")) as caught:
        render_report(folder)
    assert told in str(caught.value)


def test_unwritable_folder(folder: Path) -> None:
    (folder / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html: cannot write"):
        write_report(folder)


def test_one_point_without_candidates(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "one", points=2, layers=[("only", 0)])
    front = json.loads((folder / "front.json").read_text())
    front.update(front=front["front"][:1], selected=0, evaluated=[], seconds={}, command="")
    (folder / "front.json").write_text(json.dumps(front))
    page = _Page(render_report(folder))
    assert "holds no times" in page.text
    assert "everything" not in page.text
