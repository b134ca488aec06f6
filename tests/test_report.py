"""The report: content, escaping, refusals and, where Chromium is installed, its behaviour."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from alwann_c.errors import InputError
from alwann_c.report import render_report, write_report

LAYERS = [("conv0", 442_368), ("conv1", 2_359_296), ("conv2", 2_359_296), ("conv3", 1_179_648)]
CIRCUITS = {"mul8u_a": 0.8, "mul8u_b": 0.55, "mul8u_c": 0.3}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "link", "br", "input"}


def _front(points: int, layers: Sequence[tuple[str, int]]) -> dict[str, Any]:
    draw = random.Random(3)
    front = []
    for index in range(points):
        drop = 0.12 * (1 - (index + 1) / points) ** 2 - 0.001
        placed = {"units": list(CIRCUITS), "layers": [draw.randrange(3) for _ in layers]}
        search = {"accuracy": 0.87 - drop, "drop": drop, "drop_ci95": [drop - 0.006, drop + 0.006]}
        test: dict[str, Any] = {"test_accuracy": 0.866 - drop, "test_drop": drop + 0.001}
        test["test_drop_ci95"] = [drop - 0.005, drop + 0.007]
        energy = 0.3 + 0.65 * index / points
        front.append({**search, **test, "relative_energy": energy, "assignment": placed})
    seen = [(0.86 - draw.random() ** 3 * 0.7, 0.25 + 0.75 * draw.random()) for _ in range(200)]
    data = {"path": "data/d.toml", "sha256": "d" * 64, "images": 1000}
    return {
        "version": 1,
        "tool": "alwann-c 0.1.0",
        "command": "alwann-c compile model.onnx",
        "model": {"name": "resnet8", "sha256": "a" * 64},
        "target": "power-gated-3",
        "architecture": "power-gated",
        "seed": 7,
        "population": 50,
        "generations": 30,
        "libraries": [{"name": "classic", "sha256": "b" * 64, "multipliers": 29}],
        "data": {"calibration": data, "search": data, "test": data},
        "max_drop": 0.005,
        "float_accuracy": {"search": 0.87, "test": 0.867},
        "int8_accuracy": {"search": 0.8695, "test": 0.8662},
        "layers": [{"name": n, "kind": "conv2d", "macs": m} for n, m in layers],
        "front": front,
        "selected": points - 2,
        "evaluations": len(seen),
        "evaluated": [{"accuracy": a, "relative_energy": e} for a, e in seen],
        "seconds": {"calibrate": 2.0, "search": 40.0, "refine": 8.0, "total": 61.2},
    }


def _plan(front: dict[str, Any]) -> dict[str, Any]:
    chosen = front["front"][front["selected"]]
    units = [{"name": f"tile{u}", "multiplier": m} for u, m in enumerate(CIRCUITS)]
    layers, energies = [], []
    for layer, at in zip(front["layers"], chosen["assignment"]["layers"], strict=True):
        name, cost = units[at]["multiplier"], CIRCUITS[units[at]["multiplier"]]
        placed = {"unit": units[at]["name"], "multiplier": name}
        tuned = {"changed_weights": 0.31, "mean_correction": -0.0123}
        layers.append({**layer, **placed, **tuned, "relative_cost": cost, "excluded": False})
        parts = {"multiplication_pj": 0.2 * cost * layer["macs"], "buffer_pj": 1e5, "dram_pj": 3e5}
        own = {"name": layer["name"], "macs": layer["macs"], "total_pj": sum(parts.values())}
        energies.append({**own, **placed, **parts})
    dense = {"name": "dense", "kind": "dense", "macs": 640, "unit": None, "multiplier": "exact"}
    sums = {"layers": 1, "macs": 9, "busy": 0.3, "multiplication_pj": 1e5, "total_pj": 2e5}
    total = sum(layer["total_pj"] for layer in energies)
    energy = {"relative_energy": 0.5, "total_pj": total, "relative_total": 0.93}
    energy.update(layers=energies, units=[{**unit, **sums} for unit in units])
    return {
        "version": 1,
        "units": units,
        "layers": [*layers, {**dense, "relative_cost": 1.0, "excluded": True}],
        "relative_energy": chosen["relative_energy"],
        "energy": {**energy, "area_um2": 4e5, "images_per_second": 10_400.0},
        "multipliers": {m: {"power_mw": c, "mae": 12.25, "wce": 49} for m, c in CIRCUITS.items()},
    }


def _folder(path: Path, points: int = 6, layers: Sequence[tuple[str, int]] = LAYERS) -> Path:
    path.mkdir(exist_ok=True)
    front = _front(points, layers)
    manifest = {"version": 1, "device": "cpu", "input": {"shape": [0, 3]}}
    for name, content in (("front", front), ("plan", _plan(front)), ("manifest", manifest)):
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _folder(tmp_path / "out")


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
    wanted = ["result", "front", "assignment", "energy", "compensation", "time", "repeat"]
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


def test_self_contained_with_marks_and_panels(folder: Path) -> None:
    text = render_report(folder)
    assert all(a.startswith("#") or a == "data:," for a in _Page(text).addresses)
    assert set(re.findall(r"https?://[^\s\"']*", text)) == set()
    assert "default-src &#x27;none&#x27;" in text
    assert text.count("<script") == text.count("</script>") == 1
    marks = [text.count(f'href="#point-{index}" class="front-point') for index in range(6)]
    assert min(marks) >= 2
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
        for name in ("front.json", "plan.json", "manifest.json"):
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
@pytest.mark.parametrize("name", ["front.json", "plan.json", "manifest.json"])
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
    folder = _folder(tmp_path / "one", points=2, layers=[("only", 0)])
    front = json.loads((folder / "front.json").read_text())
    front.update(front=front["front"][:1], selected=0, evaluated=[], seconds={}, command="")
    (folder / "front.json").write_text(json.dumps(front))
    page = _Page(render_report(folder))
    assert "holds no times" in page.text
    assert "everything" not in page.text


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


def _browse(page: Path, profile: Path, fragment: str = "") -> str:
    """The DOM after the scripts have run; fails on any message on the console."""
    flags = "--headless --no-sandbox --disable-gpu --enable-logging=stderr --dump-dom"
    flags += (
        f" --virtual-time-budget=3000 --disable-background-networking --user-data-dir={profile}"
    )
    command = [str(CHROMIUM), *flags.split(), f"{page.as_uri()}{fragment}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout


CLICK = "mark(2).dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
HELPERS = """const mark = (n) => [...document.querySelectorAll(`a[data-point='${n}']`)]
.find((m) => m.getClientRects().length);
const key = (m, key) => m.dispatchEvent(new KeyboardEvent('keydown', {key}));"""


@needs_chromium
@pytest.mark.parametrize(
    ("fragment", "action", "shown"),
    [
        ("", "", 4),
        ("#point-3", "", 3),
        ("", CLICK, 2),
        ("#point-0", "mark(5).dispatchEvent(new MouseEvent('mouseenter'))", 5),
        ("", "mark(2).focus(); key(mark(2), 'ArrowRight')", 3),
        ("", "mark(3).focus(); key(mark(3), 'End'); document.activeElement.blur()", 4),
    ],
)
def test_browser_shows_the_plan_of_a_point(
    folder: Path, tmp_path: Path, fragment: str, action: str, shown: int
) -> None:
    page = write_report(folder)
    if action:
        text = re.sub(r"<meta http-equiv=[^>]*>", "", page.read_text(encoding="utf-8"))
        script = f"<script>{HELPERS}{action};</script></body>"
        page.write_text(text.replace("</body>", script), encoding="utf-8")
    dom = _browse(page, tmp_path / "profile", fragment)
    assert re.findall(r'<article id="point-(\d+)" class="point-panel is-shown"', dom) == [
        str(shown)
    ]
    marks = re.findall(rf'<a [^>]*class="front-point[^"]*is-shown"[^>]*data-point="{shown}"', dom)
    assert len(marks) >= 2
    assert fragment == "" or f"Plan of point {fragment[7:]} is shown" in dom
