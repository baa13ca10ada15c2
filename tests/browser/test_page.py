"""The report's page in headless Chromium: what is drawn, what choosing changes, what leaves the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fake_sweep import FakeSweep, market, sweep
from fake_sweep import study as fake_study
from watched import AXES, MARKS, PLOTS, Watched

from mcmm.metrics import NAMES
from mcmm.reports.findings import Findings
from mcmm.reports.page import page as make_page
from mcmm.study import Study

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1440])
def test_every_plot_has_marks_and_nothing_overflows(
    browser: Browser, report: Path, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    watched = Watched(context.new_page())
    watched.open(report)
    for plot in PLOTS:
        assert watched.count(plot, MARKS[plot]) > 0, plot
        box = watched.page.locator(f"#plot-{plot} svg.main-svg").first.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert watched.page.evaluate("document.documentElement.scrollWidth") == width
    background = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert watched.complaints == []
    assert watched.requests == [report.as_uri()]
    context.close()


def test_no_text_of_a_plot_is_cut(browser: Browser, report: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    watched = Watched(context.new_page())
    watched.open(report)
    watched.show(*PLOTS)
    cut = watched.page.evaluate(
        """() => [...document.querySelectorAll('.plot')].flatMap(plot => {
             const frame = plot.getBoundingClientRect();
             return [...plot.querySelectorAll('.main-svg text')].filter(text => {
               const box = text.getBoundingClientRect();
               return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1);
             }).map(text => plot.id + ': ' + text.textContent);
           })"""
    )
    assert cut == []
    context.close()


def test_the_texts_of_a_study_are_texts(opened: Watched) -> None:
    assert "<img src=x onerror=alert(1)>" in opened.text("h1")
    assert opened.page.locator("header img, header script").count() == 0


def test_points_are_added_compared_and_taken_out(opened: Watched) -> None:
    def named() -> list[str]:
        return [trace["name"] for trace in opened.traces("ecdf") if "quantiles" not in trace["name"]]

    first = named()
    assert 2 <= len(first) <= 3
    columns = opened.page.locator("#distribution-table thead th")
    new = next(row for row in range(36) if f"point {row}" not in first)
    opened.page.locator("#distribution-add").select_option(value=str(new))
    assert named() == [*first, f"point {new}"]
    assert columns.count() == len(first) + 2
    opened.page.get_by_role("button", name=f"Take point {new} out").click()
    assert named() == first
    opened.choose("distribution-along", "quoting.base_spread")
    assert len(named()) == 4
    opened.page.locator("#distribution-reset").click()
    assert named() == first


def test_the_metric_changes_both_curves(opened: Watched) -> None:
    before = (opened.traces("histogram")[0], opened.traces("ecdf")[0])
    opened.choose("distribution-metric", "max_drawdown")
    after = (opened.traces("histogram")[0], opened.traces("ecdf")[0])
    assert before[0]["x"] != after[0]["x"]
    assert before[1]["x"] != after[1]["x"]
    # A histogram's area is 1 whatever its bins.
    for bars in (before[0], after[0]):
        steps = zip(bars["x"][1:], bars["x"][:-1], bars["y"][:-1], strict=True)
        assert sum((right - left) * height for right, left, height in steps) == pytest.approx(1.0)
    assert "max_drawdown" in opened.text("#plot-histogram .xtitle, #plot-histogram .x2title")


def test_the_map_follows_its_controls(opened: Watched) -> None:
    heat = opened.traces("map")[0]
    assert heat["type"] == "heatmap"
    assert [len(heat["z"]), len(heat["z"][0])] == [4, 3]
    assert all("$" in text for line in heat["text"] for text in line)
    assert opened.count("map", ".shapelayer path") >= 1
    opened.choose("map-metric", "mean fills")
    assert opened.traces("map")[0]["z"] != heat["z"]
    opened.choose("map-metric", "chance of a halt")
    held = opened.page.locator("#map-controls .held input")
    seen = {}
    for place, value in enumerate(("20", "1000", "inf")):
        opened.slide(held, place)
        assert opened.text("#map-controls .held output") == value
        seen[value] = opened.traces("map")[0]
    assert any("." in text and "<" not in text for line in seen["20"]["text"] for text in line)
    # None seen on 2,000 paths is a bound; without a breaker there is nothing to see.
    assert {text for line in seen["1000"]["text"] for text in line} == {"<0.15%"}
    assert {text for line in seen["inf"]["text"] for text in line} == {"none"}
    assert {value for line in seen["inf"]["z"] for value in line} == {None}


def test_the_maps_axes_swap_and_the_third_takes_its_place(opened: Watched) -> None:
    opened.choose("map-x", "quoting.base_spread")
    assert opened.page.locator("#map-y").input_value() == "1"
    assert [len(opened.traces("map")[0]["z"]), len(opened.traces("map")[0]["z"][0])] == [3, 4]
    opened.choose("map-y", "risk.drawdown_limit")
    assert "risk.inventory_limit" in opened.text("#map-controls .held")
    assert opened.text("#plot-map .ytitle") == "risk.drawdown_limit"


def test_hovering_tells_a_points_settings(opened: Watched) -> None:
    opened.show("tradeoff")
    points = opened.page.locator("#plot-tradeoff .scatterlayer .points path.point")
    points.nth(5).scroll_into_view_if_needed()
    box = points.nth(5).bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = opened.page.locator("#plot-tradeoff .hoverlayer .hovertext")
    label.wait_for()
    text = label.text_content() or ""
    for part in ("quoting.base_spread = ", "risk.inventory_limit = ", "mean pnl_settled", "±"):
        assert part in text


def test_the_trade_off_follows_its_controls(opened: Watched) -> None:
    before = opened.traces("tradeoff")
    opened.choose("tradeoff-risk", "mean max_drawdown")
    assert opened.traces("tradeoff")[0]["x"] != before[0]["x"]
    opened.choose("tradeoff-colour", "risk.inventory_limit")
    names = [trace["name"] for trace in opened.traces("tradeoff")]
    assert names == [
        "efficient frontier",
        "inventory_limit 25",
        "inventory_limit 50",
        "inventory_limit 100",
        "best",
    ]
    front = opened.traces("tradeoff")[0]
    assert front["x"] == sorted(front["x"])
    assert front["y"] == sorted(front["y"])


def test_choosing_a_point_shows_its_distribution(opened: Watched) -> None:
    shown = opened.page.locator("#distribution-table thead th")
    before = shown.all_text_contents()
    opened.show("tradeoff")
    points = opened.page.locator("#plot-tradeoff .scatterlayer .points path.point")
    for place in range(points.count()):
        box = points.nth(place).bounding_box()
        assert box is not None
        opened.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        added = [text for text in shown.all_text_contents() if text not in before]
        if added:
            break
        opened.show("tradeoff")
    # A reader who has clicked sees the point: in view, in the table, in both drawings and in the legend.
    assert len(added) == 1
    name = re.findall(r"point \d+", added[0])[0]
    opened.until(
        "() => { const box = document.getElementById('distributions').getBoundingClientRect();"
        " return box.top > -5 && box.top < innerHeight / 2; }"
    )
    legend = opened.page.locator("#plot-ecdf .legend .legendtext").all_text_contents()
    assert name in legend
    assert len(legend) == len(before)
    for plot in ("histogram", "ecdf"):
        assert opened.count(plot, MARKS[plot]) >= len(legend)
        assert name in [trace.get("name") for trace in opened.traces(plot)]


def test_attribution_adds_up_and_follows_its_controls(opened: Watched) -> None:
    traces = {trace["name"]: trace for trace in opened.traces("attribution")}
    names = ("spread, from the uninformed", "taken by the informed", "inventory", "fees (paid: down)")
    parts = [traces[name]["y"] for name in names]
    assert all(taken < 0 for taken in parts[1])
    for *pieces, total in zip(*parts, traces["pnl_fair, their sum"]["y"], strict=True):
        assert sum(pieces) == pytest.approx(total, abs=1e-3)
    assert len(traces["settlement"]["y"]) == 4
    opened.choose("attribution-axis", "risk.inventory_limit")
    assert opened.traces("attribution")[0]["x"] == ["25", "50", "100"]


def test_the_table_sorts_by_a_heading_with_the_keyboard(opened: Watched) -> None:
    def column() -> list[float]:
        cells = opened.page.locator("#points-table tbody tr > :nth-child(5)")
        return [float(key) for key in cells.evaluate_all("cells => cells.map(cell => cell.dataset.key)")]

    heading = opened.page.locator("#points-table thead th:nth-child(5) button")
    assert heading.inner_text() == "mean"
    heading.focus()
    opened.page.keyboard.press("Enter")
    assert column() == sorted(column())
    opened.page.keyboard.press("Enter")
    assert column() == sorted(column(), reverse=True)
    assert heading.locator("..").get_attribute("aria-sort") == "descending"


def test_the_keyboard_reaches_every_control(opened: Watched) -> None:
    controls = opened.page.locator("main select, main button, main input, main .scroll, nav a")
    assert controls.evaluate_all("found => found.every(one => one.tabIndex >= 0)")
    opened.page.locator("#map-metric").focus()
    before = opened.traces("map")[0]["z"]
    opened.page.keyboard.press("ArrowDown")
    assert opened.traces("map")[0]["z"] != before


def test_settings_can_be_narrowed_to_those_that_differ(opened: Watched) -> None:
    rows = opened.page.locator("table.settings tbody tr:not(.group):visible")
    assert rows.count() > 40
    opened.page.locator("#settings-all").uncheck()
    assert rows.count() == 3
    assert {row.strip() for row in rows.locator(".kind").all_text_contents()} == {"swept"}


def test_the_colours_follow_the_system(opened: Watched) -> None:
    def ink() -> str:
        opened.show("ecdf")
        return opened.page.evaluate("getComputedStyle(document.querySelector('#plot-ecdf .xtick text')).fill")

    light = ink()
    opened.page.emulate_media(color_scheme="dark")
    opened.until(
        "before => getComputedStyle(document.querySelector('#plot-ecdf .xtick text')).fill !== before",
        light,
    )
    assert opened.count("map", MARKS["map"]) > 0


def test_it_prints_on_paper(opened: Watched, tmp_path: Path) -> None:
    opened.page.emulate_media(media="print", color_scheme="dark")
    opened.page.set_viewport_size({"width": 703, "height": 1000})
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    for section in opened.page.locator("header, main > section:not(#points)").all():
        assert section.evaluate("one => one.scrollWidth") <= 703
    # Every plot is there, drawn or not when the printing began, whole and in the light colours.
    for plot in PLOTS:
        box = opened.page.locator(f"#plot-{plot} svg.main-svg").first.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 703
        assert opened.page.locator(f"#plot-{plot} {MARKS[plot]}").count() > 0
    # The table of all points is printed across the paper.
    assert opened.page.locator("#points-table").evaluate("table => table.scrollWidth") <= 1047
    assert not opened.page.locator("#map-metric").is_visible()
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")


@pytest.mark.parametrize(
    ("axes", "paths"),
    [
        ({"quoting.base_spread": [0.02, 0.04, 0.06]}, 500),
        ({"quoting.base_spread": [0.04]}, 500),
        ({"quoting.base_spread": [0.02, 0.04]}, 1),
    ],
    ids=["one axis", "one point", "one path"],
)
def test_small_studies_are_drawn_too(
    browser: Browser, tmp_path: Path, axes: dict[str, Any], paths: int
) -> None:
    path = tmp_path / "report.html"
    path.write_text(make_page(Findings.of(sweep(axes, paths=paths))), encoding="utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 844})
    watched = Watched(context.new_page())
    watched.open(path)
    for plot in ("histogram", "ecdf", "tradeoff", "attribution"):
        assert watched.count(plot, MARKS[plot]) > 0, plot
    values = len(axes["quoting.base_spread"])
    assert watched.page.locator("#plot-map").count() == (values > 1)
    if values > 1:
        assert watched.count("map", ".scatterlayer .points path.point") == values
    assert watched.complaints == []
    context.close()


def test_axes_can_be_read_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    """Tick labels tell their ticks apart, however small the shares, and no text lies on another."""

    def rarely_bound(study: Any, scenario: Any) -> np.ndarray:
        values = market(study, scenario)
        values[NAMES.index("inventory_limit_steps"), 0] = 1.0  # in one step of 2,000 paths of 1,000
        return values

    path = tmp_path / "report.html"
    axes = {"quoting.base_spread": [0.02, 0.04]}
    path.write_text(make_page(Findings.of(FakeSweep(fake_study(axes), rarely_bound))), encoding="utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 844})
    watched = Watched(context.new_page())
    watched.open(path)
    for plot in ("bound", "limits"):
        watched.show(plot)
        ticks = watched.page.evaluate(
            """id => [...document.querySelectorAll(`#plot-${id} g[class$=tick]`)].map(
                 tick => tick.getAttribute('class') + ' ' + tick.textContent)""",
            plot,
        )
        assert len(ticks) > 4
        assert len(set(ticks)) == len(ticks), plot
        overlaps = watched.page.evaluate(
            """id => {
                 const texts = [...document.querySelectorAll(`#plot-${id} .main-svg text`)]
                   .filter(text => text.textContent && text.getBoundingClientRect().width);
                 const boxes = texts.map(text => text.getBoundingClientRect());
                 return texts.flatMap((one, i) => texts.slice(i + 1).filter((_, j) => {
                   const [a, b] = [boxes[i], boxes[i + 1 + j]];
                   return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
                     && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
                 }).map(other => one.textContent + ' on ' + other.textContent));
               }""",
            plot,
        )
        assert overlaps == [], plot
    ranges = watched.page.evaluate(
        """() => ['xaxis', 'xaxis2', 'xaxis3'].map(
             axis => document.getElementById('plot-limits')._fullLayout[axis].range)"""
    )
    # "Right of 0" can be seen in every panel.
    assert all(low <= 0 <= high for low, high in ranges)
    context.close()


def test_two_hundred_points_are_ready_in_time(browser: Browser, tmp_path: Path) -> None:
    axes = {
        **AXES,
        "quoting.policy": ["adaptive", "symmetric"],
        "quoting.base_spread": [0.02, 0.03, 0.04, 0.06, 0.1],
    }
    axes["risk.inventory_limit"] = [10, 25, 50, 75, 100, 200, 400]
    path = tmp_path / "report.html"
    findings = Findings.of(sweep(axes, paths=500))
    assert len(findings.order) == 210
    path.write_text(make_page(findings), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page())
    watched.open(path)
    took = watched.page.evaluate("performance.now()")
    # Two seconds on a machine of its own; the margin is for one that does other things as well.
    assert took < 8000
    assert watched.complaints == []
    context.close()


def test_points_on_no_grid_are_dots(browser: Browser, tmp_path: Path) -> None:
    axes = {
        "quoting.base_spread": {"low": 0.02, "high": 0.2, "scale": "log"},
        "risk.inventory_limit": {"low": 20, "high": 400, "integer": True},
        "quoting.policy": ["adaptive", "symmetric"],
    }
    points = {"design": "sobol", "samples": 32, "axes": axes}
    study = Study(name="dots", scenario={}, paths=200, seed=7, points=points)
    path = tmp_path / "report.html"
    path.write_text(make_page(Findings.of(FakeSweep(study))), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page())
    watched.open(path)
    watched.show("map")
    dots = "#plot-map .scatterlayer .points path.point"
    assert watched.page.locator(dots).count() == 32
    before = watched.traces("map")[0]
    assert sorted(before["x"]) == sorted(study.points()["risk.inventory_limit"])
    watched.choose("map-x", "quoting.policy")
    after = watched.traces("map")[0]
    assert set(after["x"]) == {"adaptive", "symmetric"}
    assert watched.page.locator(dots).count() == 32
    assert watched.complaints == []
    context.close()
