"""Pages of recorded markets and certificates in a browser: drawn whole, without a complaint or a request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from watched import Watched

import mcmm
from mcmm.reports.certificate_page import write_certificate_page
from mcmm.reports.fit_page import write_fit_page
from mcmm.reports.replay_page import write_replay_page
from mcmm.tape import Tape

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


@pytest.fixture(scope="module")
def tape() -> Tape:
    """Two contracts of 300 prints, quoted every second, with a hostile name."""
    rng = np.random.default_rng(1)
    prints, quotes = [], []
    for name in (HOSTILE, "B"):
        mids = 0.5 + 0.01 * np.cumsum(rng.choice([-1, 0, 1], 1200))
        mids = np.clip(mids, 0.05, 0.95).round(2)
        seconds = np.sort(rng.choice(np.arange(1, 1200), 300, replace=False))
        sides = rng.choice([-1, 1], 300)
        prints.append(
            pd.DataFrame(
                {
                    "contract": name,
                    "time": pd.to_datetime(seconds * 1e9 + 5e8, utc=True),
                    "side": sides,
                    "size": rng.geometric(0.3, 300),
                    "price": (mids[seconds] + 0.01 * sides).round(2),
                }
            )
        )
        quotes.append(
            pd.DataFrame(
                {
                    "contract": name,
                    "time": pd.to_datetime(np.arange(1200) * 1e9, utc=True),
                    "bid": mids - 0.01,
                    "ask": mids + 0.01,
                    "bid_size": 5.0,
                    "ask_size": 5.0,
                    "mid": mids,
                }
            )
        )
    index = pd.Index([HOSTILE, "B"], name="contract")
    contracts = pd.DataFrame({"outcome": [1.0, np.nan], "outcome_from": ["given", ""]}, index=index)
    by_time = [
        pd.concat(each).sort_values("time", kind="stable", ignore_index=True) for each in (prints, quotes)
    ]
    return Tape(f"{HOSTILE}.csv", *by_time, contracts, own_trades=False, notes=(HOSTILE,))


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page = Watched(context.new_page())
    yield page
    context.close()
    assert page.complaints == []
    assert len(page.requests) == 1


def looked_at(watched: Watched, path: Path) -> tuple[set[str], int, list[str]]:
    """The plots that are drawn, how wide the page is, and the plots that their own legend lies on."""
    watched.open(path)
    watched.page.wait_for_selector("html[data-ready]")
    found = watched.page.evaluate(
        "[...document.querySelectorAll('.plot')].filter("
        "plot => plot.querySelector('.scatterlayer .trace path, .barlayer .point path')).map(plot => plot.id)"
    )
    covered = watched.page.evaluate(
        """() => [...document.querySelectorAll('.plot')].filter(plot => {
         const legend = plot.querySelector('.legend'), grid = plot.querySelector('.gridlayer');
         return legend && legend.getBoundingClientRect().bottom > grid.getBoundingClientRect().top + 2;
       }).map(plot => plot.id)"""
    )
    return set(found), watched.page.evaluate("document.documentElement.scrollWidth"), covered


def test_the_page_of_a_replay(watched: Watched, tape: Tape, tmp_path: Path) -> None:
    run = mcmm.replay(tape, mcmm.Scenario(), step=1.0)
    write_replay_page(tape, run, tmp_path / "replay.html")
    plots, width, covered = looked_at(watched, tmp_path / "replay.html")
    assert plots == {"plot-ecdf", "plot-parts", "plot-path-0", "plot-path-1"}
    assert width <= 390
    assert covered == []


def test_the_page_of_a_certificate(watched: Watched, tmp_path: Path) -> None:
    question = {
        "maximize": "risk.inventory_limit",
        "constraint": [{"probability": "max_drawdown_fair > 50", "at_most": 0.5}],
        "search": {"risk.inventory_limit": [200, 5, 40]},
        "paths": 1024,
    }
    study = mcmm.Study(name=HOSTILE, scenario={"steps": 20}, seed=7, calibrate=question)
    write_certificate_page(mcmm.calibrate(study), tmp_path / "certificate.html")
    watched.page.on("request", lambda request: watched.requests.append(request.url))
    watched.page.goto((tmp_path / "certificate.html").as_uri())
    assert watched.page.locator("table").count() > 1
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    rows = watched.page.locator(
        "section:has(h2:text('Around it')) tbody tr td:nth-child(2)"
    ).all_text_contents()
    assert rows == sorted(rows, key=float)
    assert len(rows) > 1


def test_the_page_of_a_fit(watched: Watched, tape: Tape, tmp_path: Path) -> None:
    write_fit_page(mcmm.fit(tape), tmp_path / "fit.html")
    plots, width, covered = looked_at(watched, tmp_path / "fit.html")
    assert plots == {"plot-gaps", "plot-sizes", "plot-sides", "plot-squares", "plot-marks"}
    assert width <= 390
    assert covered == []
