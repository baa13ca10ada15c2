"""The shipped scenarios: valid, sourced line by line, and true to the recordings their figures come from."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mcmm.scenario import Scenario

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "scenarios"
DATA = ROOT.parent / "shared" / "data"
NAMES = ("fed_hour", "kalshi_macro", "polymarket_btc15m")
SOURCE = re.compile(r"# (measured|derived|venue|assumed)\b")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data are not there")


def lines(name: str) -> list[str]:
    return (SCENARIOS / f"{name}.toml").read_text(encoding="utf-8").splitlines()


def load(name: str) -> Scenario:
    return Scenario.load(SCENARIOS / f"{name}.toml")


def stated(name: str) -> dict[str, float]:
    """Return the figures at the head of a scenario, lines of the form ``#   name = value``."""
    found = (re.fullmatch(r"#   ([\w%]+) = ([\d.]+)", line) for line in lines(name))
    return {match[1]: float(match[2]) for match in found if match}


@pytest.mark.parametrize("name", NAMES)
def test_loads_and_round_trips(name: str) -> None:
    scenario = load(name)
    assert Scenario.loads(scenario.dumps()) == scenario
    assert len(lines(name)) < 120


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_names_its_source(name: str) -> None:
    settings = [line for line in lines(name) if re.match(r"\w+ = ", line)]
    assert len(settings) >= 20
    assert [line for line in settings if not SOURCE.search(line)] == []


def test_the_folder_has_no_scenario_without_these_tests() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.toml")} == set(NAMES)


# ---- kalshi_macro


def test_sizes_are_the_tape_divided_by_five() -> None:
    flow = load("kalshi_macro").flow
    twentieths = (np.arange(20) + 0.5) / 20
    tape = np.log([1, 6, 23, 100, 390, 2500])
    sizes = np.exp(np.interp(twentieths, [0.05, 0.25, 0.5, 0.75, 0.9, 0.99], tape)) / 5
    table = np.array(flow.size_table)
    assert np.repeat(table[:, 0], table[:, 1].astype(int)).tolist() == sizes.round().clip(1).tolist()
    assert np.average(table[:, 0], weights=table[:, 1]) == pytest.approx(177 / 5, rel=0.03)
    assert flow.size_max == table[-1, 0]


def test_herding_gives_the_sign_autocorrelation() -> None:
    flow = load("kalshi_macro").flow
    assert flow.herding * (1 - flow.informed_fraction) == pytest.approx(0.24, abs=0.005)


def test_clustering_gives_the_share_of_short_gaps() -> None:
    flow = load("kalshi_macro").flow
    rng = np.random.default_rng(1)
    decay = math.exp(-1 / flow.clustering_steps)
    excitation = np.full(1000, flow.clustering * flow.arrival_rate)
    last = np.full(1000, -1)
    gaps = []
    for step in range(3600):
        arrives = rng.random(1000) < np.minimum(1, flow.arrival_rate * (1 - flow.clustering) + excitation)
        gaps.append((step - last)[arrives & (last >= 0)])
        last[arrives] = step
        excitation = excitation * decay + arrives * flow.clustering * (1 - decay)
    gap = np.concatenate(gaps)
    assert (gap == 1).mean() == pytest.approx(0.36, abs=0.01)
    assert gap.std() / gap.mean() == pytest.approx(1.7, abs=0.05)


@needs_data
def test_kalshi_figures_come_from_the_recorded_quotes() -> None:
    rows = pd.read_csv(DATA / "fed_nochange_30min.csv", parse_dates=["timestamp_et"])
    time, mid = rows["timestamp_et"].dt, rows["kalshi_mid"]
    before, move = mid.shift(), mid.diff()
    news = move.abs() > 0.0399
    kappa = (move / (1 - before)).where(move > 0, -move / before)[news]
    session = (time.day_of_week < 5) & time.hour.between(8, 10) & before.between(0.1, 0.9) & ~news
    variance = (before * (1 - before))[session] ** 2
    gap = mid - rows["poly_mid"]
    measured = {
        "logit_volatility_30_min": math.sqrt((move[session] ** 2).sum() / variance.sum()),
        "news_moves": float(news.sum()),
        "news_kappa_rms": math.sqrt((kappa**2).mean()),
        "venue_gap_sd": gap.groupby(time.date).std().median(),
    }
    assert stated("kalshi_macro") == pytest.approx(measured, rel=5e-3)


def test_kalshi_settings_follow_from_the_figures() -> None:
    scenario, figures = load("kalshi_macro"), stated("kalshi_macro")
    weight = scenario.quoting.reference_weight
    noise = figures["venue_gap_sd"] / math.sqrt(weight / (2 - weight))
    volatility = figures["logit_volatility_30_min"] / math.sqrt(1800)
    assert scenario.market.volatility == pytest.approx(volatility, rel=5e-3)
    assert scenario.market.news_strength == figures["news_kappa_rms"]
    assert scenario.market.news_rate * scenario.steps == pytest.approx(1, rel=5e-3)
    assert scenario.quoting.reference_noise == pytest.approx(noise, rel=0.01)


# ---- polymarket_btc15m


@needs_data
def test_the_command_prints_the_figures_stated() -> None:
    command = [sys.executable, str(SCENARIOS / "measure_btc15m.py"), str(DATA)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    printed = {name: float(value) for name, value in (line.split(" = ") for line in output.splitlines())}
    expected = stated("polymarket_btc15m")
    assert len(expected) >= 25
    assert {name: printed[name] for name in expected} == pytest.approx(expected, rel=2e-3)


def test_the_command_without_data_says_so(tmp_path: Path) -> None:
    command = [sys.executable, str(SCENARIOS / "measure_btc15m.py"), str(tmp_path)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == f"error: {tmp_path} has no polymarket_btc15m_quotes_20251226.csv\n"


def test_polymarket_settings_follow_from_the_figures() -> None:
    scenario, figures = load("polymarket_btc15m"), stated("polymarket_btc15m")
    market, flow, quoting, risk = scenario.market, scenario.flow, scenario.quoting, scenario.risk
    assert market.process == "threshold"
    assert scenario.steps == market.resolution_step == 900
    fair_squares = market.initial_probability * (1 - market.initial_probability)
    assert abs(figures["squared_changes_1_s"] - fair_squares) < 2 * figures["squared_changes_1_s_se"]
    assert figures["logit_volatility_late"] > 1.5 * figures["logit_volatility_early"]
    wider = (figures["spread_mean_last_90_s"] - figures["spread_mean_first_12_min"]) / 2
    faster = (1 / math.sqrt(45) - 1 / math.sqrt(540)) / math.sqrt(2 * math.pi)
    assert quoting.volatility_factor == pytest.approx(wider / faster, abs=0.005)
    assert flow.size_mean == pytest.approx(figures["size_mean"], rel=0.01)
    assert flow.size_sigma == pytest.approx(figures["size_sigma"], rel=0.01)
    assert risk.inventory_limit == pytest.approx(figures["largest_net_position_median"], rel=0.1)
    for seconds in (10, 30, 60):
        limit = 1 / (1 - flow.clustering) ** 2
        x = seconds * (1 - flow.clustering) / flow.clustering_steps
        law = limit - (limit - 1) * (1 - math.exp(-x)) / x
        assert law == pytest.approx(figures[f"fill_dispersion_{seconds}_s"], rel=0.12)


def test_stated_size_quantiles_are_those_of_the_law() -> None:
    flow, figures = load("polymarket_btc15m").flow, stated("polymarket_btc15m")
    median = flow.size_mean * math.exp(-(flow.size_sigma**2) / 2)
    for percent, z in ((25, -0.6745), (50, 0), (75, 0.6745), (90, 1.2816), (99, 2.3263)):
        assert median * math.exp(flow.size_sigma * z) == pytest.approx(figures[f"size_{percent}%"], rel=0.1)
