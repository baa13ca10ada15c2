"""A page in the browser, and what it did that it should not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PLOTS = (
    *("histogram", "ecdf", "multiples", "map", "tradeoff", "attribution", "bound", "overshoot", "drivers"),
    *("fan", "trace", "limits"),
)
#: What a trace leaves in the drawing, by plot: without it the frame is empty.
MARKS = {
    "histogram": ".scatterlayer .trace path.js-line",
    "ecdf": ".scatterlayer .trace path.js-line",
    "multiples": ".scatterlayer .trace path.js-line",
    "map": ".heatmaplayer image",
    "tradeoff": ".scatterlayer .points path.point",
    "attribution": ".barlayer .point path",
    "bound": ".barlayer .point path",
    "overshoot": ".scatterlayer .trace path.js-line",
    "drivers": ".barlayer .point path",
    "fan": ".scatterlayer .trace path.js-fill",
    "trace": ".scatterlayer .points path.point",
    "limits": ".scatterlayer .points path.point",
}
AXES = {
    "quoting.base_spread": [0.02, 0.04, 0.06, 0.1],
    "risk.inventory_limit": [25, 50, 100],
    "risk.drawdown_limit": [20.0, 1000.0, float("inf")],
}


@dataclass
class Watched:
    """A page and what it did that it should not."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path) -> None:
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def show(self, *plots: str) -> None:
        """Scroll to plots: each is drawn when it comes near the screen."""
        for plot in plots:
            place = self.page.locator(f"#plot-{plot}")
            place.scroll_into_view_if_needed()
            self.page.wait_for_selector(f"#plot-{plot} svg.main-svg")

    def until(self, holds: str, argument: object = None) -> None:
        """Wait for a condition of the page; the browser's own way is an eval, which the page forbids."""
        for _ in range(200):
            if self.page.evaluate(holds, argument):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"not within ten seconds: {holds}")

    def count(self, plot: str, marks: str) -> int:
        self.show(plot)
        return self.page.locator(f"#plot-{plot} {marks}").count()

    def traces(self, plot: str) -> list[dict[str, Any]]:
        """What the plot was given to draw."""
        self.show(plot)
        return self.page.evaluate(
            """id => document.getElementById(id).data.map(({type, name, x, y, z, text}) =>
                 JSON.parse(JSON.stringify({type, name, x, y, z, text})))""",
            f"plot-{plot}",
        )

    def slide(self, control: Any, place: int) -> None:
        """Move a slider with the keyboard, from its left end."""
        control.focus()
        self.page.keyboard.press("Home")
        for _ in range(place):
            self.page.keyboard.press("ArrowRight")

    def choose(self, control: str, label: str) -> None:
        self.page.locator(f"#{control}").select_option(label=label)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.text_content() or ""
