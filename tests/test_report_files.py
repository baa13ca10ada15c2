"""The report for machines and for pull requests, as pictures, and the command that writes them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from fake_sweep import HOSTILE, MANY, data_of, sweep
from small_study import small_study

from mcmm import cli, runner
from mcmm.errors import InputError
from mcmm.reports import png, report
from mcmm.reports.details import Details
from mcmm.reports.export import report_tables, to_json, to_markdown
from mcmm.reports.findings import Findings
from mcmm.reports.page import page
from mcmm.reports.timeline import FAN_LEVELS, make_timeline


@pytest.fixture(scope="module")
def small() -> Details:
    axes = {"quoting.base_spread": [0.02, 0.04, 0.06], "risk.drawdown_limit": [3.0, 1000.0, math.inf]}
    return Details(Findings.of(sweep(axes, {"steps": 100}, paths=1000)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    runner.sweep(small_study(question="What does it earn?"), out=folder, jobs=1)
    return folder


# ---- json


def test_json_has_the_pages_numbers(small: Details) -> None:
    found = json.loads(to_json(small), parse_constant=pytest.fail)
    data = data_of(page(small.findings, small))
    assert found["answer"] == list(small.findings.sentences())
    assert "positive" in found["losses"]
    best = found["objective"]["best"]
    assert best == data["objective"]["best"]
    for row, point in enumerate(found["points"]):
        assert point["settings"]["quoting.base_spread"] == small.findings.result.points.iloc[row, 0]
        for column in ("pnl_settled.mean", "pnl_settled.expected_shortfall_95", "fills.mean"):
            assert data["columns"][column][row] == pytest.approx(point["numbers"][column]["value"], rel=1e-4)
        for part, place in (("p05", 2), ("value_at_risk_95", 6)):
            mark = point["distributions"]["pnl_settled"][part]
            assert data["distributions"]["pnl_settled"][str(row)]["marks"][place] == pytest.approx(
                [mark["value"], mark["low"], mark["high"]], rel=1e-4
            )
        assert "max_inventory" in point["distributions"]
    prices = {price["setting"]: price for price in data["limits"]["prices"]}
    for setting, price in found["limits"]["prices"].items():
        told = price["pnl_forgone"]
        assert prices[setting]["forgone"] == pytest.approx(
            [told["value"], told["low"], told["high"]], rel=1e-4, abs=1e-9
        )
    assert found["drivers"]["method"] == "grid"
    assert [fan["point"] for fan in found["time"]] == [fan["row"] for fan in data["time"]["fans"]]
    assert set(found["frontiers"]) >= {"pnl_settled.expected_shortfall_95", "max_drawdown.mean"}


def test_json_tells_no_halt_seen_from_no_halt_possible(small: Details) -> None:
    points = report_tables(small)["points"]
    unseen, impossible = points[1]["numbers"]["halt.chance"], points[2]["numbers"]["halt.chance"]
    assert unseen["value"] == 0.0
    assert unseen["upper_bound"] == pytest.approx(0.003, abs=1e-4)
    assert impossible["note"] == "no breaker is set"
    assert points[2]["settings"]["risk.drawdown_limit"] == "inf"


# ---- markdown


def test_markdown_is_a_table_of_the_same_numbers(small: Details) -> None:
    text = to_markdown(small)
    findings = small.findings
    for heading in ("## spread and inventory limit", "### What drives", "### Shadow price of each limit"):
        assert heading in text
    tables = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    heads = len(tables[0].split(" | "))
    assert all(len(line.split(" | ")) == heads for line in tables[2:11])
    best = next(line for line in tables if line.startswith(f"| **{findings.best}**"))
    mean = findings.write(findings.best, "pnl_settled.mean").replace("$", "\\$")
    assert mean.removeprefix("-") in best
    assert "Losses, value at risk, expected shortfall and drawdowns are positive" in text


def test_markdown_of_many_points_says_what_is_left_out() -> None:
    text = to_markdown(Details(Findings.of(sweep(MANY, paths=100))))
    assert "The best 15 and the worst 3; 182 others are left out." in text
    assert len(re.findall(r"^\| \**\d+", text, re.MULTILINE)) == 18


def test_hostile_texts_are_escaped_in_markdown() -> None:
    text = to_markdown(Details(Findings.of(sweep(name=HOSTILE, question="| a | `b` <img src=x>"))))
    assert "<script>" not in text
    assert "<img" not in text.replace("\\<img", "")
    assert "\\| a \\| \\`b\\`" in text
    assert "\x1b" not in text


# ---- time


def test_fans_are_quantiles_of_the_studys_own_paths(run: Path) -> None:
    from mcmm.store import SweepResult

    findings = Findings.of(SweepResult.load(run))
    found = make_timeline(findings)
    fan = found.fans[0]
    assert fan.row == findings.best
    assert fan.paths == 300
    assert fan.steps.tolist() == list(range(1, 51))
    pnl = findings.result.values(findings.best, "pnl")
    assert fan.quantiles["pnl"][:, -1] == pytest.approx(np.quantile(pnl, FAN_LEVELS))
    for lines in fan.quantiles.values():
        assert (np.diff(lines, axis=0)[~np.isnan(np.diff(lines, axis=0))] >= 0).all()
    assert (fan.quantiles["drawdown"] >= 0).all()
    settled = findings.result.values(findings.best, "pnl_settled")
    for trace in found.traces:
        assert trace.settled == settled[trace.path]
        held = findings.result.values(findings.best, "final_inventory")[trace.path]
        assert trace.fills["size"].sum() == held
        assert trace.columns["inventory"][-1] == held
        fills = findings.result.values(findings.best, "fills")[trace.path]
        assert len(trace.fills["step"]) == fills
    assert [trace.quantile for trace in found.traces] == [0.05, 0.5, 0.95]


def test_several_markets_have_a_fan_and_a_trace_each(tmp_path: Path) -> None:
    from mcmm.reports.timeline import MOST_MARKETS

    names = [f"m{place}" for place in range(MOST_MARKETS + 2)]
    markets = [{"name": name, "quoting": {"base_spread": 0.04 + 0.01 * i}} for i, name in enumerate(names)]
    study = small_study(scenario={"steps": 50, "markets": markets[:3]}, points={"axes": {"steps": [40, 50]}})
    findings = Findings.of(runner.sweep(study, out=tmp_path / "run", jobs=1))
    found = make_timeline(findings)
    assert [(fan.row, fan.market) for fan in found.fans[:3]] == [(findings.best, name) for name in names[:3]]
    assert {fan.market for fan in found.fans[3:]} == set(names[:3])
    best = findings.best
    for path in {trace.path for trace in found.traces}:
        own = [trace for trace in found.traces if trace.path == path]
        assert [trace.market for trace in own] == names[:3]
        # The lines are each market's own: together they are what the path reports of the sum.
        held = findings.result.values(best, "final_inventory")[path]
        assert sum(trace.columns["inventory"][-1] for trace in own) == held
        assert sum(len(trace.fills["step"]) for trace in own) == findings.result.values(best, "fills")[path]
        pnl = findings.result.values(best, "pnl")[path]
        assert sum(trace.columns["pnl"][-1] for trace in own) == pytest.approx(pnl, abs=1e-9)
    assert len({trace.columns["ask"].tobytes() for trace in found.traces[:3]}) == 3
    many = small_study(scenario={"steps": 50, "markets": markets}, points={"axes": {"steps": [50]}})
    told = make_timeline(Findings.of(runner.sweep(many, out=tmp_path / "many", jobs=1)))
    assert [fan.market for fan in told.fans] == names[:MOST_MARKETS]


# ---- png


def test_a_missing_browser_is_said(small: Details, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(png.VARIABLE, raising=False)
    monkeypatch.setattr(png, "BROWSERS", ("no-such-browser",))
    with pytest.raises(InputError, match=r"needs Chromium or Chrome .* none of no-such-browser is on"):
        png.write_pictures(small, tmp_path / "png")
    monkeypatch.setenv(png.VARIABLE, "neither")
    with pytest.raises(InputError, match="MCMM_BROWSER: must be a browser's program, got 'neither'"):
        png.write_pictures(small, tmp_path / "png")


def test_a_browser_that_fails_is_said(
    small: Details, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no display' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv(png.VARIABLE, str(broken))
    with pytest.raises(InputError, match=r"did not draw the figures \(exit code 3: no display\)"):
        png.write_pictures(small, tmp_path / "png")


# ---- the function and the command


def test_report_writes_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = sweep(paths=100)
    report(result, tmp_path / "a.html", json=tmp_path / "a.json", markdown=tmp_path / "a.md")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.html", "a.json", "a.md"}
    assert json.loads((tmp_path / "a.json").read_text())["name"] == "spread and inventory limit"
    assert "Shadow prices of point" in capsys.readouterr().out


def test_the_command_prints_json_and_markdown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(run), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["question"] == "What does it earn?"
    assert cli.main(["report", str(run), "-f", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("## small\n")
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "json", "--html", "page.html"], "--html: is for --format html"),
        (["--format", "yaml"], "'yaml' is not one of"),
    ],
)
def test_wrong_formats_are_named(
    run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", str(run), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_custom_policy_that_is_not_at_hand_leaves_its_parts_out(tmp_path: Path) -> None:
    policy = tmp_path / "mine.py"
    policy.write_text(
        "def quote(view):\n    view.bid[:] = view.mid - 0.03\n    view.ask[:] = view.mid + 0.03\n"
    )
    study = small_study(scenario={"steps": 20, "quoting": {"policy": "custom"}}, paths=50)
    result = runner.sweep(study, out=tmp_path / "run", jobs=1, policy=f"{policy}:quote")
    from mcmm.store import SweepResult

    without = Details(Findings.of(SweepResult.load(tmp_path / "run")))
    assert without.prices is None
    assert without.timeline is None
    assert without.samples == {}
    assert "simulated again" in page(without.findings, without)
    from mcmm.reports import details_of

    with_it = details_of(result)
    assert with_it.prices is not None
    assert set(with_it.samples) == set(range(6))
