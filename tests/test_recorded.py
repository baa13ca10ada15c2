"""Replay: a maker's settings through a recorded market, in Python and by the command."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import mcmm
from mcmm import cli
from mcmm.errors import InputError
from mcmm.metrics import NAMES
from mcmm.recorded import replay
from mcmm.simulation import Simulation
from mcmm.tape import Tape, read_tape

HEADER = "trade_id,ticker,count,created_time,yes_price,no_price,taker_side"
MAKER = """
[quoting]
policy = "symmetric"
base_spread = 0.04
quote_size = 5
"""
SCENARIO = mcmm.Scenario.loads(MAKER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        ("A", 9, "18:30:00", 50, "yes"),  # the first price: quotes 0.48 at 0.52
        ("A", 3, "18:30:01", 55, "yes"),  # sold 3 at 0.52
        ("A", 8, "18:30:02", 45, "no"),  # bought 5 at 0.48
        ("A", 1, "18:30:02.5", 51, "yes"),  # below the ask
        ("B", 9, "18:30:00", 20, "no"),  # quotes 0.18 at 0.22
        ("B", 4, "18:40:00", 22, "yes"),  # sold 4 at 0.22
        ("C", 4, "18:40:00", 22, "yes"),  # alone
    ]
    lines = [
        f"{place},{ticker},{count},2025-11-05T{time}Z,{price},{100 - price},{side}"
        for place, (ticker, count, time, price, side) in enumerate(rows)
    ]
    (tmp_path / "tape.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    (tmp_path / "outcomes.csv").write_text("contract,outcome\nA,1\n")
    (tmp_path / "maker.toml").write_text(MAKER)
    return tmp_path


@pytest.fixture
def tape(folder: Path) -> Tape:
    return read_tape(folder / "tape.csv", outcomes={"A": 1})


class TestReplay:
    def test_a_path_a_contract_with_every_metric(self, tape: Tape) -> None:
        run = replay(tape, SCENARIO)
        paths = run.simulation.paths
        assert list(paths.columns) == list(NAMES)
        assert [path.contract for path in run.paths] == ["A", "B"]
        assert paths["fills"].tolist() == [2, 1]
        assert paths["volume"].tolist() == [8, 4]
        # A: sold 3 at 0.52, bought 5 at 0.48, two contracts pay 1. B: sold 4 at 0.22, the outcome drawn.
        cash = 3 * 0.52 - 5 * 0.48
        b = paths["outcome"][1]
        assert b in (0, 1)
        assert paths["pnl_settled"].tolist() == pytest.approx([cash + 2, 4 * 0.22 - 4 * b])
        assert paths["outcome"][0] == 1

    def test_it_says_what_it_is(self, tape: Tape) -> None:
        account = replay(tape, SCENARIO, capture=0.3).simulation.provenance["replay"]
        assert account["contracts"] == ["A", "B"]
        assert account["outcomes_known"] == 1
        # Of the 3 contracts that the first taker buys 0.3 of each are no whole one.
        assert account["prints"] == 3
        assert account["capture"] == 0.3
        assert account["events_per_second"] > 0
        assert "1 contract left out: no print after the first price." in account["notes"]
        assert any("outcome of 1 contract is not known" in note for note in account["notes"])

    def test_each_contract_is_what_simulate_makes_of_its_orders(self, tape: Tape) -> None:
        run = replay(tape, SCENARIO, step=1.0, seed=7, traces=2)
        for place, path in enumerate(run.paths):
            again = mcmm.simulate(
                path.scenario(SCENARIO), paths=1, seed=7, first_path=place, orders=path.orders
            )
            np.testing.assert_array_equal(again.values[:, 0], run.simulation.values[:, place])
        assert run.paths[1].steps == 601
        assert run.trace["contract"].unique().tolist() == ["A", "B"]
        sold = run.trace.loc[run.trace["sold"] == 4, "time"].tolist()
        assert sold == [pd.Timestamp("2025-11-05T18:40:00Z")]

    def test_outcomes_that_are_drawn_follow_the_last_price(self, folder: Path) -> None:
        lines = [HEADER]
        for place in range(150):
            lines += [
                f"{place}a,T{place},1,2025-11-05T18:30:00Z,50,50,yes",
                f"{place}b,T{place},1,2025-11-05T18:31:00Z,20,80,no",
            ]
        (folder / "many.csv").write_text("\n".join(lines))
        outcomes = replay(read_tape(folder / "many.csv"), SCENARIO, seed=3).simulation.paths["outcome"]
        assert abs(outcomes.mean() - 0.2) < 3 * (0.2 * 0.8 / 150) ** 0.5

    def test_what_the_tape_replaces_need_not_be_taken_out_by_hand(self, tape: Tape) -> None:
        scenario = SCENARIO.replace(
            {
                "flow.informed_know": "outcome",
                "schedule.news": [[900, 0.1]],
                "schedule.arrival_rate": [[500, 2.0]],
                "risk.close_steps": 600,
                "market.initial_mid": 0.3,
            }
        )
        run = replay(tape, scenario, traces=["B"])
        assert run.simulation.scenario.risk.close_steps == 4
        assert run.trace["mid"].iloc[0] == 0.2

    def test_what_the_maker_would_draw_is_left_out_and_said(self, tape: Tape) -> None:
        scenario = SCENARIO.replace({"quoting.reference_noise": 0.01, "recovery.disconnect_rate": 0.1})
        run = replay(tape, scenario)
        np.testing.assert_array_equal(run.simulation.values, replay(tape, SCENARIO).simulation.values)
        notes = run.simulation.provenance["replay"]["notes"]
        assert (
            "quoting.reference_noise is 0.01 in the scenario and 0 in a replay, which draws nothing." in notes
        )
        assert any(note.startswith("recovery.disconnect_rate is 0.1") for note in notes)

    def test_it_refuses(self, tape: Tape, folder: Path) -> None:
        markets = mcmm.Scenario.from_dict({"markets": [{"name": "x"}, {"name": "y"}]})
        with pytest.raises(InputError, match=r"scenario: must be of one market"):
            replay(tape, markets)
        walk = SCENARIO.replace({"market.process": "arithmetic", "market.initial_mid": 100.0})
        with pytest.raises(InputError, match=r"market.process must not be arithmetic"):
            replay(tape, walk)
        with pytest.raises(InputError, match=r"contract C: must have a print after its first price"):
            replay(tape, SCENARIO, contracts=["C"])
        with pytest.raises(InputError, match=r"traces: must be contracts that are replayed, got 'C'"):
            replay(tape, SCENARIO, traces=["C"])
        (folder / "one.csv").write_text("time,side,size,price\n1,buy,1,0.5\n")
        with pytest.raises(InputError, match=r"must have a contract with two prints"):
            replay(read_tape(folder / "one.csv"), SCENARIO)


class TestCommand:
    def test_prints_writes_and_labels(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        options = "--outcomes outcomes.csv --step 1 --out paths.parquet --trace 1 --html page.html"
        found = CliRunner().invoke(cli.app, ["replay", "tape.csv", "maker.toml", *options.split()])
        assert found.exit_code == 0, found.output
        text = " ".join(found.output.split())
        assert "Replay of recorded prints, not a simulation: 2 contracts of tape.csv, 4 prints" in text
        assert "cut by wall time, a step every 1 s" in text
        assert "1 step beyond the clock's, for further prints of one interval." in text
        saved = Simulation.load(folder / "paths.parquet")
        assert saved.paths["fills"].tolist() == [2, 1]
        trace = pd.read_parquet(folder / "paths.trace.parquet")
        assert trace["contract"].unique().tolist() == ["A"]
        again = CliRunner().invoke(cli.app, ["report", "paths.parquet"])
        assert "Replay of recorded prints, not a simulation" in again.output
        page = (folder / "page.html").read_text()
        assert "mcmm replay of recorded prints, not a simulation" in page
        assert "default-src 'none'" in page
        assert 'src="http' not in page
        for section in ("answer", "distribution", "time", "contracts", "metrics", "settings"):
            assert f'<section id="{section}"' in page
        assert "pnl_settled" in page
        assert "sums to $" in page or "sums to -$" in page

    def test_a_row_a_contract_in_csv_says_what_it_is_beside(self, folder: Path) -> None:
        for more in ([], ["--step", "60"]):
            out = folder / "paths.csv"
            arguments = ["replay", str(folder / "tape.csv"), str(folder / "maker.toml"), "--out", str(out)]
            found = CliRunner().invoke(cli.app, [*arguments, *more])
            assert found.exit_code == 0, found.output
            assert len(pd.read_csv(out)) == 2
            beside = tomllib.loads((folder / "paths.csv.toml").read_text())
            assert beside["provenance"]["replay"]["contracts"] == ["A", "B"]
            assert beside["provenance"]["replay"].get("step") == (60.0 if more else None)

    def test_a_tapes_name_is_no_markup(self, folder: Path) -> None:
        evil = folder / "<script>alert(1)<"
        evil.mkdir()
        tape = evil / "tape.csv"
        tape.write_text((folder / "tape.csv").read_text().replace(",A,", ",<b>A</b>,"))
        page = folder / "page.html"
        found = CliRunner().invoke(
            cli.app, ["replay", str(tape), str(folder / "maker.toml"), "--html", str(page)]
        )
        assert found.exit_code == 0, found.output
        assert "<b>A</b>" not in page.read_text()
        assert "<script>alert" not in page.read_text()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--capture 2", "capture: must be > 0 and <= 1"),
            ("--column time", "--column: must be NAME=OWN"),
            ("--trace 1", "--trace: needs --out"),
            ("--trace -1", "--trace: must be >= 0"),
            ("--seed -1", "--seed: must be >= 0"),
            ("--contract Z", "tape's 3 contracts: A, B, C; got 'Z'"),
        ],
    )
    def test_refuses(
        self, folder: Path, capsys: pytest.CaptureFixture[str], options: str, message: str
    ) -> None:
        arguments = ["replay", str(folder / "tape.csv"), str(folder / "maker.toml"), *options.split()]
        assert cli.main(arguments) == 2
        assert re.search(re.escape(message), " ".join(capsys.readouterr().err.split()))


def test_a_long_contract_is_replayed() -> None:
    count = 40_000
    rng = np.random.default_rng(1)
    prints = pd.DataFrame(
        {
            "contract": "x",
            "time": pd.to_datetime(np.arange(count), unit="s", utc=True),
            "side": rng.choice([-1, 1], count),
            "size": rng.integers(1, 20, count),
            "price": np.clip(np.round(0.5 + np.cumsum(rng.choice([-0.01, 0.0, 0.01], count)), 2), 0.02, 0.98),
        }
    )
    contracts = pd.DataFrame({"outcome": [1.0], "outcome_from": ["given"]}, index=["x"])
    tape = Tape("made", prints, prints[:0].assign(mid=[]), contracts, own_trades=False, notes=())
    run = replay(tape, mcmm.Scenario()).simulation
    assert run.paths["fills"].item() > 100
    assert run.provenance["replay"]["events_per_second"] > 0.0
