"""Recorded markets: each format's columns and traps, errors that name the value, and the cut into steps."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmm
from mcmm.errors import InputError
from mcmm.tape import RecordedPath, Tape, read_outcomes, read_tape

NAN = float("nan")

KALSHI = """trade_id,ticker,count,created_time,yes_price,no_price,taker_side
d,FED-A,7,2025-11-05T18:30:02.000001Z,42,58,no
c,FED-B,5,2025-11-05T18:30:01.5Z,90,10,yes
b,FED-A,2,2025-11-05T18:30:01Z,41,59,yes
a,FED-A,1,2025-11-05T18:30:01Z,40,60,yes
"""

TRADES = """timestamp,trade_side,quantity,price,TargetTime,ExpirationTime
2025-12-26 10:30:05,Up,10.4,0.6,2025-12-26 10:30:00,2025-12-26 10:45:00
2025-12-26 10:30:05,Down,3.0,0.3,2025-12-26 10:30:00,2025-12-26 10:45:00
2025-12-26 10:30:06,Up,0.3,0.62,2025-12-26 10:30:00,2025-12-26 10:45:00
2025-12-26 10:30:07,Up,0.3,0.61,2025-12-26 10:30:00,2025-12-26 10:45:00
2025-12-26 10:46:00,Up,5,0.99,2025-12-26 10:30:00,2025-12-26 10:45:00
2025-12-26 10:46:00,Down,5,0.5,2025-12-26 10:45:00,2025-12-26 11:00:00
"""

QUOTE_HEADER = (
    "Timestamp,TargetTime,Expiration,UpBid,UpAsk,UpBidLiquidity,UpAskLiquidity,"
    "DownBid,DownAsk,DownBidLiquidity,DownAskLiquidity\n"
)
WINDOW = "2025-12-26 10:30:00,2025-12-26 10:45:00"
QUOTES = QUOTE_HEADER + "".join(
    f"2025-12-26 {time},{WINDOW},{up},{down}\n"
    for time, up, down in (
        ("10:30:04", "0.5,0.52,10.5,20", "0.48,0.5,20,10.5"),
        ("10:30:05", "0.58,0.6,1,2", "0.4,0.42,2,1"),
        ("10:30:06", "0.7,0.0,3,0", "0.25,0.3,7,8"),  # the ask of Up is missing: 1 - 0.25
        ("10:30:07", "0.8,0.75,1,1", "0.25,0.2,1,1"),  # crossed
        ("10:31:00", "0.0,0.0,0,0", "0,0,0,0"),  # nobody on any side
        ("10:32:00", "0.0,0.6,0,9", "0.4,0,9,0"),  # one side only, nothing decided
        ("10:44:59", "0.99,0.0,5,0", "0.0,0.01,0,5"),  # no offer of Up, at 1 cent nobody sells Down
    )
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kalshi.csv").write_text(KALSHI)
    (tmp_path / "trades.csv").write_text(TRADES)
    (tmp_path / "quotes.csv").write_text(QUOTES)
    return tmp_path


def plain(folder: Path, rows: list[tuple[Any, ...]], header: str = "time,side,size,price") -> Tape:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / "plain.csv").write_text("\n".join(lines) + "\n")
    return read_tape(folder / "plain.csv")


class TestKalshi:
    def test_newest_first_in_cents(self, folder: Path) -> None:
        tape = read_tape(folder / "kalshi.csv")
        assert tape.prints[["contract", "side", "size", "price"]].to_numpy().tolist() == [
            ["FED-A", 1, 1, 0.40],  # of two prints of one moment the lower line is the older
            ["FED-A", 1, 2, 0.41],
            ["FED-B", 1, 5, 0.90],
            ["FED-A", -1, 7, 0.42],  # a taker of "no" sells YES
        ]
        assert list(tape.contracts.index) == ["FED-A", "FED-B"]
        assert tape.prints["time"].iloc[-1] == pd.Timestamp("2025-11-05T18:30:02.000001Z")
        assert not tape.own_trades
        assert tape.notes == ()

    @pytest.mark.parametrize("shape", ["list", "answer", "lines"])
    def test_json_is_csv(self, folder: Path, shape: str) -> None:
        records = pd.read_csv(folder / "kalshi.csv").to_dict("records")
        path = folder / ("k.jsonl" if shape == "lines" else "k.json")
        if shape == "lines":
            path.write_text("\n".join(map(json.dumps, records)))
        else:
            path.write_text(json.dumps(records if shape == "list" else {"cursor": "x", "trades": records}))
        left, right = read_tape(path).prints, read_tape(folder / "kalshi.csv").prints
        pd.testing.assert_frame_equal(left, right)

    def test_a_trade_of_two_pages_is_one(self, folder: Path) -> None:
        (folder / "two.csv").write_text(KALSHI + KALSHI.splitlines()[-1] + "\n")
        tape = read_tape(folder / "two.csv")
        assert len(tape.prints) == 4
        assert tape.notes == ("1 row left out: a trade_id that came before.",)


class TestPolymarket:
    def test_trades(self, folder: Path) -> None:
        tape = read_tape(folder / "trades.csv")
        # A buy of Down at 0.3 is a sale of Up at 0.7. Running sums 10.4, 10.7, 11.0 round to 10, 11, 11.
        assert tape.prints[["side", "size", "price"]].to_numpy().tolist() == [
            [1, 10, 0.6],
            [-1, 3, 0.7],
            [1, 1, 0.62],
            [-1, 5, 0.5],
        ]
        assert tape.own_trades
        assert "one account's own" in tape.notes[-1]
        made = read_tape(folder / "trades.csv", account="maker").prints
        assert made["side"].tolist() == [-1, 1, -1, 1]
        assert made["price"].tolist() == tape.prints["price"].tolist()
        assert any(note == "1 print left out: outside the contract's window." for note in tape.notes)
        assert any("1 print left out that this leaves with none" in note for note in tape.notes)
        expires = tape.contracts["expires"].tolist()
        assert expires == [pd.Timestamp("2025-12-26T10:45Z"), pd.Timestamp("2025-12-26T11:00Z")]

    def test_rounding_keeps_the_volume_of_each_side(self, folder: Path) -> None:
        sizes = np.random.default_rng(1).uniform(0.01, 3, 400).round(6)
        sides = np.tile([1, 1, -1], 134)[:400]
        rows = [(time, side, size, 0.5) for time, (side, size) in enumerate(zip(sides, sizes, strict=True))]
        prints = plain(folder, rows).prints
        assert (prints["size"] >= 1).all()
        for side in (1, -1):
            whole = prints.loc[prints["side"] == side, "size"].sum()
            assert abs(whole - sizes[sides == side].sum()) <= 0.5 + 1e-6

    def test_quotes(self, folder: Path) -> None:
        tape = read_tape(folder / "quotes.csv")
        kept = tape.quotes[["bid", "ask", "bid_size", "ask_size", "mid"]].to_numpy()
        expected = [
            [0.5, 0.52, 10.5, 20, 0.51],
            [0.58, 0.6, 1, 2, 0.59],
            [0.7, 0.75, 3, 7, 0.725],
            [NAN, NAN, NAN, NAN, NAN],
            [NAN, 0.6, NAN, 9, NAN],
            [0.99, NAN, 5, NAN, 0.995],
        ]
        np.testing.assert_allclose(kept, expected, atol=1e-12)
        assert any(note.startswith("1 side of the Up book") for note in tape.notes)
        assert any(note.startswith("1 quote left out: the bid is above the ask") for note in tape.notes)
        assert tape.contracts["outcome"].tolist() == [1.0]
        assert tape.contracts["outcome_from"].tolist() == ["last quote"]

    def test_a_contract_that_is_not_decided_by_its_last_quote_has_no_outcome(self, folder: Path) -> None:
        for last in (QUOTES.splitlines()[1], QUOTES.splitlines()[-1].replace("10:44:59", "10:43:00")):
            (folder / "open.csv").write_text(QUOTE_HEADER + last + "\n")
            contracts = read_tape(folder / "open.csv").contracts
            assert np.isnan(contracts["outcome"].iloc[0])

    def test_prints_meet_the_quote_before_them(self, folder: Path) -> None:
        tape = read_tape(folder / "trades.csv", quotes=folder / "quotes.csv")
        path = tape.cut("2025-12-26T10:30:00Z")
        # The quote of a print's own second may be what it left behind: the one before it counts.
        assert path.initial_probability == 0.51
        assert path.steps == 4
        assert path.orders["fair"].tolist() == pytest.approx([0.51, 0.59, 0.995, 1.0])
        assert path.orders["limit"].tolist() == [0.6, 0.7, 0.62, 0.0]
        assert path.outcome == 1.0


class TestPlain:
    def test_words_and_numbers(self, folder: Path) -> None:
        rows = [(3, "BUY", 2, 0.5), (1, "s", 1, 0.4), (2, "-1", 3, 0.45), (1.5, " b ", 4, 0.41)]
        prints = plain(folder, rows).prints
        assert prints["side"].tolist() == [-1, 1, -1, 1]
        assert prints["size"].tolist() == [1, 4, 3, 2]
        seconds = (prints["time"] - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
        assert seconds.tolist() == [1, 1.5, 2, 3]

    @pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
    def test_the_size_of_a_number_tells_its_unit(self, folder: Path, unit: int) -> None:
        prints = plain(folder, [(1_765_081_842 * unit, "buy", 1, 0.5)]).prints
        assert prints["time"].tolist() == [pd.Timestamp("2025-12-07T04:30:42Z")]

    def test_a_mid_and_a_spread_under_other_names(self, folder: Path) -> None:
        text = "ms,venue_mid,venue_spread\n1765081842000,0.505,0.01\n1765083642000,0.5,0.02\n"
        (folder / "mids.csv").write_text(text)
        columns = {"time": "ms", "mid": "venue_mid", "spread": "venue_spread"}
        tape = read_tape(folder / "mids.csv", columns=columns)
        np.testing.assert_allclose(
            tape.quotes[["bid", "ask", "mid"]], [[0.5, 0.51, 0.505], [0.49, 0.51, 0.5]]
        )
        assert tape.prints.empty

    def test_outcomes_that_are_given(self, folder: Path) -> None:
        rows = [(1, "buy", 1, 0.5, "x"), (2, "buy", 1, 0.5, "y")]
        plain(folder, rows, "time,side,size,price,contract")
        (folder / "outcomes.csv").write_text("contract,outcome\ny,0\n")
        outcomes = read_outcomes(folder / "outcomes.csv")
        contracts = read_tape(folder / "plain.csv", outcomes=outcomes).contracts
        np.testing.assert_array_equal(contracts["outcome"], [NAN, 0.0])
        assert contracts["outcome_from"].tolist() == ["", "given"]
        with pytest.raises(InputError, match=r"outcomes: must be of contracts of .*, got 'z'"):
            read_tape(folder / "plain.csv", outcomes={"z": 1})


K, T, Q = KALSHI.splitlines()[0], TRADES.splitlines()[0], QUOTE_HEADER.strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{K}\na,F,1,2025-11-05,40,60,yes\nb,F,1,2025-11-05,101,-1,yes", "row 2, column yes_price"),
        (f"{K}\na,F,1,2025-11-05,40,61,yes", "row 1, column no_price: must be 100 - yes_price, got '61'"),
        (f"{K}\na,F,0,2025-11-05,40,60,yes", "row 1, column count: must be a number > 0 and <= 1e9, got '0'"),
        (f"{K}\na,F,1,2025-11-05,40,60,both", "row 1, column taker_side: must be yes or no, got 'both'"),
        (f"{K}\na,F,1,noon,40,60,yes", "row 1, column created_time: must be a time: ISO 8601"),
        (f"{K}\na, ,1,2025-11-05,40,60,yes", "row 1, column ticker: must be a name that is not empty"),
        (
            f"{K}\na,F,1,2025-11-05,40,60,yes\na,F,2,2025-11-05,40,60,yes",
            "row 2, column trade_id: must be the id of one trade, got 'a'",
        ),
        (f"{T}\n{TRADES.splitlines()[1]}".replace("Up", "Side"), "column trade_side: must be up or down"),
        (f"{T}\n{TRADES.splitlines()[1]}".replace("0.6", "60"), "column price: must be a price"),
        (f"{T}\n{TRADES.splitlines()[1]}".replace("10.4", "nan"), "column quantity: must be a number > 0"),
        (f"{T}\n{TRADES.splitlines()[1]}".replace("10:45", "10:15"), "must be after TargetTime"),
        (f"{Q}\n{QUOTES.splitlines()[1]}".replace("0.52", "1.0"), "column UpAsk: must be a price"),
        ("time,side,size,price\n1,buy,1,0", "price: must be a price in dollars > 0 and < 1, got '0'"),
        ("time,side,size,price\n1,buy,-1,0.5", "column size: must be a number > 0 and <= 1e9, got '-1'"),
        ("time,side,size,price\n1,buy,1", "row 1, column price: must be a price"),
        ("time,side,size,price\n1,buy,1,0.5,9", "cannot be read"),
        ("time,side,size,price\n", "must hold at least one row"),
        ("when,side\n1,buy", "must have the columns of a known format"),
        ("", "cannot be read"),
    ],
)  # fmt: skip
def test_errors_name_file_row_column_rule_and_value(folder: Path, text: str, message: str) -> None:
    (folder / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        read_tape(folder / "bad.csv")
    assert "bad.csv" in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bad.json", "{", "cannot be read"),
        ("bad.json", "3", "must be a list of records, got str"),
        ("bad.json", "[3]", "row 1: must be a record"),
        ("bad.json", '[{"time": [1]}]', "row 1, column time: must be a single value"),
        ("bad.jsonl", '{"time": 1}\n{', "line 2: must be JSON"),
    ],
)
def test_json_that_is_none(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_tape(folder / name)


def test_files_that_do_not_go_together(folder: Path) -> None:
    with pytest.raises(InputError, match=r"trades.csv: must hold quotes"):
        read_tape(folder / "kalshi.csv", quotes=folder / "trades.csv")
    with pytest.raises(InputError, match=r"quotes.csv: must hold prints to be read with quotes"):
        read_tape(folder / "quotes.csv", quotes=folder / "quotes.csv")
    with pytest.raises(InputError, match=r"account: must be taker, or maker where"):
        read_tape(folder / "kalshi.csv", account="maker")
    with pytest.raises(InputError, match=r"format: must be one of kalshi"):
        read_tape(folder / "kalshi.csv", form="betfair")
    with pytest.raises(InputError, match=r"kalshi.csv: must have the columns time, .*missing: time"):
        read_tape(folder / "kalshi.csv", form="plain")
    with pytest.raises(InputError, match=r"must have the column when \(for time\)"):
        read_tape(folder / "kalshi.csv", columns={"time": "when"})
    with pytest.raises(InputError, match=r"columns: tme: no format has such a column; did you mean time\?"):
        read_tape(folder / "trades.csv", columns={"tme": "time"})


ROWS = [
    (100.0, "buy", 4, 0.50),
    (100.0, "buy", 6, 0.52),
    (100.0, "sell", 5, 0.47),
    (101.5, "sell", 3, 0.45),
    (101.9, "buy", 8, 0.46),
    (104.0, "buy", 1, 0.55),
]


class TestCut:
    def test_by_event(self, folder: Path) -> None:
        path = plain(folder, ROWS).cut("contract")
        # The first print sets the price that is known, and is not traded.
        assert path.initial_probability == 0.50
        assert path.orders["step"].tolist() == [0, 1, 2, 3, 4]
        assert path.orders["side"].tolist() == [1, -1, -1, 1, 1]
        assert path.orders["size"].tolist() == [6, 5, 3, 8, 1]
        assert path.orders["limit"].tolist() == path.orders["fair"].tolist() == [0.52, 0.47, 0.45, 0.46, 0.55]
        assert path.extra_steps == 0

    def test_orders_that_met_several_resting_ones(self, folder: Path) -> None:
        tape = plain(folder, ROWS)
        merged = tape.merged().prints
        assert merged["size"].tolist() == [10, 5, 3, 8, 1]
        assert merged["price"].tolist() == [0.52, 0.47, 0.45, 0.46, 0.55]
        assert tape.cut("contract", merge=True).steps == 4

    def test_contracts_that_interleave_are_merged_apart(self, folder: Path) -> None:
        rows = [(1, "sell", 2, 0.4, "x"), (1, "sell", 1, 0.7, "y"), (1, "sell", 3, 0.3, "x")]
        merged = plain(folder, rows, "time,side,size,price,contract").merged().prints
        assert merged[["contract", "size", "price"]].to_numpy().tolist() == [["x", 5, 0.3], ["y", 1, 0.7]]

    def test_by_wall_time_no_print_is_lost(self, folder: Path) -> None:
        path = plain(folder, ROWS).cut("contract", step=1.0)
        # Intervals from 100 s: two prints, two, none, none, one; a step more for each further print.
        assert path.steps == 7
        assert path.extra_steps == 2
        traded = path.orders[path.orders["limit"] > 0]
        assert traded["step"].tolist() == [0, 1, 2, 3, 6]
        assert traded["size"].tolist() == [6, 5, 3, 8, 1]
        begins = (path.times - path.times[0]) / np.timedelta64(1, "s")
        assert begins.tolist() == [0.0, 0.0, 1.0, pytest.approx(1.9), 2.0, 3.0, 4.0]

    def test_a_longer_step_takes_in_the_same_prints(self, folder: Path) -> None:
        by_event = plain(folder, ROWS).cut("contract")
        by_time = plain(folder, ROWS).cut("contract", step=60.0)
        pd.testing.assert_frame_equal(by_time.orders, by_event.orders)
        assert by_time.extra_steps == 4

    def test_steps_without_a_print_tell_the_quotes(self, folder: Path) -> None:
        tape = read_tape(folder / "quotes.csv")
        path = tape.cut("2025-12-26T10:30:00Z", step=1)
        # Known from 10:30:04 to 10:44:59, and the settlement.
        assert path.steps == 14 * 60 + 56 + 1
        # A quote of the moment in which a step ends is known when the next begins.
        assert path.orders["step"].tolist() == [0, 1, path.steps - 3, path.steps - 1]
        assert path.orders["fair"].tolist() == pytest.approx([0.59, 0.725, 0.995, 1.0])
        run = mcmm.simulate(path.scenario(mcmm.Scenario()), paths=1, orders=path.orders)
        assert run.paths["fills"].tolist() == [0]  # a price alone fills nothing
        assert run.paths["outcome"].tolist() == [1.0]

    def test_the_share_of_prints_that_is_captured(self, folder: Path) -> None:
        path = plain(folder, ROWS).cut("contract", capture=0.25)
        # Buys 6, 8, 1: a quarter of 6, 14, 15, rounded down, is 1, 3, 3. Sells 5, 3: 1, 2.
        traded = path.orders[path.orders["limit"] > 0]
        assert traded["step"].tolist() == [0, 1, 2, 3]
        assert traded["size"].tolist() == [1, 1, 1, 2]
        assert path.orders["fair"].tolist() == [0.52, 0.47, 0.45, 0.46, 0.55]

    def test_arguments(self, folder: Path) -> None:
        tape = plain(folder, ROWS[:1])
        for arguments, message in (
            ({"contract": "x"}, "contract: must be one of the tape's 1 contract: contract; got 'x'"),
            ({"contract": "contract", "step": 0}, "step: must be a number of seconds >= 1e-6"),
            ({"contract": "contract", "capture": 0}, "capture: must be > 0 and <= 1, got 0"),
            ({"contract": "contract"}, "must have a print after its first price to be cut, got 1 prints"),
        ):
            with pytest.raises(InputError, match=re.escape(message)):
                tape.cut(**arguments)
        tape = plain(folder, [(0, "buy", 1, 0.5), (1e6, "buy", 1, 0.5)])
        with pytest.raises(
            InputError, match=r"must be cut into at most 100,000,000 steps, got 1,000,000,002"
        ):
            tape.cut("contract", step=0.001)

    def test_a_print_fills_what_is_at_or_better_than_its_price(self, folder: Path) -> None:
        scenario = mcmm.Scenario.from_dict(
            {
                "quoting": {"policy": "symmetric", "base_spread": 0.04, "quote_size": 5},
                "market": {"volatility": 0},
            }
        )
        rows = [
            (0, "buy", 9, 0.50),  # sets the mid: quotes 0.48 at 0.52
            (1, "buy", 9, 0.51),  # below the ask: fills nothing
            (2, "buy", 2, 0.52),  # at the ask
            (3, "buy", 9, 0.55),  # above it: fills at 0.52, the quoted size
            (4, "sell", 9, 0.49),  # above the bid
            (5, "sell", 9, 0.48),  # at the bid
        ]
        path: RecordedPath = plain(folder, rows).cut("contract")
        run = mcmm.simulate(path.scenario(scenario), paths=1, orders=path.orders, trace_paths=1)
        assert run.trace["sold"].tolist() == [0, 2, 5, 0, 0]
        assert run.trace["bought"].tolist() == [0, 0, 0, 0, 5]
        assert run.paths["notional"].tolist() == [pytest.approx(7 * 0.52 + 5 * 0.48)]
        assert run.trace["probability"].tolist() == [0.50, 0.51, 0.52, 0.55, 0.49]


def cut_slowly(
    prints: list[tuple[int, int, int, float]], quotes: list[tuple[int, float]], step: int | None
) -> tuple[float, list[tuple[int, int, float, float]]]:
    """The cut once more, event by event: the first fair value, and each step's order and next value."""
    quoted = bool(quotes) and (not prints or quotes[0][0] < prints[0][0])
    begin = quotes[0][0] if quoted else prints[0][0]
    traded = prints if quoted else prints[1:]
    steps: list[list[Any]] = []  # when it begins, when it ends, its print
    if step is None:
        steps = [[time, None, place] for place, (time, *_) in enumerate(traded)]
    else:
        last = max([time for time, *_ in prints] + [time for time, _ in quotes])
        for interval in range((last - begin) // step + 1):
            start = begin + interval * step
            here = [place for place, row in enumerate(traded) if start <= row[0] < start + step]
            steps.append([start, None, here[0] if here else None])
            steps += [[traded[place][0], None, place] for place in here[1:]]
    for one, other in pairwise(steps):
        one[1] = other[0]
    if step is not None:
        steps[-1][1] = begin + ((last - begin) // step + 1) * step
    moments = {time for time, *_ in traded}

    def known(end: int | None, seen: int) -> float:
        # What is quoted at a print's own moment may be what the print left behind.
        before = [
            mid
            for time, mid in quotes
            if end is None or time < end or (step and time == end and end not in moments)
        ]
        if before:
            return before[-1]
        prior = (prints if quoted else prints[1:])[: seen + 1]
        return prior[-1][3] if prior else (quotes[0][1] if quoted else prints[0][3])

    first = quotes[0][1] if quoted else prints[0][3]
    if step is None and quoted:
        first = [mid for time, mid in quotes if time < traded[0][0]][-1]
    rows, seen = [], -1
    for _, end, place in steps:
        seen = seen if place is None else place
        side, size, price = traded[place][1:] if place is not None else (0, 0, 0.0)
        rows.append((side, size, price, known(end, seen)))
    return first, rows


times = st.integers(0, 40)
prices = st.integers(1, 99).map(lambda cents: cents / 100)


@given(
    prints=st.lists(
        st.tuples(times, st.sampled_from([-1, 1]), st.integers(1, 9), prices), min_size=2, max_size=12
    ),
    quotes=st.lists(st.tuples(times, prices), max_size=8),
    step=st.sampled_from([None, 1, 3, 7, 100]),
)
@settings(max_examples=300, deadline=None)
def test_a_cut_is_what_it_is_event_by_event(
    prints: list[tuple[int, int, int, float]], quotes: list[tuple[int, float]], step: int | None
) -> None:
    prints, quotes = (sorted(rows, key=lambda row: row[0]) for rows in (prints, quotes))  # type: ignore[assignment]

    def moments(rows: list[Any]) -> pd.DatetimeIndex:
        return pd.to_datetime([row[0] * 10**9 for row in rows], utc=True)

    table = pd.DataFrame([row[1:] for row in prints], columns=["side", "size", "price"])
    table.insert(0, "contract", "x")
    table.insert(1, "time", moments(prints))
    mids = pd.DataFrame({"contract": "x", "time": moments(quotes), "mid": [mid for _, mid in quotes]})
    contracts = pd.DataFrame({"outcome": [NAN], "outcome_from": [""]}, index=["x"])
    tape = Tape("made", table, mids, contracts, own_trades=False, notes=())
    path = tape.cut("x", step=step)
    first, rows = cut_slowly(prints, quotes, step)
    assert path.initial_probability == first
    assert path.steps == len(rows)
    found = path.orders.set_index("step")
    fair = first
    for place, (side, size, price, after) in enumerate(rows):
        if side or after != fair:
            row = found.loc[place]
            assert row["fair"] == after
            assert (row["side"], row["size"], row["limit"]) == ((side, size, price) if side else (1, 1, 0.0))
        else:
            assert place not in found.index
        fair = after


def test_prints_too_large_to_replay_whole_are_said(tmp_path: Path) -> None:
    (tmp_path / "tape.csv").write_text(
        "time,side,size,price\n2025-01-01 00:00:00,buy,1000001,0.5\n2025-01-01 00:00:01,sell,1000000,0.5\n"
    )
    tape = read_tape(tmp_path / "tape.csv")
    assert tape.notes == ("1 print of more than 1,000,000 contracts: replayed as that many.",)
    assert tape.prints["size"].tolist() == [1_000_001, 1_000_000]
