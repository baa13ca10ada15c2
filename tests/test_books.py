"""Several markets in order books as a user meets them: columns, sums, studies, reports, the bot."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_live import run as drive

import mcmm
from mcmm import cli
from mcmm.calibration.sampling import Sampler
from mcmm.errors import StudyError
from mcmm.metrics import BOOK_NAMES, NAMES
from mcmm.reports import numbers
from mcmm.reports.layout import figures
from mcmm.session import Given

TABLES: dict[str, Any] = {
    "venue": "book",
    "steps": 60,
    "flow": {"arrival_rate": 0.5},
    "quoting": {"base_spread": 0.02, "quote_size": 3, "reference_weight": 0.3},
    "recovery": {"ramp_steps": 0},
    "book": {"activity": 0.2, "warmup_steps": 4},
}
FED: dict[str, Any] = {"name": "fed", "market": {"volatility": 0.06}, "book": {"cancel_latency": 2}}
CPI: dict[str, Any] = {"name": "cpi", "market": {"process": "threshold", "initial_probability": 0.3}}


def scenario(*markets: dict[str, Any], **tables: Any) -> mcmm.Scenario:
    return mcmm.Scenario(**{**TABLES, "markets": markets or [FED, CPI], **tables})


def test_each_market_has_the_columns_of_a_book_and_the_portfolio_their_sums(tmp_path: Path) -> None:
    run = mcmm.simulate(scenario(steps=130), paths=70, seed=4)
    names = (*NAMES, *BOOK_NAMES)
    wanted = (*names, *(f"{market}.{name}" for market in ("fed", "cpi") for name in names))
    assert tuple(run.paths.columns) == run.scenario.columns == wanted
    for name in BOOK_NAMES:
        parts = run.paths[[f"fed.{name}", f"cpi.{name}"]]
        assert run.paths[name].tolist() == parts.sum(axis=1).tolist()
        if name not in ("refusals", "queue_fills_back", "queue_value_back"):
            assert (parts.abs().sum() > 0).all(), name
    assert tuple(run.market("cpi").columns) == names
    assert run.market("cpi")["markout_10"].tolist() == run.paths["cpi.markout_10"].tolist()
    assert {"fed.queue_fills_front", "markout_1"} <= set(run.summary().index)
    run.save(tmp_path / "books.parquet")
    assert mcmm.Simulation.load(tmp_path / "books.parquet").values.tobytes() == run.values.tobytes()


def test_a_market_in_the_list_is_the_market_alone() -> None:
    """Bit for bit, and its neighbour has draws of its own: nothing joins them here but the path."""
    own = {key: table for key, table in FED.items() if key != "name"}
    alone = mcmm.simulate(
        mcmm.Scenario(**{**TABLES, **own, "book": {**TABLES["book"], **own["book"]}}), paths=130
    )
    twin = mcmm.simulate(scenario(FED, {**FED, "name": "twin"}), paths=130)
    names = (*NAMES, *BOOK_NAMES)
    rows = twin.values.reshape(3, len(names), 130)
    assert rows[1].tobytes() == alone.values.tobytes()
    assert not np.array_equal(rows[1][names.index("book_events")], rows[2][names.index("book_events")])
    # What one maker does, or how late it is, is nothing to another's book.
    late = mcmm.simulate(scenario(FED, {**FED, "name": "twin", "book": {"cancel_latency": 9}}), paths=130)
    assert late.market("fed").equals(twin.market("fed"))
    assert not late.market("twin").equals(twin.market("twin"))


def test_the_common_factor_moves_the_same_fair_values_as_on_the_venue_quote() -> None:
    made = scenario(FED, {**FED, "name": "twin"}, portfolio={"correlation": 0.8})
    books, quotes = (
        mcmm.simulate(each, paths=300, seed=6).paths for each in (made, made.replace({"venue": "quote"}))
    )
    for name in ("fed.final_probability", "twin.final_probability", "fed.outcome", "twin.outcome"):
        assert books[name].tolist() == quotes[name].tolist()
    moved = books[["fed.final_probability", "twin.final_probability"]]
    assert 0.6 < np.corrcoef(moved.to_numpy().T)[0, 1] < 0.95


def test_paths_do_not_depend_on_jobs_or_neighbours() -> None:
    made = scenario(portfolio={"correlation": 0.5, "exposure_limit": 8.0, "drawdown_limit": 0.5})
    whole = mcmm.simulate(made, paths=150, seed=9).values
    assert mcmm.simulate(made, paths=150, seed=9, jobs=2).values.tobytes() == whole.tobytes()
    tail = mcmm.simulate(made, paths=37, first_path=113, seed=9).values
    assert tail.tobytes() == np.ascontiguousarray(whole[:, 113:]).tobytes()


def test_a_joint_trip_cancels_in_each_book_when_its_cancels_arrive() -> None:
    """At once in cpi's; in fed's four steps later, and until then its orders may be filled."""
    late = {**FED, "book": {"cancel_latency": 4}}
    made = scenario(late, CPI, portfolio={"correlation": 0.5, "drawdown_limit": 0.15})
    run = mcmm.simulate(made, paths=128, seed=2, trace_paths=128)
    trace = run.trace.set_index(["path", "market"]).assign(
        filled=lambda frame: frame["bought"] + frame["sold"],
        rests=lambda frame: frame["bid_size"] + frame["ask_size"],
    )
    after = {"fed": 0.0, "cpi": 0.0}
    tripped = run.paths[run.paths["trips"] > 0]
    assert len(tripped) > 30
    for path, step in tripped["halt_step"].items():
        for market, latency in (("fed", 4), ("cpi", 0)):
            rows = trace.loc[(path, market)]
            rows = rows[rows["step"] > step]
            after[market] += rows["filled"].sum()
            assert (rows[rows["step"] > step + latency]["rests"] == 0).all()
            assert not rows["quoting"].any()
    assert after["fed"] > 20
    assert after["cpi"] == 0.0


def test_checkpoints_are_rows_of_the_trace() -> None:
    run = mcmm.simulate(scenario(), paths=66, seed=3, trace_paths=66, checkpoints=3)
    rows = run.checkpoints
    trace = run.trace[run.trace["step"].isin((19, 39, 59))].reset_index(drop=True)
    assert len(rows) == 66 * 2 * 3
    for name in ("path", "market", "step", "pnl", "drawdown", "inventory"):
        assert rows[name].tolist() == trace[name].tolist()
    np.testing.assert_array_equal(rows["spread"], trace["ask"] - trace["bid"])


def test_a_sweep_of_one_markets_latency_and_of_venues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = {"venue": ["quote", "book"], "markets.cpi.book.cancel_latency": [0, 6]}
    study = mcmm.Study(name="late", scenario=scenario(), paths=64, seed=3, points={"axes": axes})
    result = mcmm.sweep(study, out=tmp_path / "run", jobs=2)
    for point, venue, latency in ((0, "quote", 0), (2, "book", 0), (3, "book", 6)):
        own = {"venue": venue, "markets.cpi.book.cancel_latency": latency}
        run = mcmm.simulate(scenario().replace(own), paths=64, seed=3)
        for name in run.scenario.columns:
            np.testing.assert_array_equal(
                result.values(point, name), run.paths[name].cat.codes if "reason" in name else run.paths[name]
            )
        mean = result.summary["cpi.pnl_fair.mean"].iloc[point]
        assert mean == pytest.approx(run.paths["cpi.pnl_fair"].mean(), rel=1e-12)
    assert np.isnan(result.values(0, "cpi.book_events")).all()
    assert np.isnan(result.summary[["book_events.mean", "fed.markout_1.mean"]].iloc[:2]).all(axis=None)
    assert (result.values(2, "fed.volume") == result.values(3, "fed.volume")).all()
    assert (result.values(2, "cpi.volume") != result.values(3, "cpi.volume")).any()
    page = tmp_path / "report.html"
    mcmm.report(result, html=page)
    text = page.read_text("utf-8")
    assert "Orders of both markets together" in text
    tables = text.split('<table class="numbers" id="queue-table')[1:]
    for table, prefix in zip(tables, ("", "fed.", "cpi."), strict=True):
        found = result.ratio(f"{prefix}queue_fills_near", f"{prefix}queue_steps_near").to_numpy()[2:]
        for ratio, error in found:
            digits = figures(error, ratio)
            assert f"<td>{numbers.fixed(ratio, digits)} \u00b1 {numbers.fixed(error, digits)}</td>" in table
    assert text.count("<h3>cpi</h3>") == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "mark-outs, with standard errors; both markets together" in out
    checked = mcmm.verify(tmp_path / "run")
    assert (checked.differences, checked.damaged) == ((), ())


def test_a_joint_limit_is_calibrated() -> None:
    question = {
        "maximize": "portfolio.exposure_limit",
        "confidence": 0.9,
        "constraint": [{"probability": "max_drawdown_fair > 0.5", "at_most": 0.1}],
        "search": {"portfolio.exposure_limit": [1.0, 30.0]},
    }
    made = scenario(steps=12, market={"volatility": 0.15}, book={"activity": 0.1, "warmup_steps": 2})
    certificate = mcmm.calibrate(mcmm.Study(name="books", scenario=made, seed=1, calibrate=question))
    assert certificate.setting == {"portfolio.exposure_limit": 1.0}


def test_a_limit_for_either_venue_is_read_off_each_venues_own_columns() -> None:
    made = scenario(steps=30)
    question = {
        "maximize": "mean(cpi.pnl_settled)",
        "constraint": [{"mean": "cpi.volume", "at_least": 1.0}],
        "search": {"risk.inventory_limit": [100]},
        "robust": {"venue": ["quote", "book"]},
    }
    for base in ("quote", "book"):
        given = made.replace({"venue": base})
        study = mcmm.Study(name="both", scenario=given, seed=3, calibrate=question)
        assert study.calibrate is not None
        sampler = Sampler(study.scenario, study.calibrate, 3, 1, lambda *_: None)
        sampler.need([(100,)], 40, "paths")
        for world, venue in enumerate(("quote", "book")):
            paths = mcmm.simulate(made.replace({"venue": venue}), paths=40, seed=3).paths
            for name in ("cpi.volume", "cpi.pnl_settled"):
                assert sampler.lookup((100,), world, 40)(name).tolist() == paths[name].tolist()


def test_a_question_of_a_books_metric_is_of_books_alone() -> None:
    question = {
        "maximize": "-risk.inventory_limit",
        "constraint": [{"mean": "fed.refusals", "at_most": 5.0}],
        "search": {"risk.inventory_limit": [100]},
        "robust": {"venue": ["quote", "book"]},
    }
    with pytest.raises(StudyError) as caught:
        mcmm.Study(name="both", scenario=scenario(), seed=1, calibrate=question)
    assert "constraint[0]: fed.refusals must be reported on every venue asked about, and venue quote" in str(
        caught.value
    )
    # What is asked about decides, not the venue of the scenario that is varied.
    books = question | {"robust": {"venue": ["book"]}}
    mcmm.Study(name="books", scenario=scenario().replace({"venue": "quote"}), seed=1, calibrate=books)


def test_a_summary_says_whose_places_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = scenario()
    made.save(tmp_path / "books.toml")
    assert cli.main(["simulate", str(tmp_path / "books.toml"), "--paths", "50"]) == 0
    out = capsys.readouterr().out
    assert "2 markets, policy adaptive, venue book" in out
    assert "Places of orders in both markets together." in out
    run = mcmm.simulate(made, paths=50)
    fills, steps = (run.paths[f"cpi.queue_{name}_near"].mean() for name in ("fills", "steps"))
    row = next(line for line in out[out.index("Places of orders") :].splitlines() if line.startswith("cpi"))
    assert float(row.split()[3]) == pytest.approx(fills / steps, rel=0.01)  # after front and its error


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_killed_bot_goes_on_in_its_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9, then --resume: the trace of both markets is that of simulate, bit for bit."""
    monkeypatch.chdir(tmp_path)
    made = scenario(steps=200, portfolio={"correlation": 0.4, "exposure_limit": 9.0})
    made.save("books.toml")
    command = [sys.executable, "-m", "mcmm", "bot", "books.toml", "--every", "5", "--pace", "200", "--lines"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    while len(list(Path("bots").glob("books/snapshot-*.json"))) < 2:
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert cli.main(["bot", "--resume", "--out", "bots/books"]) == 0
    resumed = re.search(r"resumed: (\d+) steps from a snapshot", capsys.readouterr().err)
    assert resumed is not None
    assert 0 < int(resumed[1]) < 200
    run = mcmm.simulate(made, paths=1, trace_paths=1)
    trace = pd.read_json("bots/books/trace.jsonl", lines=True, precise_float=True)
    for market in ("fed", "cpi"):
        found, wanted = (each[each["market"] == market].drop(columns="market") for each in (trace, run.trace))
        pd.testing.assert_frame_equal(
            found.reset_index(drop=True), wanted.reset_index(drop=True), check_exact=True, check_dtype=False
        )


def test_orders_from_outside_come_to_its_books_over_stdin_through_a_restart(tmp_path: Path) -> None:
    """What is said of a step, in one session or two, is what simulate does with those orders."""
    made = scenario(steps=40, portfolio={"exposure_limit": 9.0})
    orders = [
        {"step": t, "side": 1 if t % 4 < 2 else -1, "size": 1 + t % 9 * 3, "limit": 0.5, "market": name}
        for t in range(40)
        for place, name in enumerate(("fed", "cpi"))
        if (t + place) % 2
    ]
    said: list[dict[str, Any] | str] = [
        {
            "seq": t,
            "orders": {each["market"]: {k: each[k] for k in ("side", "size", "limit")} for each in here},
        }
        for t in range(40)
        if (here := [each for each in orders if each["step"] == t])
    ]
    given = Given(made, feed="stdin")
    fills = []
    for part in (said[:13], said[13:]):
        heard, _, _ = drive(tmp_path, given, part)
        fills += [line for line in heard.lines if line["type"] == "fill"]
    run = mcmm.simulate(made, paths=1, trace_paths=1, orders=pd.DataFrame(orders))
    trace = pd.read_json(tmp_path / "trace.jsonl", lines=True, precise_float=True)
    for market in ("fed", "cpi"):
        found, wanted = (each[each["market"] == market].drop(columns="market") for each in (trace, run.trace))
        pd.testing.assert_frame_equal(
            found.reset_index(drop=True), wanted.reset_index(drop=True), check_exact=True, check_dtype=False
        )
        sizes = sum(fill["size"] for fill in fills if fill["market"] == market)
        assert sizes == wanted["bought"].sum() + wanted["sold"].sum() > 0
