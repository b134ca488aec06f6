"""The report in a headless Chromium: drawn, quiet, clickable, usable with the keyboard, legible."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, browser, needs_chromium
from folder import results_folder

from alwann_c.report import write_report

SHOWN = "[...document.querySelectorAll('.point-panel.is-shown')].map((p) => p.dataset.point)"
MARKS = "document.querySelectorAll('#plot path.front-point')"
POINTS = 6
CHOSEN = "4"

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of six points; point 4 is the selected one."""
    return write_report(results_folder(tmp_path_factory.mktemp("report") / "out"))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests of this file."""
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(chromium: Page, report: Path) -> Iterator[Page]:
    """The report at 1280 px; nothing may have been complained about in the end."""
    chromium.complaints.clear()
    chromium.open(report, 1280)
    yield chromium
    assert chromium.complaints == []


def place(page: Page, point: int) -> tuple[float, float]:
    """Middle of a point's mark in the window, scrolled into view."""
    mark = f"document.querySelector('#plot path.front-point[data-point=\"{point}\"]')"
    page.ask(f"{mark}.scrollIntoView({{block: 'center'}})")
    box = page.ask(f"JSON.parse(JSON.stringify({mark}.getBoundingClientRect()))")
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_every_point_is_drawn_and_the_selected_plan_shown(page: Page) -> None:
    assert page.ask(f"{MARKS}.length") == POINTS
    assert page.ask(SHOWN) == [CHOSEN]
    assert page.ask(f"[...{MARKS}].every((m) => m.getAttribute('aria-label').includes('Point'))")
    for group, least in (("whiskers_layer_0_marks", POINTS), ("seen_marks", 50)):
        assert page.ask(f"document.querySelectorAll('#plot .{group} > *').length") >= least


def test_hovering_shows_and_clicking_keeps(page: Page) -> None:
    x, y = place(page, 5)
    page.mouse("mouseMoved", x, y)
    page.wait(f"{SHOWN}.join() === '5'")
    page.mouse("mouseMoved", x, y - 200)
    page.wait(f"{SHOWN}.join() === '{CHOSEN}'")
    page.click(x, y)
    page.mouse("mouseMoved", x, y - 200)
    page.wait(f"{SHOWN}.join() === '5'")
    assert page.ask("location.hash") == "#point-5"
    assert page.ask("document.getElementById('pinned').textContent") == "Plan of point 5 is shown"


def test_a_click_beside_a_point_is_enough(page: Page) -> None:
    x, y = place(page, 5)
    page.click(x + 12, y + 12)
    page.wait(f"{SHOWN}.join() === '5'")


def test_the_keyboard_reaches_every_point(page: Page) -> None:
    page.ask("document.querySelector('input[name=view]').focus()")
    page.press("Tab")
    focused = "document.activeElement.dataset.point"
    assert page.ask(focused) == CHOSEN
    page.press("ArrowRight")
    assert page.ask(focused) == "5"
    page.press("Home")
    assert page.ask(focused) == "0"
    assert page.ask(SHOWN) == ["0"]
    page.press("ArrowRight")
    page.press("Enter")
    assert page.ask(SHOWN) == ["1"]
    assert page.ask("location.hash") == "#point-1"
    page.press("Tab")
    assert page.ask("document.activeElement.closest('#plot')") is None


def test_an_address_opens_a_plan_and_its_range(chromium: Page, report: Path) -> None:
    chromium.complaints.clear()
    chromium.open(report, 1280, fragment="#point-0")
    chromium.wait("document.querySelector('input[value=all]').checked")
    assert chromium.ask(SHOWN) == ["0"]
    assert chromium.complaints == []


def test_the_other_range_is_drawn_on_request(page: Page) -> None:
    labels = "document.querySelector('#plot .role-axis-label').textContent"
    before = page.ask(labels)
    page.ask("document.querySelector('input[value=all]').click()")
    page.wait(f"{MARKS}.length === {POINTS} && {labels} !== {before!r}")


def test_the_keyboard_scrolls_what_is_too_wide(chromium: Page, report: Path) -> None:
    chromium.open(report, 300)
    wide = "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)"
    assert chromium.ask(f"{wide}.length") > 0
    assert chromium.ask(f"{wide}.every((e) => e.tabIndex === 0 && e.ariaLabel)")
    chromium.ask(f"{wide}[0].focus()")
    chromium.press("ArrowRight")
    chromium.wait(f"{wide}[0].scrollLeft > 0")


@pytest.mark.parametrize("width", [1280, 400])
def test_legible(chromium: Page, report: Path, tmp_path: Path, width: int) -> None:
    chromium.complaints.clear()
    chromium.open(report, width)
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    box = chromium.ask("document.querySelector('#plot svg').getBoundingClientRect().width")
    assert 0.3 * width < box <= width
    assert chromium.ask("document.querySelector('#plot svg').getBoundingClientRect().height") > 250
    small = (
        "Math.min(...[...document.querySelectorAll('#plot text, td, th, dt, dd, p')]"
        ".filter((e) => e.textContent && e.getClientRects().length)"
        ".map((e) => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert chromium.ask(small) >= 10
    outside = (
        "[...document.querySelectorAll('caption > span')].filter((e) => e.getClientRects().length"
        " && e.getBoundingClientRect().right > innerWidth).map((e) => e.textContent)"
    )
    assert chromium.ask(outside) == []
    shot = chromium.screenshot(tmp_path / f"report-{width}.png")
    assert shot[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(shot[16:20], "big") == width
    assert len(shot) > 50_000
    assert chromium.complaints == []
