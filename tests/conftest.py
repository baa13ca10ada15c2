"""For all tests: hypothesis draws the same examples every time, and in CI a skipped test is a failure."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
FORBID_SKIPS = os.environ.get("MCMM_FORBID_SKIPS", "") not in ("", "0")

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often tests/faults kills a sweep."""
    parser.addoption("--kills", type=int, default=10, metavar="N", help="kills at random moments (10)")


def pytest_configure(config: pytest.Config) -> None:
    """Stop at once, and say why, where the package under test has no compiled core."""
    if importlib.util.find_spec("mcmm._core") is None:
        raise pytest.UsageError(
            "the mcmm of this folder has no compiled core: run  python -m pip install -e '.[test]'  first"
        )


def forbidden(reason: str) -> bool:
    """Whether this skip is refused here. One never is: recorded data may or may not lie beside the clone."""
    return FORBID_SKIPS and not ("recorded market data" in reason and not DATA.is_dir())


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip that is forbidden into a failure that gives the skip's reason."""
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if forbidden(reason):
            report.outcome = "failed"
            report.longrepr = (
                f"skipped where MCMM_FORBID_SKIPS forbids it: {reason.removeprefix('Skipped: ')}"
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at each test's report."""
    report = yield
    fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at each module's report: a module can be skipped as a whole."""
    report = yield
    fail_if_skipped(report)
    return report
