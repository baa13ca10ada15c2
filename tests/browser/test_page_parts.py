"""Parts of the report's page in headless Chromium: print, time, panels, drivers, limits, scenarios."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fake_sweep import sweep
from watched import AXES, MARKS, PLOTS, Watched

from mcmm.reports.findings import Findings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_the_pdf_holds_every_section(opened: Watched) -> None:
    pdf = opened.page.pdf(prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF")
    # A plot that were not drawn would leave its pages all but empty: these have the figures' lines and fills.
    assert len(pdf) > 300_000
    # Nothing is set smaller to make it fit: pages have the sizes that the style asks for, upright and across.
    boxes = {tuple(map(float, box)) for box in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)}
    assert {(round(width), round(height)) for width, height in boxes} == {(595, 842), (842, 595)}
    assert 8 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 60


def test_time_follows_its_controls_and_tells_on_hover(opened: Watched) -> None:
    before = opened.traces("fan")
    assert len(before) == 4 * 7  # four quantities: three bands of two lines, and the median
    box = opened.page.locator("#plot-fan .nsewdrag").first.bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = opened.page.locator("#plot-fan .hoverlayer .hovertext").first
    label.wait_for()
    text = label.text_content() or ""
    assert "steps, pnl" in text
    assert all(f"{share}%: " in text for share in (1, 5, 25, 50, 75, 95, 99))
    assert not opened.page.locator("#time-market").is_visible()
    opened.page.locator("#time-point").select_option(index=1)
    assert opened.traces("fan") != before
    one = opened.traces("trace")
    names = [trace["name"] for trace in one]
    assert names == ["bid", "ask", "maker's mid", "fair value", "bought", "sold", "inventory"]
    told = opened.text("#trace-caption")
    opened.page.locator("#trace-path").select_option(index=2)
    assert opened.traces("trace") != one
    assert opened.text("#trace-caption") != told


def test_panels_drivers_and_overshoot_follow_their_controls(opened: Watched) -> None:
    panels = opened.traces("multiples")
    opened.choose("multiples-axis", "risk.inventory_limit")
    assert opened.traces("multiples") != panels
    assert "by risk.inventory_limit" in opened.text("#multiples-caption")
    slider = opened.page.locator("#multiples-controls .held input").first
    before = opened.traces("multiples")
    opened.slide(slider, 0)
    opened.slide(slider, 1)
    assert opened.traces("multiples") != before
    shares = opened.traces("drivers")
    opened.choose("drivers-metric", "mean fills")
    assert opened.traces("drivers") != shares
    assert "mean fills" in opened.text("#drivers-caption")
    points = opened.page.locator("#overshoot-point option").count()
    assert points >= 2
    told = opened.text("#overshoot-caption") if opened.count("overshoot", MARKS["overshoot"]) else ""
    chosen = opened.page.locator("#overshoot-point").evaluate("box => box.selectedIndex")
    opened.page.locator("#overshoot-point").select_option(index=(chosen + 1) % points)
    assert opened.text("#overshoot-caption") != told


def test_time_follows_the_market(browser: Browser, tmp_path: Path) -> None:
    from small_study import small_study

    from mcmm import runner
    from mcmm.reports.page import page

    markets = [{"name": "yes"}, {"name": "no", "quoting": {"base_spread": 0.08}}]
    study = small_study(scenario={"steps": 50, "markets": markets}, points={"axes": {"steps": [40, 50]}})
    html = page(Findings.of(runner.sweep(study, out=tmp_path / "run", jobs=1)))
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    opened = Watched(browser.new_page())
    opened.open(tmp_path / "report.html")
    for plot, select, caption in (
        ("fan", "#time-market", "#fan-caption"),
        ("trace", "#trace-market", "#trace-caption"),
    ):
        before = opened.traces(plot)
        assert "Market yes." in opened.text(caption)
        opened.page.locator(select).select_option("no")
        assert "Market no." in opened.text(caption)
        assert opened.traces(plot) != before
    opened.page.close()
    assert not opened.complaints


def test_the_limits_are_drawn_as_their_table_says(opened: Watched) -> None:
    rows = opened.page.locator("#limits-table tbody tr")
    traces = opened.traces("limits")
    assert [trace["name"] for trace in traces] == ["pnl forgone", "drawdown avoided", "shortfall avoided"]
    assert len(traces[0]["x"]) == rows.count()
    link = rows.first.locator("a")
    link.focus()
    opened.page.keyboard.press("Enter")
    # The link leads to the setting's row, and shows it.
    name = (link.get_attribute("href") or "").removeprefix("#")
    assert name.startswith("setting-risk.")
    opened.until(
        "name => { const box = document.getElementById(name).getBoundingClientRect();"
        " return box.top >= 0 && box.bottom <= innerHeight; }",
        name,
    )


def test_a_points_scenario_is_copied(opened: Watched) -> None:
    from mcmm.scenario import Scenario

    opened.page.locator("#recipe-point").select_option(value="3")
    opened.page.locator("#recipe-box").evaluate("box => { box.open = true; }")
    told = opened.text("#recipe")
    scenario = Scenario.loads(told)
    assert scenario.quoting.base_spread == AXES["quoting.base_spread"][0]
    assert scenario.risk.inventory_limit == AXES["risk.inventory_limit"][1]
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.page.locator("#recipe-copy").focus()
    opened.page.keyboard.press("Enter")
    opened.until("document.getElementById('recipe-told').textContent !== ''")
    assert opened.text("#recipe-told") == "Copied."
    assert opened.page.evaluate("navigator.clipboard.readText()") == told


def test_the_pictures_are_the_figures(report: Path, tmp_path: Path, browser: Browser) -> None:
    from mcmm.reports.details import Details
    from mcmm.reports.png import write_pictures

    found = write_pictures(Details(Findings.of(sweep(AXES, {"steps": 50}, paths=200))), tmp_path / "png")
    assert {path.stem for path in found} >= set(PLOTS) - {"overshoot"}
    for path in found:
        head = path.read_bytes()[:24]
        assert head.startswith(b"\x89PNG")
        assert int.from_bytes(head[16:20]) == 2200
