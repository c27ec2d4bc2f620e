"""The report in a real browser: it says nothing on the console, asks for nothing, and zooms and shows values."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.results.result import Result
from tests.browser import CTRL, Page, browser, opened_browser
from tests.replay.results.runs import small_run

pytestmark = pytest.mark.skipif(
    browser() is None, reason="no browser here: install Debian's chromium, as .ci/run does, to open the report in one"
)
#: Widths and heights, and colour schemes.
WINDOWS = [(1280, 900, "light"), (420, 800, "dark")]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two results beside each other, so that every kind of chart and section is there."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    Result.of(small_run()).report(path, beside=[Result.of(small_run())])
    return path


def domain(page: Page, chart: str) -> tuple[float, float]:
    """First and last time that a chart shows, ms."""
    shown = f"report.views.{chart}.signal('zoom_ms') || report.page.charts[Number('{chart}'.slice(5))].domain"
    first, last = page.run(f"({shown}).map(Number)")
    return first, last


def plot_of(page: Page, chart: str) -> tuple[float, float]:
    """A point within the first panel of a chart, in the window, a third of the way along."""
    page.run(f"document.getElementById('{chart}').scrollIntoView({{block: 'start'}})")
    x, y = page.run(
        f"(() => {{const b = document.querySelector('#{chart} canvas').getBoundingClientRect();"
        " return [b.x + b.width * 0.45, b.y + 120]; })()"
    )
    return x, y


def test_a_report_zooms_and_shows_values_and_asks_for_nothing(report: Path, tmp_path: Path) -> None:
    with opened_browser(tmp_path / "profile") as page:
        for width, height, scheme in WINDOWS:
            page.open(report, width, height, scheme)
            page.until("document.body.dataset.drawn === 'yes'")
            assert page.run("getComputedStyle(document.body).backgroundColor") == (
                "rgb(255, 255, 255)" if scheme == "light" else "rgb(11, 15, 23)"
            )
            # Those of each result are drawn when they are opened.
            page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            page.until("Object.keys(report.views).length === 3")
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"
            for chart in ("chart0", "chart1"):
                _zooms(page, chart)
            _shows_values(page, "chart1")
            assert len(page.screenshot()) > 5_000
        assert sorted(set(page.complaints)) == []
        assert set(page.requested) == {report.absolute().as_uri()}


def _zooms(page: Page, chart: str) -> None:
    x, y = plot_of(page, chart)
    whole = domain(page, chart)
    page.move(x, y)
    page.wheel(x, y, -240, modifiers=CTRL)
    near = page.until(f"(report.views.{chart}.signal('zoom_ms') || [0, 0]).map(Number)[1]") and domain(page, chart)
    assert whole[0] <= near[0] < near[1] <= whole[1]
    assert near[1] - near[0] < 0.95 * (whole[1] - whole[0])
    # A wheel alone is the page's, which scrolls.
    turned = f"new WheelEvent('wheel', {{deltaY: 60, bubbles: true, cancelable: true, clientX: {x}, clientY: {y}}})"
    assert page.run(f"document.querySelector('#{chart} canvas').dispatchEvent({turned})") is True
    assert domain(page, chart) == near
    # All panels have one axis, which is moved with the pointer.
    page.drag(x, y, -40)
    moved = domain(page, chart)
    assert moved[0] > near[0]
    page.press(x, y, clicks=2)
    page.run(f"document.querySelector('button[data-of={chart}][data-zoom=\"0\"]').click()")
    assert domain(page, chart) == pytest.approx(whole)
    page.run(f"document.querySelector('button[data-of={chart}][data-zoom=\"0.5\"]').click()")
    half = domain(page, chart)
    assert half[1] - half[0] == pytest.approx((whole[1] - whole[0]) / 2)
    page.run(f"document.querySelector('button[data-of={chart}][data-zoom=\"0\"]').click()")


def _shows_values(page: Page, chart: str) -> None:
    x, y = plot_of(page, chart)
    page.move(x - 30, y)
    page.move(x, y)
    told = page.until("(document.querySelector('#vg-tooltip-element.visible') || {}).innerText")
    assert "net profit" in told
    assert "2023-11-14" in told  # in UTC, wherever the browser is
