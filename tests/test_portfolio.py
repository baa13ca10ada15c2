"""A run of several markets: columns and sums, trace, replayed orders, studies, and a breaker by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_markets import SCENARIO

import mcmm
from mcmm import chunks, cli, engine
from mcmm.errors import InputError, StudyError
from mcmm.metrics import NAMES
from mcmm.scenario import Scenario
from mcmm.simulation import Simulation
from mcmm.study import Study, summary_columns

INF = math.inf


@pytest.fixture(scope="module")
def run() -> Simulation:
    return mcmm.simulate(SCENARIO, paths=90, seed=5, first_path=10, trace_paths=4)


def test_the_columns(run: Simulation) -> None:
    assert list(run.paths.columns) == [
        *NAMES,
        *(f"{market}.{name}" for market in SCENARIO.market_names for name in NAMES),
    ]
    assert run.values.shape == (4 * len(NAMES), 90)
    fed = run.market("fed")
    assert list(fed.columns) == list(NAMES)
    assert fed["pnl"].tolist() == run.paths["fed.pnl"].tolist()
    assert fed["halt_reason"].dtype == run.paths["halt_reason"].dtype
    with pytest.raises(InputError, match="market: must be one of fed, c-p_1, 3, got 'x'"):
        run.market("x")


def test_the_portfolios_columns_are_sums_where_a_sum_means_something(run: Simulation) -> None:
    frame = run.paths
    parts = {name: [frame[f"{market}.{name}"] for market in SCENARIO.market_names] for name in NAMES}
    for name in (
        *("fills", "volume", "notional", "fees", "pnl", "pnl_fair", "pnl_settled", "spread_pnl"),
        *("inventory_pnl", "final_inventory", "outages", "inventory_limit_steps"),
        *("informed_volume", "informed_pnl"),
    ):
        total = parts[name][0] + parts[name][1] + parts[name][2]
        assert frame[name].tolist() == total.tolist(), name
    for name in ("final_mid", "final_probability", "outcome"):
        assert frame[name].isna().all()
    for name in ("max_drawdown", "max_inventory", "max_exposure"):
        assert np.all(frame[name] <= sum(parts[name]) + 1e-9)
    assert frame["quoted_fraction"].to_numpy() == pytest.approx(sum(parts["quoted_fraction"]) / 3)
    shares = [
        spread * share
        for spread, share in zip(parts["average_spread"], parts["quoted_fraction"], strict=True)
    ]
    assert frame["average_spread"].to_numpy() == pytest.approx(sum(shares) / sum(parts["quoted_fraction"]))
    # The identity holds of the sums as of each.
    attributed = frame["spread_pnl"] + frame["inventory_pnl"] - frame["fees"]
    np.testing.assert_allclose(frame["pnl_fair"], attributed, rtol=0, atol=1e-9)


def test_the_trace_names_the_market(run: Simulation) -> None:
    trace = run.trace
    assert list(trace.columns[:3]) == ["path", "market", "step"]
    assert len(trace) == 4 * 3 * 60
    assert trace["market"].cat.categories.tolist() == list(SCENARIO.market_names)
    last = trace[trace["step"] == 59].set_index(["path", "market"])["inventory"]
    for market in SCENARIO.market_names:
        assert last.xs(market, level="market").tolist() == run.market(market)["final_inventory"][:4].tolist()
    assert trace["path"].unique().tolist() == [10, 11, 12, 13]


def test_summary_and_chances(run: Simulation) -> None:
    summary = run.summary()
    assert len(summary) == 4 * (len(NAMES) - 1)
    assert summary.loc["fed.pnl_fair", "mean"] == pytest.approx(run.paths["fed.pnl_fair"].mean())
    assert summary.loc["fed.halt_step", "count"] == (run.paths["fed.halt_step"] >= 0).sum()
    assert list(run.summary(metrics=["fed.fills"]).index) == ["fed.fills"]
    with pytest.raises(InputError, match=r"metrics: must be columns of paths, got 'x\.pnl'"):
        run.summary(metrics=["x.pnl"])
    chances = run.chances()
    assert {"loss", "halt", "halt_portfolio_drawdown", "fed.loss", "fed.halt_portfolio_drawdown"} <= set(
        chances.index
    )
    assert "c-p_1.halt_volume" in chances.index
    assert "fed.halt_volume" not in chances.index
    assert chances.loc["c-p_1.halt_volume", "hits"] == (run.paths["c-p_1.halt_reason"] == "volume").sum() > 0
    joint = chances.loc["halt", "hits"]
    assert joint == chances.loc["halt_portfolio_drawdown", "hits"] == (run.paths["trips"] > 0).sum() > 0


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_saved_and_loaded(run: Simulation, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"paths.{ending}"
    run.save(path)
    if ending == "csv":
        assert list(pd.read_csv(path).columns) == ["path", *SCENARIO.columns]
        return
    back = Simulation.load(path)
    assert back.scenario == SCENARIO
    assert np.array_equal(back.values, run.values, equal_nan=True)


def test_a_run_too_large_for_memory_is_refused() -> None:
    many = Scenario(markets=[{"name": str(place)} for place in range(99)])
    with pytest.raises(InputError, match="paths: must be a whole number >= 1 and <= 1000000, got 1000001"):
        mcmm.simulate(many, paths=10**6 + 1)
    with pytest.raises(InputError, match="trace_paths: must be <= 63 with 1000 steps of 99 markets"):
        mcmm.simulate(many, paths=64, trace_paths=64)


def test_run_rows_is_simulate_without_the_frame(run: Simulation) -> None:
    assert np.array_equal(engine.run_rows(SCENARIO, 5, 10, 90), run.values, equal_nan=True)


def test_a_stopped_run_comes_back() -> None:
    stop = np.ones(1, dtype=np.int32)
    assert engine.run_rows(SCENARIO.replace({"steps": 10**8}), 0, 0, 1, stop).shape == (4 * len(NAMES), 1)


# ---- replay


def orders(**columns: Any) -> pd.DataFrame:
    base = {"step": [0, 0, 2], "side": [1, -1, 1], "size": [3, 2, 1], "market": ["fed", "3", "fed"]}
    return pd.DataFrame({**base, **columns})


def test_orders_go_to_their_market() -> None:
    frame = mcmm.simulate(SCENARIO, paths=2, orders=orders()).paths
    assert frame["fed.final_inventory"].tolist() == [-4, -4]
    assert frame["3.final_inventory"].tolist() == [2, 2]
    assert frame["c-p_1.fills"].tolist() == [0, 0]
    assert frame["final_inventory"].tolist() == [-2, -2]


def test_a_portfolio_by_hand() -> None:
    """A fall of the sum trips all three markets, each by its own action.

    a sells ten at 0.52 and b buys four at 0.48: the sum has earned 14 * 0.02. In step 1 c sells one, and the
    fair values move to 0.62 and 0.40.
    """
    risk = {"mark": "fair", "breaker_action": "halt", "pause_steps": 2}
    scenario = Scenario(
        steps=6,
        quoting={"policy": "symmetric"},
        risk=risk,
        markets=[
            {"name": "a"},
            {"name": "b", "risk": {"breaker_action": "flatten"}},
            {"name": "c", "risk": {"breaker_action": "pause"}},
        ],
        portfolio={"drawdown_limit": 1.30},
    )
    tape = pd.DataFrame(
        [
            {"step": 0, "side": 1, "size": 10, "market": "a"},
            {"step": 0, "side": -1, "size": 4, "market": "b"},
            {"step": 1, "side": 1, "size": 1, "market": "c", "fair": math.nan},
            {"step": 1, "side": 1, "size": 1, "market": "a", "limit": 0.01, "fair": 0.62},
            {"step": 1, "side": 1, "size": 1, "market": "b", "limit": 0.01, "fair": 0.40},
        ]
        + [{"step": t, "side": 1, "size": 1, "market": market} for t in (2, 3, 4) for market in "abc"]
    )
    run = mcmm.simulate(scenario, paths=1, orders=tape, trace_paths=1)
    row = run.paths.iloc[0]
    # After step 0 the peak is 0.28; after step 1: a 5.20 - 6.20, b -1.92 + 1.60, c 0.52 - 0.50, in all -1.30.
    assert (row["halt_step"], row["trips"], row["halt_reason"]) == (1, 1, "portfolio_drawdown")
    assert row["breaker_overshoot"] == pytest.approx(1.58 - 1.30)
    for market in "abc":
        assert row[f"{market}.halt_step"] == 1
        assert row[f"{market}.halt_reason"] == "portfolio_drawdown"
        assert math.isnan(row[f"{market}.breaker_overshoot"])
    assert (row["a.final_inventory"], row["b.final_inventory"]) == (-10, 0)
    assert row["b.pnl_fair"] == pytest.approx(-1.92 + 4 * 0.39)
    # c is paused in steps 2 and 3, and sells again in step 4.
    assert row["c.final_inventory"] == -2
    steps = run.trace.pivot(index="step", columns="market", values="quoting")
    assert steps["c"].tolist() == [True, True, False, False, True, True]
    assert steps["a"].tolist() == steps["b"].tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"market": ["fed", "x", "3"]}, "orders.market: must be one of fed, c-p_1, 3, got 'x' in row 1"),
        ({"fair": [0.5, 1.5, 0.1]}, "orders.fair: must be a probability, got 1.5 in row 1"),
        ({"size": [1, 0, 1]}, "orders.size: must be a whole number >= 1 and <= 1000000, got 0 in row 1"),
        (
            {"size": [1, 1, 1], "colour": 1},
            "orders: columns must be step, side and size, with limit and fair",
        ),
    ],
)
def test_orders_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        mcmm.simulate(SCENARIO, paths=1, orders=orders(**changes))
    assert message in str(caught.value)


def test_orders_of_several_markets_name_them() -> None:
    with pytest.raises(InputError, match="orders: must have a column market, one of fed, c-p_1, 3"):
        mcmm.simulate(SCENARIO, paths=1, orders=orders().drop(columns="market"))
    with pytest.raises(
        InputError, match="columns must be step, side and size, with limit and fair if wanted"
    ):
        mcmm.simulate(Scenario(steps=60), paths=1, orders=orders())
    with pytest.raises(InputError, match="orders: must be given"):
        mcmm.simulate(SCENARIO.replace({"markets.3.flow.model": "replay"}), paths=1)
    one = SCENARIO.to_dict() | {"markets": [{"name": "only"}]}
    run = mcmm.simulate(Scenario.from_dict(one), paths=1, orders=orders().drop(columns="market"))
    assert run.paths["only.fills"].tolist() == [2]


# ---- studies


def study(**changes: Any) -> Study:
    tables: dict[str, Any] = {
        "name": "joint",
        "scenario": SCENARIO.to_dict(),
        "paths": 300,
        "seed": 3,
        "objective": "fed.pnl_settled.mean",
        "points": {
            "axes": {"markets.fed.quoting.base_spread": [0.02, 0.06], "portfolio.drawdown_limit": [0.1, INF]}
        },
    }
    return Study(**{**tables, **changes})


def test_a_sweep_varies_a_market_and_the_portfolio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joint = study()
    assert joint.path_steps() == 4 * 300 * 60 * 3
    assert "fed.halt.chance" in summary_columns(SCENARIO.columns)
    result = mcmm.sweep(joint, out=tmp_path / "run", jobs=2)
    for point in range(4):
        rows = engine.run_rows(joint.scenario_at(point), 3, 0, 300)
        frame = result.paths(point)
        assert list(frame.columns) == list(SCENARIO.columns)
        assert np.array_equal(result.values(point, "fed.pnl"), rows[SCENARIO.columns.index("fed.pnl")])
        assert result.summary.loc[point, "fed.pnl.mean"] == pytest.approx(frame["fed.pnl"].mean())
    assert len({result.summary.loc[point, "pnl_settled.mean"] for point in range(4)}) == 4
    mcmm.report(result, html=tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "markets.fed.quoting.base_spread" in html
    assert 'id="setting-portfolio.correlation"' in html
    # Another cut, as of a machine with less memory, changes nothing.
    monkeypatch.setattr(chunks, "_ROWS", 1024)
    monkeypatch.setattr(chunks, "_LONG_PATHS", 64)
    cut = mcmm.sweep(joint, jobs=1)
    assert len(chunks.plan(joint)) == 4 * 2
    pd.testing.assert_frame_equal(cut.summary, result.summary, check_exact=True)
    with pytest.raises(InputError, match=r"or one of these of a market, as 3\.outcome, got 'x\.pnl'"):
        result.values(0, "x.pnl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"markets.fed.quoting.base_spred": [1.0]}, "did you mean markets.fed.quoting.base_spread?"),
        ({"markets.fde.quoting.base_spread": [1.0]}, "unknown market fde; did you mean fed?"),
        (
            {"markets.fed.quoting.base_spread": [-1.0]},
            "point 0 (markets.fed.quoting.base_spread = -1.0): markets.fed.quoting.base_spread: must be a",
        ),
        ({"markets.fed.flow.model": ["replay"]}, "markets.fed.flow.model: must not be replay in a study"),
    ],
)
def test_an_axis_that_is_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        study(points={"axes": changes})
    assert message in str(caught.value)


def test_an_axis_that_would_change_nothing() -> None:
    own = [{"name": name, "risk": {"mark": "fair"}} for name in "ab"]
    with pytest.raises(StudyError, match=r"every market has its own, .* vary markets\.a\.risk\.mark"):
        study(
            scenario={"markets": own},
            objective="pnl.mean",
            points={"axes": {"risk.mark": ["mid", "fair"]}},
        )


# ---- the command


def test_the_command_sets_one_markets_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    SCENARIO.save("joint.toml")
    command = ["simulate", "joint.toml", "--paths", "70", "--seed", "5", "--out", "p.parquet", "--trace", "2"]
    assert cli.main([*command, "--set", "markets.fed.quoting.base_spread=0.1"]) == 0
    out = capsys.readouterr().out
    assert "3 markets, policy adaptive" in out
    assert all(f"\n{name} " in out for name in SCENARIO.market_names)
    run = Simulation.load("p.parquet")
    changed = SCENARIO.replace({"markets.fed.quoting.base_spread": 0.1})
    assert run.scenario == changed
    assert np.array_equal(run.values, engine.run_rows(changed, 5, 0, 70), equal_nan=True)
    assert len(pd.read_parquet("p.trace.parquet")) == 2 * 3 * 60
    assert cli.main(["report", "p.parquet"]) == 0
    assert "c-p_1" in capsys.readouterr().out
    assert cli.main([*command, "--set", "markets.fde.quoting.base_spread=0.1"]) == 2
    assert "unknown market fde; did you mean fed?" in capsys.readouterr().err
    orders().to_csv("tape.csv", index=False)
    assert cli.main(["simulate", "joint.toml", "--paths", "1", "--orders", "tape.csv"]) == 0


def test_many_markets_are_summed_up_by_the_worst(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from mcmm.reports.one_run import print_simulation

    many = Scenario(steps=20, markets=[{"name": f"m{place}"} for place in range(64)])
    run = mcmm.simulate(many, paths=50, seed=1)
    print_simulation(run, Console(width=80))
    out = capsys.readouterr().out
    assert out.count("\nm") == 21
    assert "20 worst" in out
    assert "The portfolio has no breaker" in out
    calm = many.replace({"portfolio.drawdown_limit": 1000.0, "risk.volume_limit": 1})
    print_simulation(mcmm.simulate(calm, paths=50, seed=1), Console(width=80))
    told = " ".join(capsys.readouterr().out.split())
    # The markets' own breakers tripped, the portfolio's did not.
    assert "The portfolio's breaker tripped on none of the 50 paths: its chance is <5.9%" in told
    assert "Each market's own trips are in its row." in told
    tripped = many.replace({"portfolio.drawdown_limit": 0.01, "risk.mark": "fair"})
    print_simulation(mcmm.simulate(tripped, paths=50, seed=1), Console(width=80))
    told = " ".join(capsys.readouterr().out.split())
    assert "The portfolio's breaker tripped on " in told
    assert "% of paths (95% interval " in told
    assert max(len(line) for line in out.splitlines()) <= 80
