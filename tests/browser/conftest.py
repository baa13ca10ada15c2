"""Headless Chromium, and a report opened in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fake_sweep import sweep
from watched import AXES, FLAGS, Watched

from mcmm.reports.findings import Findings
from mcmm.reports.page import page as make_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def absent(reason: str) -> None:
    if os.environ.get("MCMM_REQUIRE_BROWSER") == "1":
        pytest.fail(f"MCMM_REQUIRE_BROWSER is 1, but {reason}")
    pytest.skip(reason)


# For a module, not for all: while it is open an event loop runs in this thread, and a bot begins its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    binary = next(filter(None, map(shutil.which, names)), None)
    if binary is None:
        absent(f"none of {', '.join(names)} is on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three axes, breakers that trip, that could and that are not set, and hostile texts."""
    hostile = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    findings = Findings.of(sweep(AXES, name=f"limits {hostile}", question=hostile))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(make_page(findings), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page())
    watched.open(report)
    yield watched
    context.close()
    assert watched.complaints == []
    assert watched.requests == [report.as_uri()]
