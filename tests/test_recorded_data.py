"""Real recordings through the reader, replay and fit, where they are; see tests/test_scenarios.py too."""

from pathlib import Path

import numpy as np
import pytest

import mcmm
from mcmm.scenario import Scenario
from mcmm.tape import Tape, read_tape

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
DAY = "polymarket_btc15m_{}_20251226.csv"
FED = {"time": "timestamp_ms", "mid": "kalshi_mid", "spread": "kalshi_spread"}
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data are not there")


@pytest.fixture(scope="module")
def day() -> Tape:
    return read_tape(DATA / DAY.format("trades"), quotes=DATA / DAY.format("quotes"))


def test_a_day_of_short_contracts_is_read(day: Tape) -> None:
    assert len(day.contracts) == 32
    assert set(day.contracts["outcome"]) == {0.0, 1.0}
    assert day.own_trades
    assert day.prints["size"].min() >= 1
    # Of 584,615.1 contracts recorded in the windows rounding has lost or added less than half a side's.
    recorded = 24.202653 * 24155
    assert day.prints["size"].sum() == pytest.approx(recorded, abs=32 + 3344)
    assert (day.quotes["bid"].dropna() > 0).all()
    assert (day.quotes["ask"].dropna() > 0).all()
    assert (day.quotes["mid"].dropna().between(0.001, 0.999)).all()


def test_each_window_is_a_path_from_its_first_price_to_its_outcome(day: Tape) -> None:
    scenario = Scenario.load(ROOT / "scenarios" / "polymarket_btc15m.toml")
    run = mcmm.replay(day, scenario, step=1.0, capture=0.2)
    paths = run.simulation.paths
    assert len(paths) == 32
    np.testing.assert_array_equal(paths["outcome"], day.contracts["outcome"])
    np.testing.assert_array_equal(paths["final_probability"], paths["outcome"])
    assert all(0.01 <= path.initial_probability <= 0.99 for path in run.paths)
    assert (paths["fills"] > 0).all()
    identity = paths["spread_pnl"] + paths["inventory_pnl"] - paths["fees"]
    np.testing.assert_allclose(paths["pnl_fair"], identity, atol=1e-9)


def test_one_accounts_trades_tell_the_price_and_not_the_flow(day: Tape) -> None:
    found = mcmm.fit(day)
    assert set(found.estimates) == {"market.volatility", "market.news_rate", "market.news_strength"}
    assert "flow.arrival_rate" in found.unknown
    # Measured elsewhere, at one second and in parts of the window: 0.070, 0.085 and 0.124.
    assert 0.06 < found.estimates["market.volatility"].value < 0.13
    assert any("Volatility is not constant" in note for note in found.notes)
    sums, due = found.squared
    assert abs(sums.mean() - due.mean()) < 3 * sums.std() / len(sums) ** 0.5


def test_the_shipped_scenario_is_what_the_fit_makes_of_the_recording() -> None:
    base = Scenario.load(ROOT / "scenarios" / "kalshi_macro.toml")
    found = mcmm.fit(read_tape(DATA / "fed_nochange_30min.csv", columns=FED), step=1.0, base=base)
    shipped = Scenario.load(ROOT / "scenarios" / "fed_hour.toml")
    assert shipped.flow == found.scenario.flow == base.flow
    assert shipped.quoting == base.quoting
    for name in ("volatility", "news_rate", "news_strength", "initial_probability"):
        # The search for a maximum ends where the last digits no longer matter.
        assert shipped.get(f"market.{name}") == pytest.approx(found.scenario.get(f"market.{name}"), rel=1e-3)


def test_half_hourly_mids_are_a_tape() -> None:
    tape = read_tape(DATA / "fed_nochange_30min.csv", columns=FED)
    assert len(tape.quotes) == 1006
    assert tape.prints.empty
    found = mcmm.fit(tape, step=1800.0)
    assert found.unknown["flow.arrival_rate"] == "0 orders are too few"
    assert found.scenario.market.tick_size == 0.01
