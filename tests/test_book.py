"""The venue `book` as a user meets it: settings, refusals, simulate, sweep, verify, rare events."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import mcmm
from mcmm._isa import core
from mcmm.errors import InputError, ScenarioError, StudyError
from mcmm.metrics import BOOK_NAMES, NAMES, PLACES
from mcmm.plan import make_plan
from mcmm.policies import QuoteView
from mcmm.recorded import replay
from mcmm.reports import numbers
from mcmm.reports.layout import figures
from mcmm.reports.one_run import print_simulation
from mcmm.tape import read_tape

BOOK = {"venue": "book", "steps": 60, "book": {"activity": 0.3, "warmup_steps": 5}}
MAKER = {"policy": "symmetric", "base_spread": 0.02, "quote_size": 3}


def scenario(**tables: Any) -> mcmm.Scenario:
    return mcmm.Scenario(**{**BOOK, "quoting": MAKER, **tables})


def test_a_quote_venue_is_written_as_before() -> None:
    plain = mcmm.Scenario()
    assert not {"venue", "book"} & set(plain.to_dict())
    assert plain.columns == NAMES
    assert mcmm.Scenario(book={"activity": 1.0}).digest() == plain.digest()
    kept = mcmm.Scenario(book={"activity": 2.0})
    assert "venue" not in kept.to_dict()
    assert mcmm.Scenario.loads(kept.dumps()) == kept
    again = mcmm.Scenario.loads(scenario().dumps())
    assert again == scenario()
    assert again.columns == (*NAMES, *BOOK_NAMES)


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        (
            {"market": {"process": "arithmetic", "initial_mid": 1.0}},
            "market.process: must be logit or threshold with venue book",
        ),
        ({"market": {"tick_size": 0.001}}, "market.tick_size: must be >= 0.01 with venue book, got 0.001"),
        ({"market": {"tick_size": 0.0}, "quoting": {"policy": "lmsr"}}, "quoting.policy: must be adaptive"),
        ({"flow": {"model": "intensity"}}, "flow.model: must be takers or replay with venue book"),
        ({"recovery": {"stale_quotes": True}}, "recovery.stale_quotes: must be false with venue book"),
        (
            {"schedule": {"pauses": [{"start": 1, "steps": 2, "quotes": "rest"}]}},
            "schedule.pauses: must have",
        ),
        (
            {"book": {"activity": 80.0}},
            "book.activity: must keep every rate of the book <= 100 a step, got 80",
        ),
        (
            {"book": {"limit_rates": []}},
            "book.limit_rates: must be a list of 1 to 16 numbers between 0 and 100",
        ),
        (
            {"book": {"limit_rates": [math.nan]}},
            "book.limit_rates[0]: must be a number >= 0 and <= 100, got nan",
        ),
        (
            {"quoting": {"policy": "custom", "parameters": [1.0, "2"]}},
            'quoting.parameters[1]: must be a number >= -1e12 and <= 1e12, got "2"',
        ),
        ({"book": {"fill_rule": "first"}}, "book.fill_rule: must be one of queue, touch, through"),
        (
            {"book": {"place_latency": 33}},
            "book.place_latency: must be a whole number >= 0 and <= 32, got 33",
        ),
        (
            {"markets": [{"name": "a"}, {"name": "b", "flow": {"model": "intensity"}}]},
            "markets.b.flow.model: must be takers or replay with venue book",
        ),
        (
            {"markets": [{"name": "a", "book": {"market_rate": 90.0, "activity": 2.0}}, {"name": "b"}]},
            "markets.a.book.activity: must keep every rate of the book <= 100 a step, got 2.0",
        ),
        (
            {"markets": [{"name": "a", "book": {"cancel_latency": -1}}]},
            "markets.a.book.cancel_latency: must be a whole number >= 0 and <= 32, got -1",
        ),
        (
            {
                "markets": [
                    {"name": "a", "market": {"process": "arithmetic", "initial_mid": 1.0}},
                    {"name": "b"},
                ]
            },
            "markets.a.market.process: must be logit or threshold with venue book, whose prices are between "
            '0 and 1, got "arithmetic"',
        ),
    ],
)
def test_what_a_book_cannot_have_is_refused_by_name(tables: dict[str, Any], line: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario(**tables)
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1, "said once"


def test_the_flow_meets_no_other_draw_whatever_the_maker_does() -> None:
    """Where neither trades, two makers see the same book, event for event."""
    flow = {"arrival_rate": 0.0}
    wide = {"policy": "symmetric", "base_spread": 0.9}
    runs = [
        mcmm.simulate(scenario(flow=flow, quoting=wide | {"quote_size": size}), paths=130, seed=2)
        for size in (1, 40)
    ]
    apart = (runs[0].paths["volume"] + runs[1].paths["volume"] + runs[0].paths["refusals"]) == 0
    assert apart.sum() > 60
    assert (runs[0].paths["book_events"] == runs[1].paths["book_events"])[apart].all()
    near = mcmm.simulate(scenario(flow=flow, quoting=MAKER), paths=130, seed=2)
    assert (runs[0].paths["final_probability"] == near.paths["final_probability"]).all()


def test_the_three_rules_of_filling_are_ordered() -> None:
    """The same maker: first at its price, in its turn, and only when traded through."""
    filled = {}
    for rule in ("touch", "queue", "through"):
        made = scenario(steps=200, book={"activity": 0.3, "fill_rule": rule, "join_only": True})
        filled[rule] = mcmm.simulate(made, paths=256, seed=1).paths["volume"].mean()
    assert filled["touch"] > 1.2 * filled["queue"]
    assert filled["queue"] > 1.2 * filled["through"] > 0


def test_late_cancels_are_picked_off() -> None:
    """Informed takers meet a quote that its maker has already moved away."""
    market = {"volatility": 0.05}
    flow = {"informed_fraction": 1.0, "arrival_rate": 0.5}
    maker = {"policy": "adaptive", "base_spread": 0.02, "reference_weight": 1.0}
    earned = []
    for latency in (0, 5):
        made = scenario(
            market=market,
            flow=flow,
            quoting=maker,
            steps=200,
            book={"activity": 0.1, "cancel_latency": latency},
        )
        earned.append(mcmm.simulate(made, paths=512, seed=1).paths["informed_pnl"])
    assert earned[1].mean() < earned[0].mean() - 4 * (earned[1] - earned[0]).sem() < 0


def test_a_sweep_of_venues_and_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = {"venue": ["quote", "book"], "book.fill_rule": ["queue", "touch"]}
    study = mcmm.Study(
        name="venues",
        scenario=scenario().replace({"venue": "quote"}),
        paths=100,
        seed=3,
        points={"axes": axes},
    )
    result = mcmm.sweep(study, out=tmp_path / "run", jobs=2)
    summary = result.summary
    assert np.isnan(summary["refusals.mean"].iloc[:2]).all()
    for point, rule in ((2, "queue"), (3, "touch")):
        run = mcmm.simulate(scenario().replace({"book.fill_rule": rule}), paths=100, seed=3)
        assert summary["pnl_fair.mean"].iloc[point] == pytest.approx(run.paths["pnl_fair"].mean(), rel=1e-12)
        assert summary["refusals.mean"].iloc[point] == pytest.approx(run.paths["refusals"].mean(), rel=1e-12)
        assert (result.values(point, "markout_10") == run.paths["markout_10"]).all()
    page = tmp_path / "report.html"
    mcmm.report(result, html=page)
    text = page.read_text("utf-8")
    assert 'id="queue-table"' in text
    assert '<a href="#queue">' in text
    assert "last 9, whose fills cannot be marked so." in text
    assert "venues book and quote" in capsys.readouterr().out
    steps, fills = (summary[f"queue_{name}_near.mean"].iloc[2] for name in ("steps", "fills"))
    ratio, error = result.ratio("queue_fills_near", "queue_steps_near").iloc[2]
    assert ratio == pytest.approx(fills / steps)
    digits = figures(error, ratio)
    assert f"<td>{numbers.fixed(ratio, digits)} \u00b1 {numbers.fixed(error, digits)}</td>" in text
    checked = mcmm.verify(tmp_path / "run")
    assert (checked.differences, checked.damaged) == ((), ())


@pytest.mark.parametrize(
    ("venues", "spreads", "told"),
    [
        (
            ["quote", "book"],
            [0.02, 0.9],
            "The other point is worse and cannot be the best (paired differences;",
        ),
        (["book"], [0.02, 0.04, 0.9], "Every other point is worse: none of the 2 can be the best (paired"),
        (["quote", "book"], [0.02], "1 other point has no mean queue_steps_front, so nothing is said of it."),
    ],
)
def test_a_point_without_a_books_metric_is_not_called_worse(
    venues: list[str], spreads: list[float], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = mcmm.Study(
        name="fronts",
        scenario=scenario(),
        paths=64,
        seed=3,
        objective="queue_steps_front.mean",
        points={"axes": {"venue": venues, "quoting.base_spread": spreads}},
    )
    mcmm.report(mcmm.sweep(study, jobs=1))
    out = " ".join(capsys.readouterr().out.split())
    assert told in out
    assert ("2 other points have no mean queue_steps_front" in out) == (len(spreads) == 2)
    assert ("to have ruled out the true best): point" in out) == (len(spreads) == 2)


def test_a_limit_is_calibrated_in_a_book() -> None:
    question = {
        "maximize": "risk.inventory_limit",
        "confidence": 0.9,
        "constraint": [{"probability": "max_drawdown_fair > 2", "at_most": 0.25}],
        "search": {"risk.inventory_limit": {"low": 2, "high": 60, "integer": True}},
    }
    made = scenario(market={"volatility": 0.1}, book={"activity": 0.3, "join_only": True})
    certificate = mcmm.calibrate(mcmm.Study(name="a book", scenario=made, seed=1, calibrate=question))
    assert certificate.setting is not None
    limit = int(certificate.setting["risk.inventory_limit"])
    assert 2 <= limit < 60
    fresh = [
        mcmm.simulate(made.replace({"risk.inventory_limit": each}), paths=4_000, seed=99)
        for each in (limit, 60)
    ]
    chances = [float((run.paths["max_drawdown_fair"] > 2).mean()) for run in fresh]
    assert chances[0] < 0.25 < chances[1]


def test_a_given_order_takes_what_rests_at_its_limit_or_better() -> None:
    """By hand: three contracts of others at 49 and 51 cents, seven of the maker's behind, no flow."""
    quiet = {"activity": 0.0, "warmup_steps": 0, "limit_rates": [0.0, 0.0], "cancel_rates": [0.0]}
    made = scenario(steps=5, quoting={**MAKER, "quote_size": 7}, book=quiet)
    rows = {
        "step": [0, 1, 2, 3],
        "side": [1, 1, -1, -1],
        "size": [9, 9, 4, 9],
        "limit": [0.5, 0.51, 0.49, 0.5],
    }
    trace = mcmm.simulate(made, paths=1, orders=pd.DataFrame(rows), trace_paths=1).trace
    assert trace["sold"].tolist() == [0, 6, 0, 0, 0]
    assert trace["bought"].tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize(("steps", "counted", "filled"), [(12, 6, 6), (11, 4, 4), (10, 2, 0), (9, 0, 0)])
def test_places_are_told_of_the_steps_that_can_be_marked(
    steps: int, counted: int, filled: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: two orders a step; four contracts filled in step 1, two in step 2, behind three of others."""
    quiet = {"activity": 0.0, "warmup_steps": 0, "limit_rates": [0.0, 0.0], "cancel_rates": [0.0]}
    made = scenario(steps=steps, quoting={**MAKER, "quote_size": 9}, book=quiet)
    rows = pd.DataFrame({"step": [1, 2], "side": [1, 1], "size": [7, 2]})
    run = mcmm.simulate(made, paths=1, orders=rows)
    path = run.paths.iloc[0]
    told = {name: sum(path[f"queue_{name}_{place}"] for place in PLACES) for name in ("steps", "fills")}
    assert told == {"steps": counted, "fills": filled}
    assert path["volume"] == 6
    print_simulation(run, Console(width=80))
    out = " ".join(capsys.readouterr().out.split())
    assert "Of all steps but a path's last 9, whose fills cannot be marked so" in out
    assert ("paths of fewer than 10 steps have none to count" in out) == (counted == 0)
    assert "nan" not in out


@pytest.mark.parametrize("place", [0, 2, 4, 5, 7])
def test_a_fresh_order_waits_for_itself_and_a_move_for_its_cancel(place: int) -> None:
    """By hand, cancels five steps late: each ask that is decided, and when it is there.

    An order that is as fast as cancels is there with its cancel, to the price decided with it; a slower one
    that the cancel of the next decision overtakes is outdated, and never there.
    """
    decided = {0: 55, 8: 54, 21: 56, 40: 57, 50: None, 51: 58, 60: 59, 61: 60}
    quiet = {"activity": 0.0, "warmup_steps": 0, "limit_rates": [0.0, 0.0], "cancel_rates": [0.0]}
    latencies = {"place_latency": place, "cancel_latency": 5}
    maker = {"policy": "custom", "quote_size": 4}
    made = scenario(steps=70, quoting=maker, book=quiet | latencies, flow={"model": "replay"})

    def policy(view: QuoteView) -> None:
        ticks = decided[max(step for step in decided if step <= view.step)]
        view.bid[:] = 0.4
        view.ask[:] = math.nan if ticks is None else ticks / 100

    # Others' three and the maker's four; one of the maker's four; the maker's four, its move under way.
    orders = pd.DataFrame({"step": [20, 30, 41], "side": 1, "size": [7, 1, 4]})
    run = mcmm.simulate(made, paths=1, orders=orders, policy=policy, trace_paths=1)
    late = max(place - 5, 0)
    rests = {place: (55, 4), 13: None, 13 + late: (54, 4), 21: None, 21 + place: (56, 4), 31: (56, 3)}
    rests |= {36 + late: (56, 4), 42: None, 42 + place: (57, 4), 55: None, max(55, 51 + place): (58, 4)}
    rests |= {65: (59, 4) if place == 5 else None, max(65, 61 + place): (60, 4)}
    for step, row in run.trace.iterrows():
        expected = rests.get(max((at for at in rests if at <= int(step)), default=-1))
        found = None if math.isnan(row["ask"]) else (round(100 * row["ask"]), row["ask_size"])
        assert found == expected, f"step {step}"
    assert run.trace["sold"].sum() == 9


@pytest.mark.parametrize("name", [None, "kalshi_macro", "polymarket_btc15m", "fed_hour"])
def test_a_path_and_market_takes_less_than_it_may(name: str | None) -> None:
    """All that is kept of it while it runs: its book, its lane of the block and its windows."""
    shipped = Path(__file__).parents[1] / "scenarios" / f"{name}.toml"
    quotes = mcmm.Scenario.load(shipped) if name else mcmm.Scenario()
    made, alone = make_plan(quotes.replace({"venue": "book", "risk.close_steps": 0})), make_plan(quotes)
    assert isinstance(made, core.Plan)
    assert isinstance(alone, core.Plan)
    # The book, and the second ring of a window where both sides may be filled in one step.
    ring = 4 * quotes.quoting.imbalance_window
    assert core.path_bytes(made) == core.path_bytes(alone) + core.book_bytes() + ring
    assert core.book_bytes() < core.path_bytes(made) < 4096


def test_books_spread_over_the_cache() -> None:
    lines, rest = divmod(core.book_bytes(), 64)
    assert rest == 0
    assert lines % 2 == 1


def test_a_tape_is_not_replayed_in_a_book(tmp_path: Path) -> None:
    (tmp_path / "tape.csv").write_text("time,side,size,price\n1,buy,2,0.5\n2,sell,2,0.5\n")
    with pytest.raises(InputError, match="scenario: venue must not be book to be replayed"):
        replay(read_tape(tmp_path / "tape.csv"), scenario())


def test_the_rates_of_the_flow_are_an_axis() -> None:
    axes = {"book.limit_rates": ["[2.0, 1.0]", "[4.0, 2.0]"], "book.cancel_rates": ["[0.5]"]}
    study = mcmm.Study(name="rates", scenario=scenario(), paths=64, seed=3, points={"axes": axes})
    events = mcmm.sweep(study, jobs=1).summary["book_events.mean"]
    assert events.iloc[1] > 1.5 * events.iloc[0]


@pytest.mark.parametrize(
    "points",
    [
        {"axes": {"book.limit_rates": [[2.0, 1.0], [4.0, 2.0]]}},
        {"design": "list", "points": [{"book.limit_rates": [2.0, 1.0]}]},
    ],
)
def test_a_list_on_an_axis_is_text_and_the_refusal_says_how(points: dict[str, Any]) -> None:
    with pytest.raises(StudyError) as caught:
        mcmm.Study(name="rates", scenario=scenario(), paths=64, seed=3, points=points)
    (line,) = str(caught.value).splitlines()
    assert line.endswith('book.limit_rates: must have a list as text, as in "[2.0, 1.0]", got [2.0, 1.0]')
    as_text = {"design": "list", "points": [{"book.limit_rates": "[2.0, 1.0]"}]}
    study = mcmm.Study(name="rates", scenario=scenario(), paths=64, seed=3, points=as_text)
    assert study.scenario_at(0).book.limit_rates == (2.0, 1.0)


def test_paths_do_not_depend_on_jobs_or_neighbours() -> None:
    made = scenario(flow={"arrival_rate": 0.5}, book={"activity": 0.5, "passive_fraction": 0.3})
    whole = mcmm.simulate(made, paths=150, seed=9).values
    assert mcmm.simulate(made, paths=150, seed=9, jobs=2).values.tobytes() == whole.tobytes()
    tail = mcmm.simulate(made, paths=37, first_path=113, seed=9).values
    assert tail.tobytes() == np.ascontiguousarray(whole[:, 113:]).tobytes()


def test_a_saved_book_is_read_back(tmp_path: Path) -> None:
    run = mcmm.simulate(scenario(), paths=20, seed=1)
    run.save(tmp_path / "book.parquet")
    assert mcmm.Simulation.load(tmp_path / "book.parquet").values.tobytes() == run.values.tobytes()
    assert "queue_steps_front" in run.summary().index


def test_rare_drawdowns_are_those_of_plain_paths() -> None:
    """Splitting copies a path's book with the rest of its state."""
    made = scenario(steps=100, market={"volatility": 0.1})
    drawdowns = mcmm.simulate(made, paths=20_000, seed=1).paths["max_drawdown_fair"]
    level = float(np.quantile(drawdowns, 0.98))
    plain = float((drawdowns > level).mean())
    rare = mcmm.rare_event(made, f"max_drawdown_fair > {level}", seed=5, levels=[level / 2])
    assert abs(rare.chance - plain) < 5 * math.hypot(rare.standard_error, math.sqrt(plain / 20_000))
